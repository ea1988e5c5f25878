"""WHEP (draft-ietf-wish-whep-03): a session by POST, its candidates by PATCH, its end by DELETE.

`Location` is a relative reference: `POST …/whep/front` answers `Location: front/SESSION`, which every client
resolves against the URL it asked (RFC 9110 section 10.2.2). So it is right behind any proxy, under any path
prefix, and no forwarding header has to be trusted.

A page of another origin plays only where `access/cors.py` lets it. Players outside of browsers do not ask.

With full ICE the answer names STUN servers by `Link` ("STUN/TURN server configuration" of the draft, as in
RFC 9725 section 4.6). OPTIONS does so too, for players that must know them before they make an offer.
"""

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlencode

from aiohttp import web

from common.messages import QUALITIES, Quality
from signaling import fragment
from signaling.access.authority import Authority
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.broker import Broker
from signaling.http_body import read_text
from signaling.problems import Problem
from signaling.sessions import Session

SDP = "application/sdp"
SDP_FRAGMENT = "application/trickle-ice-sdpfrag"


def _check_type(request: web.Request, wanted: str, header: str) -> None:
    if request.content_type.lower() != wanted:
        raise Problem(415, f"Content-Type must be {wanted}", headers={header: wanted})


def _check_match(request: web.Request, session: Session) -> None:
    """RFC 9110 section 13.1.1 with strong comparison; `*` matches any session that exists."""
    if "If-Match" not in request.headers:
        raise Problem(HTTPStatus.PRECONDITION_REQUIRED, "If-Match with the session's ETag is missing")
    tags = {tag.strip() for value in request.headers.getall("If-Match") for tag in value.split(",")}
    # A session from before a restart of signaling has lost its tag, and has had no other ICE session either.
    if session.entity_tag is None or "*" in tags or f'"{session.entity_tag}"' in tags:
        return
    raise Problem(HTTPStatus.PRECONDITION_FAILED, "If-Match names another ICE session")


def _token(request: web.Request) -> str:
    """The view link's token of the URL that was asked, for the session's URL: players send no other login."""
    token = request.query.get("token")
    return f"?{urlencode({'token': token})}" if token is not None else ""


def _quality(request: web.Request) -> Quality:
    """What the session begins with; raises Problem 422."""
    wished = request.query.get("quality", "auto")
    for quality in QUALITIES:
        if wished == quality:
            return quality
    raise Problem(422, f"quality: one of {', '.join(QUALITIES)}")


class Whep:
    """The HTTP handlers of `/whep/{camera}` and `/whep/{camera}/{session}`."""

    def __init__(self, broker: Broker, authority: Authority, ice_urls: Sequence[str]) -> None:
        self._broker = broker
        self._authority = authority
        links = ", ".join(f'<{url}>; rel="ice-server"' for url in ice_urls)
        self._ice_servers = {"Link": links} if links else {}

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        endpoint, session = "/whep/{camera}", "/whep/{camera}/{session}"
        return [
            web.post(endpoint, self._post),
            web.options(endpoint, self._options),
            web.patch(session, self._patch),
            web.delete(session, self._delete),
            web.options(session, self._session_options),
        ]

    def _session(self, request: web.Request) -> Session:
        session = self._broker.find(request.match_info["session"], request[PRINCIPAL])
        if session.camera != request.match_info["camera"]:
            raise Problem(404, "there is no such session; it may have ended")
        return session

    async def _post(self, request: web.Request) -> web.Response:
        _check_type(request, SDP, "Accept-Post")
        quality = _quality(request)
        offer = await read_text(request, fragment.MAX_SDP_BYTES)
        watcher = self._authority.watcher(request[PRINCIPAL], request[ADDRESS])
        camera = request.match_info["camera"]
        session, answer = await self._broker.open(camera, offer, None, watcher, quality=quality)
        return web.Response(
            status=HTTPStatus.CREATED,
            body=answer.sdp.encode(),
            content_type=SDP,
            headers={
                "Location": f"{session.camera}/{session.id}{_token(request)}",
                "ETag": f'"{session.entity_tag}"',
                "Accept-Patch": SDP_FRAGMENT,
                **self._ice_servers,
            },
        )

    async def _patch(self, request: web.Request) -> web.Response:
        session = self._session(request)
        _check_type(request, SDP_FRAGMENT, "Accept-Patch")
        _check_match(request, session)
        await self._broker.trickle(session, await read_text(request, fragment.MAX_SDP_BYTES))
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _delete(self, request: web.Request) -> web.Response:
        await self._broker.end(self._session(request))
        return web.Response(status=HTTPStatus.OK)

    async def _options(self, request: web.Request) -> web.Response:
        return web.Response(headers={"Allow": "POST, OPTIONS", "Accept-Post": SDP, **self._ice_servers})

    async def _session_options(self, request: web.Request) -> web.Response:
        return web.Response(headers={"Allow": "PATCH, DELETE, OPTIONS", "Accept-Patch": SDP_FRAGMENT})
