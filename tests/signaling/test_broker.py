"""The broker's watch over silence, and a bus that says strange things."""

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from signaling_support import (
    OFFER,
    SUB,
    USER,
    FakeClock,
    System,
    eventually,
    started,
    users,
    worker_report,
)

from common.access_config import UserConfig
from common.messages import (
    ANYBODY,
    CameraEvent,
    CameraReport,
    Done,
    HelloWanted,
    RenditionFormat,
    SessionChanged,
    SessionEnded,
)
from signaling.access.principal import Principal
from signaling.problems import Problem
from tests.support.reports import WELL


class StandstillClock(FakeClock):
    """The first sleep takes a minute, the second one ends when the test lets it."""

    def __init__(self, now_s: float) -> None:
        super().__init__()
        self.now_s = now_s
        self.sleeps = 0
        self.go_on = asyncio.Event()

    async def sleep(self, delay_s: float) -> None:
        self.sleeps += 1
        if self.sleeps == 1:
            self.now_s += 60.0
        if self.sleeps == 2:
            await self.go_on.wait()
        await super().sleep(delay_s)


def change_of(system: System, session: str) -> SessionChanged | None:
    kept = system.broker.sessions.get(session)
    assert kept is not None
    return kept.change


async def test_silence_counts_only_while_signaling_runs(system: System) -> None:
    clock = StandstillClock(system.clock.now_s)
    system.broker._clock = system.broker.registry._clock = system.broker._keeper._clock = clock
    await system.add_keeper()
    watch = asyncio.ensure_future(system.broker.run())
    await eventually(lambda: clock.sleeps == 2)
    assert system.has_worker("w0")
    assert system.broker.settings is not None
    clock.go_on.set()
    await eventually(lambda: not system.has_worker("w0"))
    watch.cancel()


async def test_a_worker_taken_for_dead_is_asked_for_its_hello(system: System) -> None:
    system.clock.now_s += 2.1
    system.broker.tick()
    assert not system.has_worker("w0")
    system.worker.report()
    await eventually(lambda: system.has_worker("w0"))


async def test_a_camera_tells_its_changes_of_state(system: System) -> None:
    ingest = await system.add_ingest("yard")
    for camera in ("yard", "not-configured"):
        ingest.notify(CameraEvent(camera, "sub", 7, "stalled", "no video"))
    await eventually(lambda: system.broker.events.of_camera("yard") != [])
    await system.add_worker("w9")  # whatever came before it has been read by now
    assert system.broker.events.of_camera("not-configured") == []


async def test_messages_that_no_peer_sends_are_ignored(system: System) -> None:
    system.worker.client.notify(HelloWanted())
    system.worker.client.notify(Done())
    system.worker.client.notify(worker_report("w0", cpu=0.2))
    await eventually(lambda: any(load.cpu == 0.2 for load in system.broker._loads()))


async def test_sessions_of_gone_viewers_are_counted_until_they_end(system: System) -> None:
    other = await system.add_worker("w1")
    for _ in range(4):
        assert (await system.post()).status == 201
    assert (len(system.worker.sessions), len(other.sessions)) == (2, 2)


@pytest.mark.parametrize(
    ("renditions", "formats"),
    [
        ((), [RenditionFormat("main", None, None)]),
        ((WELL,), [RenditionFormat("main", WELL.video, WELL.audio)]),
        (
            (WELL, SUB),
            [RenditionFormat("main", WELL.video, WELL.audio), RenditionFormat("sub", None, None)],
        ),
    ],
)
async def test_an_offer_says_what_is_known_of_the_camera(
    system: System, renditions: tuple[object, ...], formats: list[RenditionFormat]
) -> None:
    ingest = await system.add_ingest("yard")
    ingest.notify(CameraReport("yard", renditions))  # type: ignore[arg-type]
    await eventually(lambda: system.broker.registry.status("yard").renditions == renditions)
    assert (await system.post("yard")).status == 201
    (offer,) = system.worker.offers()
    assert list(offer.renditions) == formats


async def test_an_offer_says_what_the_session_begins_with(system: System) -> None:
    await system.open()
    await system.broker.open("front", OFFER, None, ANYBODY, quality="sub")
    assert [offer.quality for offer in system.worker.offers()] == ["auto", "sub"]


async def test_a_diagnosis_is_about_the_session_and_asks_its_worker(system: System) -> None:
    await system.add_ingest("yard", reconnects=3)
    session = await system.open("yard")
    found = await system.broker.diagnose(session, OLGA_HERSELF)
    camera, worker, network = found["camera"], found["worker"], found["network"]
    assert camera is not None and (camera["name"], camera["reconnects"]) == ("yard", 3)
    assert worker is not None and (worker["name"], worker["state"]) == ("fanout-w0", "up")
    assert network is not None and network["state"] == "connected"
    await system.broker.drain("fanout-w0", True, "olga")
    worker = (await system.broker.diagnose(session, OLGA_HERSELF))["worker"]
    assert worker is not None and worker["state"] == "draining"
    system.worker.silent = True
    found = await system.broker.diagnose(session, OLGA_HERSELF)
    assert found["network"] is None and found["bus"] is None
    assert found["worker"] is not None and found["worker"]["state"] == "silent"


async def test_a_camera_is_diagnosed_for_those_who_may_see_it(system: System) -> None:
    anna = Principal("anna", "user", "viewer", ("yard",))
    found = system.broker.diagnose_camera("yard", anna)
    assert found["camera"] is not None and found["camera"]["state"] == "down"
    for camera in ("front", "nowhere"):
        with pytest.raises(Problem, match=f"there is no camera '{camera}'") as raised:
            system.broker.diagnose_camera(camera, anna)
        assert raised.value.status == 404


async def test_what_is_said_while_a_session_is_opened_is_not_lost(system: System) -> None:
    system.worker.notices = (SessionChanged("", "sub", "narrow link"),)
    session = await system.open()
    await eventually(lambda: change_of(system, session.id))
    assert change_of(system, session.id) == SessionChanged(session.id, "sub", "narrow link")
    system.worker.notices = (SessionEnded("", "DTLS failed"),)
    session = await system.open()
    await eventually(lambda: system.broker.sessions.get(session.id) is None)


async def test_a_full_disk_ends_no_session_and_hinders_none(system: System) -> None:
    (system.folder / "state" / "audit.log").symlink_to("/dev/full")
    system.worker.notices = (SessionChanged("", "sub", "narrow link"),)
    sessions = [await system.open() for _ in range(3)]
    await eventually(lambda: all(change_of(system, session.id) for session in sessions))
    await system.broker.end(sessions[0])
    system.clock.now_s += 2.1
    system.broker.tick()
    assert not system.has_worker("w0") and not system.broker.sessions.all()


async def test_a_session_that_cannot_be_written_down_is_followed_all_the_same(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(system.broker._log, "opened", opened)
    with pytest.raises(RuntimeError):
        await system.open()
    (session,) = system.broker.sessions.all()
    system.worker.end(session.id, "nobody came")
    await eventually(lambda: not system.broker.sessions.all())


async def test_the_end_of_a_workers_process_is_its_end(system: System) -> None:
    """Its viewers are told at once, and an offer that it had not answered goes to another worker."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(60)", "fanout", stdin=asyncio.subprocess.DEVNULL
    )
    try:
        worker = await system.add_worker("w1", pid=process.pid)
        sessions = [await system.open() for _ in range(4)]
        worker.silent = True
        waiting = [asyncio.ensure_future(system.open()) for _ in range(2)]
        await eventually(lambda: worker.offers()[-1].session not in worker.sessions)
        process.kill()
        await eventually(lambda: not system.has_worker("w1"))
        moved = await asyncio.gather(*waiting)
    finally:
        await process.wait()
    assert {session.worker for session in moved} == {"fanout-w0"}
    left = [session for session in sessions if system.broker.sessions.get(session.id)]
    assert {session.worker for session in left} == {"fanout-w0"}
    assert 0 < len(left) < len(sessions)
    told = [(event.worker, event.what) for event in system.broker.events._kept if event.kind == "worker"]
    assert told[-1] == ("fanout-w1", "died")
    # Late news of the old process: it is asked who it is.
    worker.client.notify(worker_report("w1"))
    await eventually(lambda: system.has_worker("w1"))


ANNA = UserConfig("anna", "viewer", ("front",))
OLGA = UserConfig("olga", "operator")


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[System]:
    """A system that anna, who may see `front`, and the operator olga use."""
    system = await started(tmp_path, config=users(ANNA, OLGA))
    yield system
    await system.close()


async def location(system: System, user: str) -> str:
    async with await system.post(user=user) as response:
        assert response.status == 201
        return f"{system.url}/whep/{response.headers['Location']}"


@pytest.mark.parametrize(
    "known",
    [(OLGA,), (OLGA, dataclasses.replace(ANNA, cameras=("yard",)))],
    ids=["user gone", "camera withdrawn"],
)
async def test_what_is_not_allowed_any_more_ends_at_once(
    guarded: System, known: tuple[UserConfig, ...]
) -> None:
    for user in ("anna", "olga"):
        await location(guarded, user)
    guarded.authority.configure(users(*known))
    assert [session.watcher.name for session in guarded.broker.sessions.all()] == ["olga"]
    await eventually(lambda: len(guarded.worker.sessions) == 1)
    ended = [event for event in guarded.broker.events._kept if event.what == "ended"]
    assert [(event.viewer, event.text) for event in ended] == [("anna", "access was withdrawn")]
    (left,) = guarded.broker.sessions.all()
    assert guarded.broker.principal_may(left)


async def test_after_a_restart_signaling_still_knows_whose_a_session_is(guarded: System) -> None:
    path = (await location(guarded, "anna")).removeprefix(guarded.url)
    await guarded.stop()
    await guarded.start()
    guarded.settle()
    async with asyncio.timeout(10):
        while not guarded.broker.sessions.all():
            guarded.worker.report()
            await asyncio.sleep(0.02)
    (session,) = guarded.broker.sessions.all()
    assert (session.watcher.name, session.watcher.address) == ("anna", "127.0.0.1")
    guarded.broker.tick()
    assert guarded.broker.sessions.all() == [session]
    guarded.authority.configure(users(OLGA))
    assert guarded.broker.sessions.all() == []
    await eventually(lambda: not guarded.worker.sessions)
    async with guarded.client.delete(guarded.url + path, headers={USER: "olga"}) as response:
        assert response.status == 404


async def test_an_offer_of_somebody_who_is_gone(guarded: System) -> None:
    await location(guarded, "anna")
    (session,) = guarded.broker.sessions.all()
    guarded.authority.configure(users(OLGA))
    with pytest.raises(Problem) as raised:
        await guarded.open(watcher=session.watcher)
    assert raised.value.status == 401


OLGA_HERSELF = Principal("olga", "user", "operator", ("*",))


async def test_kick(system: System) -> None:
    sessions = [await system.open() for _ in range(3)]
    kicked = await system.broker.kick(f"{sessions[0].id[:6]}…", OLGA_HERSELF)
    assert kicked.id == sessions[0].id
    await eventually(lambda: len(system.worker.sessions) == 2)
    for prefix, status in ((sessions[0].id, 404), (sessions[1].id[:5], 404), ("", 404)):
        with pytest.raises(Problem) as raised:
            await system.broker.kick(prefix, OLGA_HERSELF)
        assert raised.value.status == status
    twin = dataclasses.replace(sessions[1], id=sessions[1].id[:10] + "x" * 12)
    system.broker.sessions.add(twin, None)
    with pytest.raises(Problem) as raised:
        await system.broker.kick(twin.id[:8], OLGA_HERSELF)
    assert raised.value.status == 409
    with pytest.raises(Problem) as raised:
        await system.broker.kick(twin.id, dataclasses.replace(OLGA_HERSELF, cameras=("yard",)))
    assert raised.value.status == 404
    assert (await system.broker.kick(twin.id, OLGA_HERSELF)).id == twin.id


async def test_everybody_sees_his_cameras(system: System) -> None:
    def seen(*patterns: str) -> list[str]:
        principal = Principal("anna", "user", "viewer", patterns)
        return [status.name for status in system.broker.visible(principal)]

    assert seen("*") == ["front", "yard"]
    assert seen("y*") == ["yard"]
    assert seen() == []
