"""How a test viewer's offer reaches the server: by WHEP, or over the bus to one worker."""

import itertools
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp

from common.bus import ControlServer
from common.messages import Answer, CloseRequest, OfferRequest, RenditionFormat
from tests.support.viewer import Viewer

_numbers = itertools.count(1)


class Refusal(Exception):
    """The server did not take the offer; holds its words."""


@dataclass(frozen=True, slots=True)
class WhepResource:
    """A WHEP session (draft-ietf-wish-whep section 4.2)."""

    url: str
    etag: str


async def whep(
    client: aiohttp.ClientSession, url: str, viewer: Viewer, deadline_s: float = 10.0
) -> WhepResource:
    """Offers by POST, connects the viewer and gives its resource; raises Refusal."""
    headers = {"Content-Type": "application/sdp"}
    async with client.post(url, data=viewer.offer(), headers=headers) as response:
        body = await response.text()
        if response.status != 201:
            raise Refusal(f"POST {url}: {response.status} {body[:300]}")
        if response.content_type != "application/sdp":
            raise Refusal(f"POST {url}: answer is {response.content_type}, not application/sdp")
        resource = WhepResource(
            urljoin(str(response.url), response.headers["Location"]), response.headers["ETag"]
        )
    await viewer.connect(body, deadline_s)
    return resource


async def offer_through_bus(
    server: ControlServer,
    worker: str,
    camera: str,
    media_endpoint: str,
    viewer: Viewer,
    *,
    renditions: tuple[RenditionFormat, ...],
    deadline_s: float = 10.0,
) -> Answer:
    """Offers to the worker `worker` as signaling would and gives its answer; raises Refusal."""
    request = OfferRequest(
        session=f"viewer-{next(_numbers)}",
        camera=camera,
        media_endpoint=media_endpoint,
        renditions=renditions,
        sdp=viewer.offer(),
    )
    reply = await server.request(worker, request, deadline_s)
    if not isinstance(reply, Answer):
        raise Refusal(f"{worker} answered {reply}")
    return reply


async def through_bus(
    server: ControlServer,
    worker: str,
    camera: str,
    media_endpoint: str,
    viewer: Viewer,
    *,
    renditions: tuple[RenditionFormat, ...],
    deadline_s: float = 10.0,
) -> str:
    """The same, then connects the viewer; gives the session."""
    answer = await offer_through_bus(
        server, worker, camera, media_endpoint, viewer, renditions=renditions, deadline_s=deadline_s
    )
    await viewer.connect(answer.sdp, deadline_s)
    return answer.session


async def close_session(server: ControlServer, worker: str, session: str) -> None:
    """Ends a session as signaling would."""
    await server.request(worker, CloseRequest(session))
