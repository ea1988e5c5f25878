"""A rendition's life: every fault becomes a state and a clear error, and heals."""

import asyncio
import contextlib
import gc
import logging

import pytest

from common.errors import CameraError, CameraRefusal, LocalError, LoginRefused
from ingest.camera import TRANSITIONS, Camera, Hooks
from ingest.output import Output
from ingest.playback import Timing
from tests.support.fake_clock import START_NS, FakeClock, settle
from tests.support.scripted_source import Deaf, Fail, Hang, Play, Return, ScriptedSource

LOST = Fail(CameraError("camera closed the connection"))
GOOD = [Play(), Hang()]
QUICK = Timing(release_after_s=0.02, teardown_deadline_s=0.02)


class Life:
    """A running camera and what it said; `history` holds (state, reason) of every event."""

    def __init__(self, *attempts, timing=QUICK, on_demand=False):
        self.clock = FakeClock()
        self.units = []
        self.history = []
        self.source = ScriptedSource(self.clock, *attempts)
        self.output = Output(1)
        hooks = Hooks(self.units.append, self._event)
        self.camera = Camera("cam", self.source, on_demand, self.output, self.clock, hooks, timing, 1)
        self._changed = asyncio.Event()

    def _event(self, state, reason, at_ns):
        assert at_ns == self.clock.utc_ns() >= START_NS
        assert state == self.camera.state
        self.history.append((state, reason))
        self._changed.set()

    @property
    def states(self):
        return [state for state, _ in self.history]

    async def until(self, state):
        """Real time: for what asyncio's timers bring about."""
        async with asyncio.timeout(5):
            while self.camera.state != state:
                self._changed.clear()
                await self._changed.wait()

    async def pictures(self, seconds, interval_s=0.04, keyframe_every_s=2.0):
        """The camera shows pictures at a steady rate; the first one is a keyframe."""
        for index in range(round(seconds / interval_s)):
            await self.clock.advance(interval_s)
            self.source.stage.picture(index % round(keyframe_every_s / interval_s) == 0)


@contextlib.asynccontextmanager
async def life(*attempts, **options):
    alive = Life(*attempts, **options)
    task = asyncio.ensure_future(alive.camera.run())
    await settle()
    try:
        yield alive
    finally:
        alive.source.freed.set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settle()
        assert alive.camera.state == "idle"
        assert alive.source.left == alive.source.attempts
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_live_at_the_first_keyframe():
    async with life([Play(keyframe=False), Hang()]) as alive:
        assert alive.states == ["connecting"]
        await alive.clock.advance(0.3)
        alive.source.stage.picture()
        assert alive.camera.state == "connecting"
        await alive.clock.advance(0.5)
        alive.source.stage.picture(True)
        assert alive.history == [("connecting", None), ("live", None)]
        assert alive.camera.first_frame_s == pytest.approx(0.8)
        await alive.clock.advance(1.5)
        assert alive.camera.state_s == pytest.approx(1.5)
        assert alive.camera.playback.via == "RTSP over TCP"


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (LOST, "camera closed the connection"),
        (Fail(LocalError("no free port")), "no free port"),
        (Return(), "camera ended the stream"),
        (Fail(asyncio.CancelledError()), "camera ended the stream"),
    ],
)
@pytest.mark.parametrize("shown", [True, False])
async def test_a_failure_is_told_and_heals(end, error, shown):
    async with life([*[Play()][: int(shown)], end], GOOD) as alive:
        assert (alive.camera.state, alive.camera.error) == ("backing_off", error)
        await alive.clock.advance(0.51)
        assert (alive.camera.state, alive.camera.error) == ("live", None)
        assert alive.camera.reconnects == 1
    live = [("live", None)] if shown else []
    again = [("connecting", None), ("live", None), ("idle", None)]
    assert alive.history == [("connecting", None), *live, ("backing_off", error), *again]


async def test_a_refusal_is_tried_again_at_the_ceiling():
    refusal = Fail(CameraRefusal("camera refuses the password"))
    async with life([refusal], [refusal], GOOD) as alive:
        assert (alive.camera.state, alive.camera.error) == ("failed", "camera refuses the password")
        await alive.clock.advance(14.9)
        assert alive.source.attempts == 1
        for _ in range(46):
            if alive.camera.state != "live":
                await alive.clock.advance(1)
        assert alive.camera.state == "live"
    assert alive.states == ["connecting", "failed"] * 2 + ["connecting", "live", "idle"]


WRONG_PASSWORD = Fail(LoginRefused("camera refuses the password"))


async def test_a_refused_login_is_not_tried_again_for_five_minutes():
    async with life([WRONG_PASSWORD], [WRONG_PASSWORD], GOOD) as alive:
        for attempt in (1, 2):
            assert alive.camera.state == "failed"
            assert "refuses the password; tried again in 5 minutes," in alive.camera.error
            assert "at once when the configuration changes" in alive.camera.error
            await alive.clock.advance(299.8)
            assert alive.source.attempts == attempt
            await alive.clock.advance(0.3)
        assert alive.camera.state == "live"


async def test_a_refused_login_stays_refused_over_releases(caplog):
    async with life([WRONG_PASSWORD], GOOD, on_demand=True) as alive:
        for _ in range(5):
            alive.camera.demand(True)
            await settle()
            assert (alive.camera.state, alive.source.attempts) == ("failed", 1)
            assert "tried again in 5 minutes" in alive.camera.error
            await alive.clock.advance(50)
            alive.camera.demand(False)
            await alive.until("idle")
        alive.camera.demand(True)
        await alive.clock.advance(49)
        assert (alive.camera.state, alive.source.attempts) == ("failed", 1)
        await alive.clock.advance(2)
        assert (alive.camera.state, alive.source.attempts) == ("live", 2)
        assert caplog.text.count("refuses the password") == 1
        alive.camera.demand(False)
        await alive.until("idle")
        alive.camera.demand(True)
        await settle()
        assert alive.camera.state == "live"


async def test_backoff_doubles_to_its_ceiling_and_starts_anew_after_stable_play():
    async with life(*[[LOST]] * 9, GOOD) as alive:
        pauses = []
        for attempt in range(1, 10):
            assert alive.source.attempts == attempt
            before = alive.clock.monotonic_s()
            while alive.source.attempts == attempt:
                await alive.clock.advance(0.01)
            pauses.append(alive.clock.monotonic_s() - before)
        for pause, full in zip(pauses, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True):
            assert full / 2 <= pause <= full + 0.02
        assert len({round(pause / full, 3) for pause, full in zip(pauses, [0.5, 1, 2], strict=False)}) == 3
        await alive.pictures(5)
        assert alive.camera._next_backoff() >= 15
        await alive.pictures(8)
        assert alive.camera._next_backoff() <= 0.5


async def test_stalled_and_live_again():
    async with life(GOOD) as alive:
        await alive.pictures(4)
        await alive.clock.advance(1.5)
        assert alive.camera.state == "live"
        await alive.clock.advance(2)
        assert alive.camera.state == "stalled"
        assert "sends no pictures" in alive.camera.error
        alive.source.stage.picture()
        assert (alive.camera.state, alive.camera.error) == ("live", None)
    assert alive.states == ["connecting", "live", "stalled", "live", "idle"]
    assert alive.source.attempts == 1


async def test_a_camera_with_few_pictures_does_not_stall():
    async with life(GOOD) as alive:
        await alive.pictures(60, interval_s=4, keyframe_every_s=16)
        # Once, before its rate was known.
        assert alive.states == ["connecting", "live", "stalled", "live"]
        await alive.clock.advance(11)
        assert alive.camera.state == "live"
        await alive.clock.advance(3)
    assert alive.source.attempts == 2


async def test_sound_alone_is_no_picture():
    async with life([Play(audio=True), Hang()]) as alive:
        for _ in range(40):
            await alive.clock.advance(0.1)
            alive.source.stage.sound()
        assert alive.camera.state == "stalled"
    assert [unit.track for unit in alive.units[:3]] == ["video", "audio", "audio"]


@pytest.mark.parametrize("shown", [True, False])
async def test_without_video_it_connects_anew(shown):
    async with life([Play(keyframe=shown), Hang()], GOOD) as alive:
        await alive.clock.advance(9)
        assert alive.source.attempts == 1
        await alive.clock.advance(2)
        assert "is connected but sent no video for 10 s" in str(alive.history)
        assert (alive.source.attempts, alive.camera.state) == (2, "live")


async def test_never_playing():
    async with life([Hang()], GOOD) as alive:
        await alive.clock.advance(59)
        assert alive.states == ["connecting"]
        await alive.clock.advance(2)
        assert alive.history[1] == ("backing_off", "camera did not play within 60 s")


async def test_packets_that_become_no_picture():
    async with life([Play(keyframe=False), Hang()], GOOD) as alive:
        for _ in range(31):
            alive.source.stage.packet()
            await alive.clock.advance(1)
        assert "no keyframe that can be decoded for 30 s" in str(alive.history)


async def until_no_keyframe(alive, gap):
    """Pictures without a keyframe, the first behind a gap if so; answers the seconds until it gives up."""
    since = alive.clock.monotonic_s()
    alive.source.stage.picture(gap=gap)
    while alive.source.attempts == 1:
        await alive.clock.advance(1)
        if alive.camera.playback is not None and alive.source.attempts == 1:
            alive.source.stage.picture()
        assert alive.clock.monotonic_s() - since < 1000
    return alive.clock.monotonic_s() - since


@pytest.mark.parametrize(
    ("gop_s", "gap", "limit_s"), [(2, True, 30), (2, False, 300), (40, True, 120), (200, False, 600)]
)
async def test_a_long_gop_is_waited_for(gop_s, gap, limit_s):
    async with life([Play(keyframe=False), Hang()], [Hang()]) as alive:
        await alive.pictures(2 * gop_s + 1, interval_s=1, keyframe_every_s=gop_s)
        assert await until_no_keyframe(alive, gap) == pytest.approx(limit_s, abs=2)
        assert "no keyframe" in str(alive.history)


async def test_what_goes_out_is_numbered_over_connections():
    async with life(GOOD) as alive:
        await alive.pictures(0.2)
        await alive.clock.advance(12)
        await alive.pictures(0.2)
    assert [unit.sequence for unit in alive.units] == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    assert alive.units[6].timestamp - alive.units[5].timestamp > 10 * 90_000


async def test_on_demand_is_released_a_while_after_the_last_subscriber():
    async with life(GOOD, on_demand=True) as alive:
        await alive.clock.advance(5)
        assert (alive.camera.state, alive.source.attempts) == ("idle", 0)
        alive.camera.demand(False)
        alive.camera.demand(True)
        await settle()
        assert alive.camera.state == "live"
        alive.camera.demand(False)
        alive.camera.demand(True)
        alive.camera.demand(False)
        assert alive.camera.state == "live"
        await alive.until("idle")
        assert (alive.source.left, alive.camera.playback) == (1, None)
        alive.camera.demand(True)
        await settle()
        assert (alive.camera.state, alive.source.attempts, alive.camera.reconnects) == ("live", 2, 0)


async def test_always_on_means_nothing_to_demand():
    async with life(GOOD) as alive:
        alive.camera.demand(False)
        await asyncio.sleep(2 * QUICK.release_after_s)
        assert alive.camera.state == "live"


async def test_released_while_it_waits():
    async with life([Fail(CameraRefusal("no"))], on_demand=True) as alive:
        alive.camera.demand(True)
        await settle()
        alive.camera.demand(False)
        await alive.until("idle")
        assert alive.camera.error is None


@pytest.mark.parametrize("rounds", range(6))
async def test_ended_as_soon_as_it_begins(rounds):
    alive = Life(GOOD)
    task = asyncio.ensure_future(alive.camera.run())
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive.camera.state == "idle"
    assert alive.source.left == alive.source.attempts


async def test_a_source_that_does_not_leave_is_left_behind():
    async with life([Play(), Deaf()], GOOD) as alive:
        old = alive.source.stage
        await alive.clock.advance(10)
        await alive.until("backing_off")
        await alive.clock.advance(0.5)
        assert (alive.camera.state, alive.source.left) == ("live", 0)
        units = len(alive.units)
        for call in (
            lambda: old.picture(True),
            old.sender_report,
            lambda: old.play(Play()),
            lambda: old.sink.restarted(0),
        ):
            with pytest.raises(CameraError, match="is over"):
                call()
        assert len(alive.units) == units


async def test_a_fault_of_the_program_is_not_hidden(caplog):
    alive = Life([Fail(ZeroDivisionError("bug"))])
    with pytest.raises(ZeroDivisionError):
        await alive.camera.run()
    assert "fault in its source" in caplog.text


async def test_another_source_within_a_connection():
    async with life(GOOD) as alive:
        await alive.pictures(0.2)
        alive.source.stage.sink.restarted(0)
        alive.source.stage.picture(True)
    assert [unit.sequence for unit in alive.units] == [0, 1, 2, 3, 4, 5, 7]


async def test_another_way_within_an_attempt():
    """UDP stays silent, then TCP plays."""
    async with life([Play(keyframe=False, via="RTSP over UDP"), Hang()]) as alive:
        await alive.clock.advance(3)
        alive.source.stage.play(Play(audio=True))
        assert (alive.camera.state, alive.camera.playback.via) == ("live", "RTSP over TCP")
        await alive.clock.advance(8)
        assert alive.source.attempts == 1


async def test_credentials_are_never_told(caplog):
    with caplog.at_level(logging.DEBUG):
        async with life([Fail(CameraError("cannot play rtsp://admin:s3cret@h/x"))]) as alive:
            await alive.clock.advance(1)
            assert alive.camera.error == "cannot play rtsp://h/x"
    assert "s3cret" not in caplog.text + str(alive.history)


async def test_a_long_outage_is_told_once(caplog):
    with caplog.at_level(logging.INFO):
        async with life(*[[Play(), LOST]] * 5, [Play(), Hang()]) as alive:
            while alive.source.attempts < 6:
                await alive.clock.advance(1)
            await alive.pictures(1)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["! camera cam: camera closed the connection"]
    assert caplog.text.count("= camera cam: connecting") == 1
    assert len(alive.history) > 10


@pytest.mark.parametrize(
    ("via", "expected"),
    [
        (
            "FLV over HTTP",
            ["7 packets unreadable, 1 frames damaged", "2 packets unreadable, 0 frames damaged"],
        ),
        ("RTSP over TCP", []),  # told by rtsp_play.py
    ],
)
async def test_faults_are_told_once_a_second(caplog, via, expected):
    async with life([Play(via=via), Hang()]) as alive:
        track = alive.source.stage.video
        for _ in range(7):
            track.malformed += 1
            await alive.clock.advance(0.1)
        track.damaged = 1
        await alive.clock.advance(1)
        track.malformed += 2
        await alive.clock.advance(3)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == [f"! camera cam: {text}" for text in expected]


def test_every_state_can_be_left_and_ends_idle():
    assert all("idle" in after for state, after in TRANSITIONS.items() if state != "idle")
    assert {state for after in TRANSITIONS.values() for state in after} == set(TRANSITIONS)


async def test_an_impossible_move_names_what_is_allowed():
    camera = Life().camera
    with pytest.raises(AssertionError, match="from idle to connecting, failed, not to live"):
        camera._set("live", None)


async def test_thousands_of_refused_connections_leave_nothing_behind():
    async with life([Fail(CameraError("camera at 192.0.2.1:554 refuses connections"))]) as alive:
        alive.history = alive.units = None
        alive.camera._hooks = Hooks(lambda unit: None, lambda state, reason, at_ns: None)
        counts = []
        while alive.source.attempts < 10_000:
            await alive.clock.advance(3000)
            if alive.source.attempts > 1000 * (len(counts) + 1):
                gc.collect()
                counts.append((len(asyncio.all_tasks()), len(gc.get_objects())))
        tasks, objects = zip(*counts, strict=True)
        assert set(tasks) == {3}
        assert max(objects) - min(objects) < 50
        assert alive.camera.reconnects == alive.source.attempts - 1
        alive.history = []
