"""The registry: hellos, heartbeats, silence."""

import dataclasses

from signaling_support import SUB, FakeClock, camera_report, worker_report

from common.messages import CameraReport, FanoutHello, IngestHello, SessionEntry
from signaling.routing import KEPT_REPORTS
from signaling.workers import HelloNeeded, Registry, SessionsStated
from tests.support.reports import WELL


def fanout_hello(epoch: int = 1, *sessions: str) -> FanoutHello:
    entries = tuple(SessionEntry(session, "front") for session in sessions)
    return FanoutHello.of("w0", epoch, 10, False, entries)


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
    assert registry.heard("f0", fanout_hello(1, "s1")) == SessionsStated((entry,), False, new=True)
    assert registry.heard("f0", fanout_hello(1, "s1")) == SessionsStated((entry,), False, new=False)
    assert registry.heard("f0", fanout_hello(2)) == SessionsStated((), restarted=True, new=True)


def test_a_worker_drains_on_when_signaling_is_started_again() -> None:
    registry = Registry(["front"], FakeClock())
    draining = dataclasses.replace(fanout_hello(), draining=True)
    registry.heard("f0", draining)
    assert [(worker.draining, worker.report) for worker in registry.workers()] == [(True, None)]
    registry.heard("f0", fanout_hello(2))
    assert not registry.workers()[0].draining


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


def test_the_last_reports_are_kept_for_the_same_process() -> None:
    registry = Registry(["front"], FakeClock())
    registry.heard("f0", fanout_hello())
    for number in range(KEPT_REPORTS + 2):
        registry.heard("f0", worker_report("w0", cpu=number / 100))
    registry.heard("f0", fanout_hello())
    (worker,) = registry.workers()
    assert [report.cpu for report in worker.reports] == [0.06, 0.05, 0.04, 0.03, 0.02]
    assert worker.report == worker.reports[0]
    registry.heard("f0", fanout_hello(2))
    (worker,) = registry.workers()
    assert (worker.reports, worker.report) == ((), None)


def test_draining_holds_until_the_worker_says_otherwise() -> None:
    registry = Registry(["front"], FakeClock())
    registry.heard("f0", fanout_hello())
    registry.set_draining("f0", True)
    registry.heard("f0", fanout_hello())
    assert [worker.draining for worker in registry.workers()] == [True]
    registry.heard("f0", worker_report("w0"))
    assert [worker.draining for worker in registry.workers()] == [False]


def test_a_process_that_ended_is_gone_at_once() -> None:
    registry = Registry(["front"], FakeClock())
    registry.heard("f0", fanout_hello())
    assert not registry.gone("f0", 11)
    assert not registry.gone("f1", 10)
    assert registry.gone("f0", 10)
    assert registry.worker("f0") is None
    assert not registry.gone("f0", 10)


def test_cameras_come_and_go_with_the_configuration() -> None:
    registry = Registry(["front", "yard"], FakeClock())
    for camera in ("front", "yard"):
        registry.heard(f"i-{camera}", ingest_hello(camera=camera))
    assert registry.set_cameras(("gate", "front")) == (["gate"], ["yard"])
    assert registry.cameras == ("gate", "front")
    assert (registry.has_camera("gate"), registry.has_camera("yard")) == (True, False)
    assert registry.ingest("front") is not None
    assert registry.ingest("yard") is None
    assert registry.set_cameras(("gate", "front", "yard")) == (["yard"], [])
    assert registry.status("yard").state == "down"
