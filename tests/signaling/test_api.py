"""Health, cameras, workers, sessions and the page over real HTTP."""

import asyncio
import dataclasses
import json

import aiohttp
from signaling_support import SUB, System, eventually, session_report, worker_report

from common.messages import CameraEvent, CameraReport
from signaling import events as events_module
from signaling.app import SECURITY_HEADERS
from tests.support.reports import WELL


async def test_health(bare: System) -> None:
    async with bare.client.get(f"{bare.url}/healthz") as response:
        assert response.status == 503
    await bare.add_worker("w0")
    async with bare.client.get(f"{bare.url}/healthz") as response:
        assert response.status == 200
        assert await response.json() == {"status": "ok", "workers": 1}


async def test_cameras(system: System) -> None:
    assert (await system.post()).status == 201
    async with system.client.get(f"{system.url}/api/v1/cameras") as response:
        front, yard = await response.json()
    assert front == {
        "name": "front",
        "state": "live",
        "renditions": ["main"],
        "codec": "H264",
        "profile": "High",
        "width": 1920,
        "height": 1080,
        "fps": 25.0,
        "bitrate": 4_000_000,
        "gop_s": 2.0,
        "audio": "PCMA",
        "age": 0.02,
        "viewers": 1,
        "error": None,
    }
    assert (yard["name"], yard["state"], yard["codec"]) == ("yard", "down", None)
    assert "ingest process" in yard["error"]


async def test_a_camera_lists_its_streams(system: System) -> None:
    ingest = await system.add_ingest("yard")
    ingest.notify(CameraReport("yard", (WELL, SUB)))
    await eventually(lambda: len(system.broker.registry.status("yard").renditions) == 2)
    async with system.client.get(f"{system.url}/api/v1/cameras") as response:
        assert [camera["renditions"] for camera in await response.json()] == [["main"], ["main", "sub"]]


async def test_sessions_of_all_workers(system: System) -> None:
    other = await system.add_worker("w1")
    assert [(await system.post()).status for _ in range(2)] == [201, 201]
    async with system.client.get(f"{system.url}/api/v1/sessions") as response:
        listed = await response.json()
        text = await response.text()
    assert listed["silent"] == []
    ids = {"fanout-w0": [*system.worker.sessions], "fanout-w1": [*other.sessions]}
    assert [session["worker"] for session in listed["sessions"]] == ["fanout-w0", "fanout-w1"]
    for session in listed["sessions"]:
        (whole,) = ids[session["worker"]]
        assert session["session"] == f"{whole[:6]}…"
        assert whole not in text
        assert {**session, "session": "s"} == {
            **dataclasses.asdict(session_report("s", "front")),
            "worker": session["worker"],
        }


async def test_a_silent_worker_is_named(system: System) -> None:
    other = await system.add_worker("w1")
    assert [(await system.post()).status for _ in range(2)] == [201, 201]
    other.silent = True
    async with system.client.get(f"{system.url}/api/v1/sessions") as response:
        listed = await response.json()
    assert [session["worker"] for session in listed["sessions"]] == ["fanout-w0"]
    assert listed["silent"] == ["fanout-w1"]


async def test_workers(system: System) -> None:
    await system.add_worker("w1")
    assert (await system.post()).status == 201
    system.worker.report(cpu=0.25)
    await eventually(lambda: any(load.cpu == 0.25 for load in system.broker._loads()))
    system.clock.now_s += 0.5
    async with system.client.get(f"{system.url}/api/v1/workers") as response:
        assert await response.json() == [
            {
                "worker": "fanout-w0",
                "age": 0.5,
                "sessions": 1,
                "report": dataclasses.asdict(worker_report("w0", cpu=0.25, viewers=1)),
            },
            {"worker": "fanout-w1", "age": 0.5, "sessions": 0, "report": None},
        ]


async def test_report(system: System) -> None:
    system.broker.events.add(CameraEvent("front", "main", 1_500_000_000, "failed", "wrong password"))
    async with system.client.get(f"{system.url}/api/v1/cameras/front/report") as response:
        report = await response.json()
    assert (report["camera"], report["state"], report["viewers"]) == ("front", "live", 0)
    (main,) = report["renditions"]
    assert main["video"]["peak_bitrate"] == 5_000_000
    assert main["audio"] == {"codec": "PCMA", "clock_rate": 8000, "channels": 1, "bitrate": 64_000}
    assert report["events"] == [
        {
            "camera": "front",
            "rendition": "main",
            "at": "1970-01-01T00:00:01.500Z",
            "state": "failed",
            "reason": "wrong password",
        }
    ]
    async with system.client.get(f"{system.url}/api/v1/cameras/nobody/report") as response:
        assert response.status == 404


async def next_event(response: aiohttp.ClientResponse) -> tuple[int, dict[str, str]]:
    fields = {}
    async with asyncio.timeout(5):
        while True:
            line = (await response.content.readline()).decode().rstrip("\n")
            if not line and "data" in fields:
                return int(fields["id"]), json.loads(fields["data"])
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value


async def test_events_as_they_happen_and_those_that_were_missed(system: System) -> None:
    url = f"{system.url}/api/v1/events"
    events = system.broker.events
    events.add(CameraEvent("front", "main", 1, "idle", None))
    async with system.client.get(url) as response:
        assert response.content_type == "text/event-stream"
        await response.content.readline()
        events.add(CameraEvent("front", "main", 2, "connecting", None))
        number, event = await next_event(response)
        assert event["state"] == "connecting"
    events.add(CameraEvent("yard", "sub", 3, "live", None))
    events.add(CameraEvent("yard", "sub", 3, "stalled", "no video"))
    async with system.client.get(url, headers={"Last-Event-ID": str(number)}) as response:
        assert [(await next_event(response))[1]["state"] for _ in range(2)] == ["live", "stalled"]


async def test_a_listener_that_does_not_read_is_dropped(system: System) -> None:
    events = system.broker.events
    listener = events.listen(None)
    assert listener is not None
    for number in range(events_module.QUEUE + 1):
        events.add(CameraEvent("front", "main", number, "idle", None))
    assert [listener.get_nowait() for _ in range(listener.qsize())][-1] is None
    listeners = [events.listen(None) for _ in range(events_module.MAX_LISTENERS)]
    async with system.client.get(f"{system.url}/api/v1/events") as response:
        assert response.status == 503
    assert None not in listeners


async def test_ice_servers(bare: System) -> None:
    for ice_urls in ((), ("stun:10.0.0.2:3478", "stun:[::1]:3478")):
        await bare.stop()
        bare.ice_urls = ice_urls
        await bare.start()
        async with bare.client.get(f"{bare.url}/api/v1/ice-servers") as response:
            assert response.status == 200
            assert await response.json() == [{"urls": url} for url in ice_urls]


async def test_the_page_and_its_parts(bare: System) -> None:
    for name, kind in {
        "": "text/html",
        "style.css": "text/css",
        "app.js": "text/javascript",
        "player.js": "text/javascript",
        "icon.svg": "image/svg+xml",
    }.items():
        async with bare.client.get(f"{bare.url}/{name}") as response:
            assert (response.status, response.content_type) == (200, kind)
            assert SECURITY_HEADERS.items() <= response.headers.items()
            assert "Server" not in response.headers
            etag = response.headers["ETag"]
        async with bare.client.get(f"{bare.url}/{name}", headers={"If-None-Match": etag}) as response:
            assert response.status == 304


async def test_nothing_else_is_served(bare: System) -> None:
    from yarl import URL

    for path in ("/app.py", "/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/web/app.js", "//etc/passwd"):
        async with bare.client.get(URL(bare.url + path, encoded=True)) as response:
            assert response.status == 404
            assert response.content_type == "application/problem+json"
