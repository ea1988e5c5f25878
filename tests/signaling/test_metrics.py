"""What Prometheus reads: every series, by the library's own parser."""

import dataclasses

import pytest
from prometheus_client.parser import text_string_to_metric_families
from signaling_support import SUB, System, camera_report, eventually

from common.messages import CameraReport
from signaling.workers import INGEST_SILENCE_S, WORKER_SILENCE_S
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
    assert not any(("worker", "fanout-quiet") in labels for _, labels in scraped.samples)


async def test_cameras(system: System) -> None:
    ingest = await system.add_ingest("yard")
    main = dataclasses.replace(WELL, state="stalled", lost_packets=7, reconnects=3)
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
    }
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
    assert scraped.names() == {"cctv3_workers", "cctv3_camera_up", "cctv3_camera_state", "cctv3_sessions"}


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
