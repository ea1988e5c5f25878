"""What Prometheus reads: every series, by the library's own parser."""

import dataclasses
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families
from signaling_support import SUB, USER, System, camera_report, eventually, started, users

from common.access_config import UserConfig
from common.messages import CameraReport, SettingsState
from signaling.http_body import problems
from signaling.metrics import Metrics
from signaling.problems import Problem
from signaling.workers import INGEST_SILENCE_S, WORKER_SILENCE_S
from tests.support.processes import PROJECT
from tests.support.reports import WELL

Labels = frozenset[tuple[str, str]]


class Scraped:
    """One answer of `/metrics`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.types: dict[str, str] = {}
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in text_string_to_metric_families(text):
            assert family.documentation, family.name
            self.types[family.name] = family.type
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples
                self.samples[key] = sample.value

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"cctv3_{name}", frozenset(labels.items())))

    def names(self) -> set[str]:
        return {name for name, _ in self.samples}


async def scrape(system: System) -> Scraped:
    async with system.client.get(f"{system.url}/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Scraped(await response.text())


async def test_workers(system: System) -> None:
    await system.add_worker("quiet")
    system.worker.report(cpu=0.25)
    await eventually(lambda: any(load.cpu == 0.25 for load in system.broker._loads()))
    scraped = await scrape(system)
    assert scraped("workers") == 2
    assert scraped("worker_info", worker="fanout-w0", egress="kernel") == 1
    values = {
        "viewers": 0,
        "draining": 0,
        "packets_per_second": 900,
        "refused_sends_total": 0,
        "cpu_ratio": 0.25,
        "loop_lag_seconds": 0.002,
        "packets_total": 90_000,
        "retransmitted_packets_total": 40,
        "dropped_frames_total": 3,
        "switches_total": 2,
        "rejected_datagrams_total": 1,
        "history_bytes": 5_000_000,
    }
    assert {name: scraped(f"worker_{name}", worker="fanout-w0") for name in values} == values
    free = system.broker.headrooms()["fanout-w0"]
    assert free < 1 and scraped("worker_headroom_ratio", worker="fanout-w0") == pytest.approx(free, abs=0.01)
    assert not any(("worker", "fanout-quiet") in labels for _, labels in scraped.samples)


async def test_cameras(system: System) -> None:
    ingest = await system.add_ingest("yard")
    main = dataclasses.replace(WELL, state="stalled", lost_packets=7, reconnects=3, malformed=2, damaged=1)
    ingest.notify(CameraReport("yard", (main, SUB)))
    await eventually(lambda: len(system.broker.registry.status("yard").renditions) == 2)
    system.clock.now_s += 0.5
    scraped = await scrape(system)
    values = {
        "up": 0,
        "frames_per_second": 25,
        "video_bits_per_second": 4_000_000,
        "access_units_total": 1500,
        "lost_packets_total": 7,
        "reconnects_total": 3,
        "malformed_packets_total": 2,
        "damaged_access_units_total": 1,
        "jitter_seconds": 0.004,
        "clock_offset_seconds": -0.2,
        "clock_drift_ratio": pytest.approx(0.00002),
        "gop_seconds": 2,
        "last_access_unit_age_seconds": pytest.approx(0.52),
    }
    read = {name: scraped(f"camera_{name}", camera="yard", rendition="main") for name in values}
    assert read == values
    sub = {name: scraped(f"camera_{name}", camera="yard", rendition="sub") for name in values}
    assert sub == {
        **dict.fromkeys(values, None),
        "up": 0,
        "access_units_total": 1500,
        "lost_packets_total": 0,
        "reconnects_total": 0,
        "malformed_packets_total": 0,
        "damaged_access_units_total": 0,
        "jitter_seconds": 0.004,
        "clock_offset_seconds": -0.2,
        "clock_drift_ratio": pytest.approx(0.00002),
    }
    assert [scraped("ingest_up", camera=camera) for camera in ("front", "yard")] == [1, 1]
    assert scraped("camera_up", camera="front", rendition="main") == 1
    for camera, rendition, state in (
        ("yard", "main", "stalled"),
        ("yard", "sub", "idle"),
        ("front", "main", "live"),
    ):
        states = {
            dict(labels)["state"]: value
            for (name, labels), value in scraped.samples.items()
            if name == "cctv3_camera_state" and {("camera", camera), ("rendition", rendition)} < labels
        }
        assert [name for name, value in states.items() if value] == [state]
        assert len(states) == 7


async def test_what_is_not_heard_has_no_figures(system: System) -> None:
    system.clock.now_s += max(WORKER_SILENCE_S, INGEST_SILENCE_S) + 0.1
    system.broker.tick()
    scraped = await scrape(system)
    assert scraped("workers") == 0
    assert scraped("camera_up", camera="front", rendition="main") == 0
    assert scraped("camera_state", camera="front", rendition="main", state="down") == 1
    assert scraped("camera_state", camera="yard", rendition="main", state="down") == 1
    assert scraped("ingest_up", camera="front") == 0
    names = {name for name in scraped.names() if not name.startswith("cctv3_signaling_")}
    assert names == {
        "cctv3_workers",
        "cctv3_ingest_up",
        "cctv3_camera_up",
        "cctv3_camera_state",
        "cctv3_sessions",
        "cctv3_keeper_up",
    }


async def test_sessions(system: System) -> None:
    assert [(await system.post()).status for _ in range(3)] == [201] * 3
    scraped = await scrape(system)
    assert [scraped("sessions", camera=camera) for camera in ("front", "yard")] == [3, 0]
    assert scraped.types["cctv3_worker_packets"] == "counter"


async def test_errors_of_cameras_are_not_told(system: System) -> None:
    ingest = await system.add_ingest("yard")
    ingest.notify(camera_report("yard", error="rtsp://who:s3cret@camera/ refused", via="s3cret"))
    await eventually(lambda: system.broker.registry.status("yard").main.via == "s3cret")  # type: ignore[union-attr]
    assert "s3cret" not in (await scrape(system)).text


async def test_settings(system: System) -> None:
    system.broker.settings = SettingsState(1, 7, ("front",), True, "cameras.1: url: s3cret", ("http.listen",))
    scraped = await scrape(system)
    assert scraped("keeper_up") == 1
    assert scraped("settings_revision") == 7
    assert scraped("settings_error") == 1
    assert scraped("settings_restart_needed") == 1
    assert "s3cret" not in scraped.text


async def test_signaling_itself(system: System) -> None:
    scraped = await scrape(system)
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds"):
        assert scraped(f"signaling_process_{name}"), name


async def test_the_manual_names_them_all(system: System) -> None:
    system.worker.report()
    system.broker.settings = SettingsState(1, 1, ("front",), True, None, ())
    await eventually(lambda: any(load.reports for load in system.broker._loads()))
    text = (await scrape(system)).text
    kinds = dict(re.findall(r"^# TYPE cctv3_(\w+) (\w+)$", text, re.MULTILINE))
    meanings = dict(re.findall(r"^# HELP cctv3_(\w+) (.*)$", text, re.MULTILINE))
    manual = (PROJECT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (gauge|counter|histogram) \| .* \| (.*) \|$", manual, re.MULTILINE)
    assert {name: (kind, meaning) for name, kind, meaning in rows} == {
        name: (kind, meanings[name]) for name, kind in kinds.items()
    }


async def test_an_operator_sees_his_cameras(tmp_path: Path) -> None:
    olga = UserConfig("olga", "operator", ("front",))
    system = await started(tmp_path, users(olga))
    async with system.client.get(f"{system.url}/metrics", headers={USER: "olga"}) as response:
        scraped = Scraped(await response.text())
    await system.close()
    assert {dict(labels).get("camera") for _, labels in scraped.samples} == {None, "front"}


class Counted:
    """Requests to a few handlers behind the middleware."""

    def __init__(self, system: System, client: "TestClient[web.Request, web.Application]") -> None:
        self._broker = system.broker
        self.client = client

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._broker.counters.registry.get_sample_value(f"cctv3_signaling_{name}", labels)


@pytest.fixture
async def counted(system: System) -> AsyncIterator[Counted]:
    async def camera(request: web.Request) -> web.Response:
        if request.match_info["camera"] == "broken":
            raise RuntimeError
        return web.Response()

    async def login(request: web.Request) -> web.Response:
        if status := int(await request.text()):
            raise Problem(status, "refused")
        return web.Response(status=204)

    async def socket(request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        await answer.receive()
        return answer

    app = web.Application(middlewares=[Metrics(system.broker).middleware, problems])
    app.add_routes(
        [web.get("/cameras/{camera}", camera), web.post("/api/v1/login", login), web.get("/ws", socket)]
    )
    async with TestClient(TestServer(app)) as client:
        yield Counted(system, client)


async def test_requests_are_counted_by_template_and_class(counted: Counted) -> None:
    for path in ("/cameras/a", "/cameras/b", "/cameras/broken", "/nothing/here", "/../etc/passwd"):
        await counted.client.get(path)
    await counted.client.request("PROPFIND", "/cameras/a")
    route = "/cameras/{camera}"
    assert counted("requests_total", method="GET", route=route, status="2xx") == 2
    assert counted("requests_total", method="GET", route=route, status="5xx") == 1
    assert counted("requests_total", method="any", route="none", status="4xx") == 3
    assert counted("request_seconds_count", route=route) == 3
    assert counted("requests_open", route=route) == 0


async def test_logins_are_counted(counted: Counted) -> None:
    for body in ("0", "401", "401", "429", "400"):
        await counted.client.post("/api/v1/login", data=body)
    assert [counted("logins_total", result=each) for each in ("ok", "failed", "limited")] == [1, 2, 1]


async def test_a_websocket_is_open_until_it_ends(counted: Counted) -> None:
    async with counted.client.ws_connect("/ws"):
        await eventually(lambda: counted("requests_open", route="/ws") == 1)
        assert counted("requests_total", method="GET", route="/ws", status="1xx") is None
    await eventually(lambda: counted("requests_open", route="/ws") == 0)
    assert counted("requests_total", method="GET", route="/ws", status="1xx") == 1
    assert counted("request_seconds_count", route="/ws") is None
