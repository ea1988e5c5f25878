"""What happens to cameras, workers, sessions and settings: kept for a while, told to those who may know it.

    id: 1760000000001
    event: camera
    data: {"at": "2026-01-31T12:00:00.000Z", "what": "live", "text": "…", "camera": "front", …}

A client of the stream of events that comes back with Last-Event-ID gets what it missed, as far as it is still
kept.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from aiohttp import web

from common.clock import Clock
from signaling.access.principal import Principal
from signaling.problems import Problem

log = logging.getLogger(__name__)

KEPT = 1000
KEPT_OF_CAMERA = 50
MAX_LISTENERS = 200
QUEUE = 256
"A listener who does not read that many is dropped."
HEARTBEAT_S = 15.0
LOOK_S = 0.5
"How soon a stream ends whose listener may not listen any more."
REFUSED = "the configuration file is refused; an admin is told why"
"What those hear of it who may not read the configuration: the reason may name any camera."

Kind = Literal["camera", "worker", "session", "settings"]
Level = Literal["info", "warning", "error"]
Members = dict[str, str | int | None]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    number: int
    "Grows with each event; 0 until the log has it."
    at: float
    "UTC seconds since 1970."
    kind: Kind
    camera: str | None
    worker: str | None
    what: str
    """For programs. Of a camera: the state that a stream of it is in now, `added`, `removed`. Of a worker:
    `up`, `died`, `draining`, `drained`. Of a session: `opened`, `moved`, `ended`. Of settings: `changed`,
    `error`."""
    text: str
    "For people."
    viewer: str | None = None
    "Name of who watches."
    level: Level = "info"
    rendition: str | None = None
    "The stream that a camera's state is of."
    session: str | None = None
    "The beginning of the id: whoever knows all of it may end the session."


def visible(event: Event, principal: Principal) -> bool:
    """True when somebody may know of an event: viewers of their cameras, operators of all others too."""
    if event.camera is not None and not principal.may_see(event.camera):
        return False
    return principal.may("viewer" if event.kind == "camera" else "operator")


def shown(event: Event, principal: Principal) -> Event:
    """The event as it is told to somebody who may know of it."""
    if event.kind == "settings" and event.what == "error" and not principal.may("admin"):
        return dataclasses.replace(event, text=REFUSED)
    return event


def members(event: Event) -> Members:
    """An event as JSON members without its number; `at` is RFC 3339 in UTC."""
    at = datetime.fromtimestamp(event.at, UTC)
    return {
        "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "kind": event.kind,
        "what": event.what,
        "text": event.text,
        "level": event.level,
        "camera": event.camera,
        "rendition": event.rendition,
        "worker": event.worker,
        "session": event.session,
        "viewer": event.viewer,
    }


def encoded(event: Event) -> bytes:
    """An event as the stream has it (WHATWG HTML, server-sent events)."""
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(members(event))}\n\n".encode()


Listener = asyncio.Queue[Event | None]


class EventLog:
    """Keeps the newest events and hands new ones to listeners."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Numbers go on over a restart of signaling, so that Last-Event-ID means something then too.
        self._numbers = itertools.count(clock.utc_ns() // 1_000_000)
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._of_camera: dict[str, deque[Event]] = {}
        self._listeners: set[Listener] = set()
        self.subscribers: set[Callable[[Event], None]] = set()
        "Called with each event; to be filtered."

    def tell(
        self,
        kind: Kind,
        what: str,
        text: str,
        *,
        camera: str | None = None,
        worker: str | None = None,
        viewer: str | None = None,
        session: str | None = None,
        level: Level = "info",
    ) -> None:
        """Takes in what happens now."""
        at = self._clock.utc_ns() / 1e9
        self.add(Event(0, at, kind, camera, worker, what, text, viewer, level, None, session))

    def add(self, event: Event) -> None:
        """Takes an event in and numbers it."""
        event = dataclasses.replace(event, number=next(self._numbers))
        self._kept.append(event)
        if event.kind == "camera" and event.camera is not None:
            self._of_camera.setdefault(event.camera, deque(maxlen=KEPT_OF_CAMERA)).append(event)
        for subscriber in tuple(self.subscribers):
            subscriber(event)
        for listener in tuple(self._listeners):
            try:
                listener.put_nowait(event)
            except asyncio.QueueFull:
                self._end(listener)

    def of_camera(self, camera: str) -> list[Event]:
        """The newest events of a camera, oldest first."""
        return list(self._of_camera.get(camera, ()))

    def forget_camera(self, camera: str) -> None:
        """The camera is no more; events of it that listeners missed they still get."""
        self._of_camera.pop(camera, None)

    def listen(self, after: int | None = None) -> Listener | None:
        """A queue of events, ended by None, to be filtered; None itself when there are too many listeners."""
        if len(self._listeners) >= MAX_LISTENERS:
            return None
        listener: Listener = asyncio.Queue(QUEUE)
        if after is not None:
            missed = [event for event in self._kept if event.number > after]
            for event in missed[-QUEUE // 2 :]:
                listener.put_nowait(event)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """The listener is gone."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """Ends all listeners."""
        for listener in tuple(self._listeners):
            self._end(listener)

    def _end(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        if listener.full():
            listener.get_nowait()
        listener.put_nowait(None)


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def send(
    events: EventLog,
    request: web.Request,
    principal: Callable[[], Principal | None],
    wanted: Callable[[Event], bool] = lambda _: True,
) -> web.StreamResponse:
    """Serves one listener until either side ends it; raises Problem 503 when there are too many.

    `principal` says who listens now; the stream ends when that is nobody any more.
    """
    last = request.headers.get("Last-Event-ID", "")
    listener = events.listen(int(last) if last.isascii() and last.isdecimal() and len(last) < 19 else None)
    if listener is None:
        raise Problem(503, "too many listen to events", 10)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    try:
        await response.prepare(request)
        await response.write(b": events of cctv3\n\n")
        quiet_s = 0.0
        while (who := principal()) is not None and not _is_gone(request):
            try:
                async with asyncio.timeout(LOOK_S):
                    event = await listener.get()
            except TimeoutError:
                quiet_s += LOOK_S
                if quiet_s >= HEARTBEAT_S:
                    # A sign of life keeps proxies from closing the connection.
                    await response.write(b": still here\n\n")
                    quiet_s = 0.0
                continue
            if event is None:
                break
            if visible(event, who) and wanted(event):
                await response.write(encoded(shown(event, who)))
                quiet_s = 0.0
    except ConnectionError:
        log.debug("= a listener of events is gone")
    finally:
        events.leave(listener)
    with contextlib.suppress(ConnectionError):
        await response.write_eof()
    return response
