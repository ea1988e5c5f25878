"""The last keyframe of a camera as a JPEG file, decoded by a process of its own (`ingest/snapshot.py`)."""

import asyncio
import logging
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from signaling.access.gate import no_camera
from signaling.api import child
from signaling.broker import Broker
from signaling.problems import RETRY_SOON_S, Problem

log = logging.getLogger(__name__)

AT_A_TIME = 2
WAITING = 16
"Further requests are told to come again."
DEADLINE_S = 12.0
FRESH_S = 1.0
"Requests within this time get the same picture."
MAX_JPEG = 32 << 20
WIDTHS = range(16, 3841)


class Snapshot(NamedTuple):
    """A picture."""

    jpeg: bytes
    captured_at: float
    "UTC seconds since 1970."


class Snapshots:
    """The handler; `folder` is CCTV3_RUN."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self._places = asyncio.Semaphore(AT_A_TIME)
        self._under_way: dict[tuple[str, int], asyncio.Task[Snapshot]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Where the handler belongs."""
        return [web.get("/api/v1/cameras/{camera}/snapshot", self._get)]

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _get(self, request: web.Request) -> web.Response:
        name = request.match_info["camera"]
        width = _width(request.query.get("width"))
        if not self._broker.registry.has_camera(name):
            raise no_camera(name)
        if self._broker.registry.ingest(name) is None:
            raise Problem(503, f"the ingest process of {name} is not up; it is started again", RETRY_SOON_S)
        snapshot = await asyncio.shield(self._shared(name, width))
        return web.Response(
            body=snapshot.jpeg,
            content_type="image/jpeg",
            headers={"Last-Modified": formatdate(snapshot.captured_at, usegmt=True)},
        )

    def _shared(self, name: str, width: int) -> asyncio.Task[Snapshot]:
        key = (name, width)
        task = self._under_way.get(key)
        if task is None:
            if sum(not known.done() for known in self._under_way.values()) >= WAITING:
                raise Problem(503, "too many snapshots at a time; try again", RETRY_SOON_S)
            task = self._under_way[key] = asyncio.ensure_future(self._take(name, width))
            task.add_done_callback(lambda done: self._done(key, done))
        return task

    def _done(self, key: tuple[str, int], task: asyncio.Task[Snapshot]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._under_way.pop(key, None)
        else:
            asyncio.get_running_loop().call_later(FRESH_S, self._under_way.pop, key, None)

    async def _take(self, name: str, width: int) -> Snapshot:
        try:
            async with self._places:
                ended = await child.run(
                    "ingest.snapshot", [name, str(self._folder), str(width)], b"", DEADLINE_S
                )
        except TimeoutError:
            raise Problem(504, f"{name} gave no keyframe in time", RETRY_SOON_S) from None
        head, _, jpeg = ended.out.partition(b"\n")
        if ended.status == 0 and head.isdigit() and 0 < len(jpeg) <= MAX_JPEG:
            return Snapshot(jpeg, int(head) / 1e9)
        said = ended.said[:200]
        log.warning(
            "! snapshot of %s: %s",
            name,
            said or f"exit status {ended.status}",
            extra={"camera": name},
        )
        raise Problem(504, said or "the picture could not be decoded; the log says why", RETRY_SOON_S)


def _width(text: str | None) -> int:
    """0: as it is."""
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) in WIDTHS):
        raise Problem(422, f"width: a number from {WIDTHS[0]} to {WIDTHS[-1]}")
    return int(text)
