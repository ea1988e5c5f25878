"""The registry: hellos, heartbeats, silence."""

import dataclasses

from signaling_support import SUB, FakeClock, camera_report, worker_report

from common.messages import CameraReport, FanoutHello, IngestHello, SessionEntry
from signaling.workers import HelloNeeded, Registry, SessionsStated
from tests.support.reports import WELL


def fanout_hello(epoch: int = 1, *sessions: str) -> FanoutHello:
    return FanoutHello("w0", epoch, 10, tuple(SessionEntry(session, "front") for session in sessions))


def ingest_hello(epoch: int = 1, camera: str = "front") -> IngestHello:
    return IngestHello(camera, epoch, 20, "ipc:///x")


def test_reports_of_strangers_ask_for_a_hello() -> None:
    registry = Registry(["front"], FakeClock())
    assert registry.heard("fanout-w0", worker_report("w0")) == HelloNeeded()
    assert registry.heard("ingest-front", camera_report("front")) == HelloNeeded()
    assert registry.workers() == []
    assert registry.ingest("front") is None


def test_hello_states_the_sessions() -> None:
    registry = Registry(["front"], FakeClock())
    entry = SessionEntry("s1", "front")
    assert registry.heard("f0", fanout_hello(1, "s1")) == SessionsStated((entry,), restarted=False)
    assert registry.heard("f0", fanout_hello(1, "s1")) == SessionsStated((entry,), restarted=False)
    assert registry.heard("f0", fanout_hello(2)) == SessionsStated((), restarted=True)


def test_a_silent_worker_is_dead_after_two_seconds() -> None:
    clock = FakeClock()
    registry = Registry(["front"], clock)
    registry.heard("f0", fanout_hello())
    clock.now_s += 1.0
    registry.heard("f0", worker_report("w0"))
    clock.now_s += 2.0
    assert registry.expire() == []
    clock.now_s += 0.01
    assert registry.expire() == ["f0"]
    assert registry.expire() == []
    assert registry.heard("f0", worker_report("w0")) == HelloNeeded()


def test_the_own_standstill_is_nobodys_silence() -> None:
    clock = FakeClock()
    registry = Registry(["front"], clock)
    registry.heard("f0", fanout_hello())
    clock.now_s += 30.0
    registry.forgive(30.0)
    assert registry.expire() == []


def test_a_restarted_ingest_starts_without_a_report() -> None:
    registry = Registry(["front"], FakeClock())
    registry.heard("i", ingest_hello(1))
    registry.heard("i", camera_report("front"))
    registry.heard("i", ingest_hello(1))
    assert registry.status("front").state == "live"
    registry.heard("i", ingest_hello(2))
    status = registry.status("front")
    assert (status.state, status.report, status.age_s(status.main)) == ("connecting", None, None)


def test_a_silent_ingest_is_down() -> None:
    clock = FakeClock()
    registry = Registry(["front"], clock)
    assert registry.status("front").state == "down"
    registry.heard("i", ingest_hello())
    registry.heard("i", camera_report("front", last_access_unit_age_s=0.5))
    clock.now_s += 3.0
    status = registry.status("front")
    assert (status.state, status.age_s(status.main)) == ("live", 3.5)
    clock.now_s += 0.01
    assert registry.status("front").state == "down"
    assert registry.ingest("front") is None


def test_cameras_that_are_not_configured_stay_out() -> None:
    registry = Registry(["front"], FakeClock())
    assert registry.heard("i", ingest_hello(camera="spy")) is None
    assert registry.heard("i", camera_report("spy")) is None
    assert registry.ingest("spy") is None


def test_each_stream_has_an_age_of_its_own() -> None:
    clock = FakeClock()
    registry = Registry(["front"], clock)
    registry.heard("i", ingest_hello())
    sub = dataclasses.replace(WELL, name="sub", last_access_unit_age_s=0.25)
    registry.heard("i", CameraReport("front", (WELL, sub)))
    clock.now_s += 1.0
    status = registry.status("front")
    assert [status.age_s(rendition) for rendition in (*status.renditions, SUB)] == [1.02, 1.25, None]


def test_how_long_a_worker_is_silent() -> None:
    clock = FakeClock()
    registry = Registry(["front"], clock)
    registry.heard("f0", fanout_hello())
    clock.now_s += 1.5
    assert [registry.silence_s(worker) for worker in registry.workers()] == [1.5]
