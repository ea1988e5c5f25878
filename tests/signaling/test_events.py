"""Events: who may know of which, and who hears of them."""

import asyncio
import json
from itertools import pairwise

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from signaling_support import FakeClock, eventually

from signaling import events
from signaling.access.principal import Principal
from signaling.events import Event, EventLog, shown, visible
from signaling.http_body import problems

ANNA = Principal("anna", "user", "viewer", ("front",))
OLGA = Principal("olga", "user", "operator", ("front", "yard"))
ROOT = Principal("root", "user", "admin", ())


def event(kind: events.Kind, camera: str | None, viewer: str | None = None) -> Event:
    return Event(1, 1000.0, kind, camera, "fanout-0", "what", "text", viewer)


@pytest.mark.parametrize(
    ("told", "who"),
    [
        (event("camera", "front"), "anna olga root"),
        (event("camera", "yard"), "olga root"),
        (event("camera", "gate"), "root"),
        (event("worker", None), "olga root"),
        (event("session", "front", "anna"), "olga root"),
        (event("session", "gate", "anna"), "root"),
        (event("settings", None), "olga root"),
    ],
)
def test_who_may_know(told: Event, who: str) -> None:
    assert [each.name for each in (ANNA, OLGA, ROOT) if visible(told, each)] == who.split()


def test_why_a_file_is_refused_is_for_admins() -> None:
    refused = Event(1, 1000.0, "settings", None, None, "error", "cameras.gate: no")
    assert [shown(refused, each).text for each in (OLGA, ROOT)] == [events.REFUSED, "cameras.gate: no"]
    changed = Event(1, 1000.0, "settings", None, None, "changed", "the configuration changed")
    assert shown(changed, OLGA) == changed


def test_the_log_keeps_the_newest() -> None:
    log = EventLog(FakeClock())
    for number in range(events.KEPT_OF_CAMERA + 5):
        log.tell("camera", "live", str(number), camera="front")
    log.tell("session", "opened", "x", camera="front", viewer="anna")
    kept = log.of_camera("front")
    assert [each.text for each in kept] == [str(number + 5) for number in range(events.KEPT_OF_CAMERA)]
    assert [later.number - earlier.number for earlier, later in pairwise(kept)] == [1] * 49
    assert log.of_camera("yard") == []
    log.forget_camera("front")
    log.forget_camera("front")
    assert log.of_camera("front") == []


def test_members() -> None:
    told = Event(7, 1769860800.0, "camera", "front", None, "stalled", "why", None, "warning", "main")
    assert events.members(told) == {
        "at": "2026-01-31T12:00:00.000Z",
        "kind": "camera",
        "what": "stalled",
        "text": "why",
        "level": "warning",
        "camera": "front",
        "rendition": "main",
        "worker": None,
        "session": None,
        "viewer": None,
    }
    assert events.encoded(told).startswith(b"id: 7\nevent: camera\ndata: {")


async def test_a_listener_who_does_not_read_is_dropped() -> None:
    log = EventLog(FakeClock())
    listener = log.listen()
    assert listener is not None
    for number in range(events.QUEUE + 2):
        log.tell("worker", "up", str(number))
    heard = [listener.get_nowait() for _ in range(events.QUEUE)]
    assert heard[-1] is None and heard[0] is not None
    log.leave(listener)


async def test_there_is_a_limit_of_listeners() -> None:
    log = EventLog(FakeClock())
    listeners = [log.listen() for _ in range(events.MAX_LISTENERS)]
    assert log.listen() is None
    assert listeners[0] is not None
    log.leave(listeners[0])
    assert log.listen() is not None


async def test_subscribers_are_called() -> None:
    log = EventLog(FakeClock())
    heard: list[Event] = []
    log.subscribers.add(heard.append)
    log.tell("worker", "died", "fanout-0", worker="fanout-0", level="error")
    assert [(each.what, each.level, each.at) for each in heard] == [("died", "error", 1000.0)]


class Served:
    """The stream of events as one principal gets it."""

    def __init__(self, log: EventLog, principal: Principal | None) -> None:
        self.log = log
        self.principal = principal

    async def get(self, request: web.Request) -> web.StreamResponse:
        return await events.send(self.log, request, lambda: self.principal)


async def data(response: aiohttp.ClientResponse) -> dict[str, object]:
    """The next event."""
    while not (line := (await response.content.readline()).decode()).startswith("data: "):
        assert line, "the stream ended"
    content: dict[str, object] = json.loads(line.removeprefix("data: "))
    return content


async def test_the_stream_has_what_its_listener_may_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.02)
    log = EventLog(FakeClock())
    served = Served(log, ANNA)
    app = web.Application(middlewares=[problems])
    app.add_routes([web.get("/events", served.get)])
    async with TestClient(TestServer(app)) as client, asyncio.timeout(10):
        response = await client.get("/events")
        await eventually(lambda: log._listeners)
        log.tell("camera", "live", "not hers", camera="yard")
        log.tell("camera", "live", "hers", camera="front")
        assert (await data(response))["text"] == "hers"
        assert b": still here" in await response.content.readuntil(b"still here\n")
        (_, number) = [each.number for each in log._kept]

        again = await client.get("/events", headers={"Last-Event-ID": str(number - 1)})
        assert (await data(again))["text"] == "hers"
        for nonsense in ("x", "9" * 40, "-1"):
            other = await client.get("/events", headers={"Last-Event-ID": nonsense})
            assert other.status == 200
            other.close()

        served.principal = None
        assert b"data" not in await response.read()
        assert b"data" not in await again.read()
        await eventually(lambda: not log._listeners)


async def test_the_streams_end_with_the_log() -> None:
    log = EventLog(FakeClock())
    served = Served(log, ANNA)
    app = web.Application(middlewares=[problems])
    app.add_routes([web.get("/events", served.get)])
    async with TestClient(TestServer(app)) as client, asyncio.timeout(10):
        response = await client.get("/events")
        await eventually(lambda: log._listeners)
        log.close()
        assert (await response.read()).startswith(b": events")
        for _ in range(events.MAX_LISTENERS):
            log.listen()
        full = await client.get("/events")
        assert (full.status, full.headers["Retry-After"]) == (503, "10")
