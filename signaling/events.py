"""What happens to cameras, as Server-Sent Events at `/api/v1/events` and as the recent past of each camera.

    id: 1760000000001
    event: camera
    data: {"camera": "front", "rendition": "main", "at": "2026-01-31T12:00:00.000Z", "state": "live", …}

A client that comes back with Last-Event-ID gets what it missed, as far as it is still kept.
"""

import asyncio
import contextlib
import itertools
import json
import logging
from collections import deque
from datetime import UTC, datetime

from aiohttp import web

from common.clock import Clock
from common.messages import CameraEvent

log = logging.getLogger(__name__)

KEPT = 1000
KEPT_OF_CAMERA = 50
MAX_LISTENERS = 200
QUEUE = 256
"A listener who does not read that many is dropped."
HEARTBEAT_S = 15.0

Members = dict[str, str | None]


def members(event: CameraEvent) -> Members:
    """An event as JSON members; `at` is RFC 3339 in UTC."""
    at = datetime.fromtimestamp(event.at_ns / 1e9, UTC)
    return {
        "camera": event.camera,
        "rendition": event.rendition,
        "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "state": event.state,
        "reason": event.reason,
    }


class EventLog:
    """Keeps the newest events and hands new ones to listeners."""

    def __init__(self, clock: Clock) -> None:
        # Numbers go on over a restart of signaling, so that Last-Event-ID means something then too.
        self._numbers = itertools.count(clock.utc_ns() // 1_000_000)
        self._kept: deque[tuple[int, CameraEvent]] = deque(maxlen=KEPT)
        self._of_camera: dict[str, deque[CameraEvent]] = {}
        self._listeners: set[asyncio.Queue[bytes | None]] = set()

    def add(self, event: CameraEvent) -> None:
        """Takes an event in."""
        number = next(self._numbers)
        self._kept.append((number, event))
        self._of_camera.setdefault(event.camera, deque(maxlen=KEPT_OF_CAMERA)).append(event)
        for listener in tuple(self._listeners):
            try:
                listener.put_nowait(_encoded(number, event))
            except asyncio.QueueFull:
                self._end(listener)

    def of_camera(self, camera: str) -> list[CameraEvent]:
        """The newest events of a camera, oldest first."""
        return list(self._of_camera.get(camera, ()))

    def listen(self, after: int | None) -> asyncio.Queue[bytes | None] | None:
        """A queue of encoded events, ended by None; None itself when there are too many listeners."""
        if len(self._listeners) >= MAX_LISTENERS:
            return None
        listener: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE)
        if after is not None:
            missed = [(number, event) for number, event in self._kept if number > after]
            for number, event in missed[-QUEUE // 2 :]:
                listener.put_nowait(_encoded(number, event))
        self._listeners.add(listener)
        return listener

    def leave(self, listener: asyncio.Queue[bytes | None]) -> None:
        """The listener is gone."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """Ends all listeners."""
        for listener in tuple(self._listeners):
            self._end(listener)

    def _end(self, listener: asyncio.Queue[bytes | None]) -> None:
        self._listeners.discard(listener)
        if listener.full():
            listener.get_nowait()
        listener.put_nowait(None)


def _encoded(number: int, event: CameraEvent) -> bytes:
    return f"id: {number}\nevent: camera\ndata: {json.dumps(members(event))}\n\n".encode()


async def send(events: EventLog, request: web.Request) -> web.StreamResponse:
    """Serves one listener until either side ends it; 503 when there are too many."""
    last = request.headers.get("Last-Event-ID", "")
    listener = events.listen(int(last) if last.isascii() and last.isdecimal() and len(last) < 19 else None)
    if listener is None:
        return web.Response(status=503, headers={"Retry-After": "10"})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    try:
        await response.prepare(request)
        await response.write(b": events of cctv3\n\n")
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    item = await listener.get()
            except TimeoutError:
                item = b": still here\n\n"
            if item is None:
                break
            await response.write(item)
    except ConnectionError:
        log.debug("= a listener of events is gone")
    finally:
        events.leave(listener)
    with contextlib.suppress(ConnectionError):
        await response.write_eof()
    return response
