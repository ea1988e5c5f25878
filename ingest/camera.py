"""One rendition's life: idle … connecting … live … stalled … backing off, for ever."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from common.access_unit import AccessUnit
from common.clock import Clock
from common.errors import CameraError, CameraRefusal, CctvError, LoginRefused
from common.messages import RenditionState
from common.urls import redact
from ingest.log_pause import LogPause
from ingest.output import Faults, Output
from ingest.playback import Playback, Timing
from ingest.source import Source

log = logging.getLogger(__name__)

# Which state may follow which.
TRANSITIONS: dict[RenditionState, frozenset[RenditionState]] = {
    "idle": frozenset({"connecting", "failed"}),
    "connecting": frozenset({"live", "backing_off", "failed", "idle"}),
    "live": frozenset({"stalled", "backing_off", "failed", "idle"}),
    "stalled": frozenset({"live", "backing_off", "failed", "idle"}),
    "backing_off": frozenset({"connecting", "idle"}),
    "failed": frozenset({"connecting", "idle"}),
}
MAX_ERROR_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the camera tells the process around it."""

    on_access_unit: Callable[[AccessUnit], None]
    on_event: Callable[[RenditionState, str | None, int], None]
    "A new state, why (without credentials), and when in UTC nanoseconds."


class Camera:
    """Keeps one rendition connected while it is wanted; `run` never returns.

    `on_demand` renditions are wanted while `demand(True)` holds and `release_after_s` longer; the others
    always. `name` stands in the log.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        on_demand: bool,
        output: Output,
        clock: Clock,
        hooks: Hooks,
        timing: Timing | None = None,
        seed: int | None = None,
    ) -> None:
        self.error: str | None = None
        "The last failure in words, without credentials; None while live."
        self.reconnects = 0
        "Attempts after the first one that became necessary by failure."
        self.first_frame_s: float | None = None
        "From the dial to the first keyframe, of the last connection that got so far."
        self._name = name
        self._source = source
        self._on_demand = on_demand
        self._output = output
        self._clock = clock
        self._hooks = hooks
        self._timing = timing or Timing()
        self._random = random.Random(seed)
        self._state: RenditionState = "idle"
        self._state_since = clock.monotonic_s()
        self._wanted = asyncio.Event()
        self._release: asyncio.TimerHandle | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._playback: Playback | None = None
        self._backoff_s = self._timing.first_backoff_s
        self._login_refused: tuple[float, str] | None = None
        "Until when no login is tried, in monotonic seconds, and the error; outlasts a release."
        self._told_error: str | None = None
        self._told_faults = Faults()
        self._fault_pause = LogPause()
        if not on_demand:
            self._wanted.set()

    @property
    def state(self) -> RenditionState:
        """Where the rendition is."""
        return self._state

    @property
    def now(self) -> float:
        """Monotonic seconds, by its clock."""
        return self._clock.monotonic_s()

    @property
    def state_s(self) -> float:
        """Seconds in this state."""
        return self.now - self._state_since

    @property
    def playback(self) -> Playback | None:
        """The attempt that goes on now."""
        return self._playback

    def demand(self, wanted: bool) -> None:
        """Somebody subscribes, or nobody any more; means nothing to a rendition that is always on."""
        if not self._on_demand:
            return
        if self._release is not None:
            self._release.cancel()
            self._release = None
        if wanted:
            self._wanted.set()
        elif self._wanted.is_set():
            loop = asyncio.get_running_loop()
            self._release = loop.call_later(self._timing.release_after_s, self._let_go)

    def _let_go(self) -> None:
        self._release = None
        self._wanted.clear()
        if self._attempt is not None:
            self._attempt.cancel()

    async def run(self) -> None:
        """Connects while wanted and tries again after each failure, the first dial included."""
        while True:
            await self._wanted.wait()
            self._attempt = asyncio.ensure_future(self._try_until_released())
            try:
                await asyncio.wait({self._attempt})
            finally:
                self._attempt.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._attempt
                self._backoff_s = self._timing.first_backoff_s
                self._told_error = None
                self._set("idle", None)

    async def _try_until_released(self) -> None:
        if self._login_refused is not None:
            until, error = self._login_refused
            if (pause_s := until - self.now) > 0:
                self._told_error = error
                self._set("failed", error)
                await self._clock.sleep(pause_s)
        while True:
            state: RenditionState = "backing_off"
            try:
                await self.run_once()
            except CctvError as exc:
                error = redact(str(exc))[:MAX_ERROR_CHARACTERS]
                if isinstance(exc, CameraRefusal):
                    state = "failed"
                    self._backoff_s = self._timing.max_backoff_s
                pause_s = self._next_backoff()
                if isinstance(exc, LoginRefused):
                    pause_s = self._timing.login_pause_s
                    error += (
                        f"; tried again in {pause_s / 60:g} minutes, as many cameras lock the account after "
                        "a few attempts, or at once when the configuration changes or ingest restarts"
                    )
                    self._login_refused = (self.now + pause_s, error)
            self._set(state, error)
            await self._clock.sleep(pause_s)
            self.reconnects += 1

    def _next_backoff(self) -> float:
        """Seconds to wait: doubling from 0.5 to 30, each shortened at random by up to a half."""
        pause_s = self._backoff_s * self._random.uniform(0.5, 1.0)
        self._backoff_s = min(2 * self._backoff_s, self._timing.max_backoff_s)
        return pause_s

    async def run_once(self) -> None:
        """One attempt: connect, play, watch until it fails; raises CctvError saying why."""
        self._set("connecting", self.error)
        playback = Playback(self._output, self._clock, self._timing, self._shown)
        self._playback = playback
        play = asyncio.ensure_future(self._source.play(playback))
        watch = asyncio.ensure_future(self._watch(playback))
        for task in (play, watch):
            task.add_done_callback(self._ended)
        try:
            await asyncio.wait({play, watch}, return_when=asyncio.FIRST_COMPLETED)
            for task in (play, watch):
                if task.done() and not task.cancelled():
                    task.result()
            raise CameraError("camera ended the stream")
        finally:
            playback.close()
            self._playback = None
            watch.cancel()
            await self._leave(play)

    async def _leave(self, play: "asyncio.Task[None]") -> None:
        """Ends the source, which says TEARDOWN; one that takes too long for that is left behind."""
        play.cancel()
        await asyncio.wait({play}, timeout=self._timing.teardown_deadline_s)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, CctvError):
            log.error("! camera %s: fault in its source", self._name, exc_info=error)

    async def _watch(self, playback: Playback) -> None:
        """Looks at deadlines; raises CameraError when one has passed."""
        stable_after_s = self._timing.stable_after_s
        while True:
            await self._clock.sleep(self._timing.tick_s)
            now = self._clock.monotonic_s()
            since = playback.playing_since
            if self._state == "live" and since is not None and now - since >= stable_after_s:
                self._backoff_s = self._timing.first_backoff_s
                self._told_error = None
            self._tell_faults(playback, now)
            playback.watch(now)
            if self._state == "live" and playback.stalled(now):
                self._set("stalled", "camera is connected but sends no pictures at present")

    def _tell_faults(self, playback: Playback, now: float) -> None:
        """Says what was wrong since the last time in one line, never per packet."""
        faults, told = self._output.faults, self._told_faults
        if faults == told:
            return
        # RTSP says its own, in more detail (rtsp_play.py).
        own = playback.via is None or playback.via.startswith("RTSP")
        if not own and not self._fault_pause.is_over(now):
            return
        self._told_faults = faults
        if not own:
            log.warning(
                "! camera %s: %d packets unreadable, %d frames damaged",
                self._name,
                faults.malformed - told.malformed,
                faults.damaged - told.damaged,
            )

    def _shown(self, unit: AccessUnit) -> None:
        state = self._state
        if state != "live" and unit.track == "video":
            if state == "stalled":
                self._set("live", None)
            elif unit.keyframe and self._playback is not None:
                self.first_frame_s = self._clock.monotonic_s() - self._playback.began
                self._set("live", None)
        self._hooks.on_access_unit(unit)

    def _set(self, state: RenditionState, error: str | None) -> None:
        """The one place where the state changes; a failure is logged when its text is new."""
        before = self._state
        self.error = error
        if state == before:
            return
        if state not in TRANSITIONS[before]:
            allowed = ", ".join(sorted(TRANSITIONS[before]))
            raise AssertionError(f"camera goes from {before} to {allowed}, not to {state}")
        self._state = state
        self._state_since = self._clock.monotonic_s()
        # The rounds of an outage that was told already are of no interest.
        again = self._told_error is not None and state != "live"
        log.log(logging.DEBUG if again else logging.INFO, "= camera %s: %s", self._name, state)
        if error is not None and state in ("backing_off", "failed") and error != self._told_error:
            self._told_error = error
            log.warning("! camera %s: %s", self._name, error)
        # The error of the attempt before is no reason to connect.
        self._hooks.on_event(state, None if state == "connecting" else error, self._clock.utc_ns())
