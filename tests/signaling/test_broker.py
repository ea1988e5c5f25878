"""The broker's watch over silence, and a bus that says strange things."""

import asyncio

from signaling_support import OFFER, FakeClock, System, eventually, worker_report

from common.messages import CameraEvent, Done, HelloWanted


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
