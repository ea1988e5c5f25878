"""The broker's watch over silence, and a bus that says strange things."""

import asyncio

import pytest
from signaling_support import (
    OFFER,
    SUB,
    FakeClock,
    System,
    eventually,
    worker_report,
)

from common.messages import (
    CameraEvent,
    CameraReport,
    Done,
    HelloWanted,
    RenditionFormat,
    SelectRequest,
    SessionChanged,
    SessionEnded,
)
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


async def test_silence_counts_only_while_signaling_runs(system: System) -> None:
    clock = StandstillClock(system.clock.now_s)
    system.broker._clock = system.broker.registry._clock = clock
    watch = asyncio.ensure_future(system.broker.run())
    await eventually(lambda: clock.sleeps == 2)
    assert system.has_worker("w0")
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


async def test_a_strange_reply_is_an_internal_error(system: System) -> None:
    system.worker.reply = Done()
    async with await system.post() as response:
        assert response.status == 500
    async with system.client.ws_connect(f"{system.url}/ws") as socket:
        await socket.send_json({"type": "offer", "camera": "front", "sdp": OFFER})
        assert (await socket.receive_json())["status"] == 500


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


async def test_what_is_said_while_a_session_is_opened_is_not_lost(system: System) -> None:
    system.worker.notices = (SessionChanged("", "sub", "narrow link"),)
    session, _ = await system.broker.open("front", OFFER)
    await eventually(lambda: system.broker.find(session.id).change)
    assert system.broker.find(session.id).change == SessionChanged(session.id, "sub", "narrow link")
    system.worker.notices = (SessionEnded("", "DTLS failed"),)
    session, _ = await system.broker.open("front", OFFER)
    await eventually(lambda: system.broker.sessions.get(session.id) is None)


async def test_a_selection_that_is_not_answered(system: System) -> None:
    session, _ = await system.broker.open("front", OFFER)
    system.worker.silent = True
    with pytest.raises(Problem, match="did not answer in time"):
        await system.broker.select(session, "sub")
    assert SelectRequest(session.id, "sub") in system.worker.requests


async def test_a_selection_of_a_session_that_the_worker_forgot(system: System) -> None:
    session, _ = await system.broker.open("front", OFFER)
    system.worker.sessions.clear()
    with pytest.raises(Problem) as raised:
        await system.broker.select(session, "sub")
    assert raised.value.status == 404
    assert system.broker.sessions.get(session.id) is None


async def test_every_worker_is_asked_for_its_sessions(system: System) -> None:
    deaf, odd = await system.add_worker("w1"), await system.add_worker("w2")
    session, _ = await system.broker.open("front", OFFER)
    serving = {"fanout-w0": system.worker, "fanout-w1": deaf, "fanout-w2": odd}.pop(session.worker)
    others = [worker for worker in (system.worker, deaf, odd) if worker is not serving]
    others[0].silent, others[1].reply = True, Done()
    reports = await system.broker.session_reports()
    assert [report.session for report in reports[session.worker] or ()] == [session.id]
    assert [reports[f"fanout-{worker.name}"] for worker in others] == [None, None]
