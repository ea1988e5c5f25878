"""One camera's life: idle … connecting … live … backing off, for ever."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from common.access_unit import AccessUnit
from common.clock import Clock
from common.errors import CameraError, CctvError
from common.messages import CameraState
from common.urls import CameraUrl, redact
from ingest.connection import CameraConnection, connect
from ingest.rtsp.session import Event, Playing, RtcpData, RtpData
from ingest.stream import VideoStream

log = logging.getLogger(__name__)

# Which state may follow which.
TRANSITIONS: dict[CameraState, frozenset[CameraState]] = {
    "idle": frozenset({"connecting"}),
    "connecting": frozenset({"live", "backing_off", "idle"}),
    "live": frozenset({"backing_off", "idle"}),
    "backing_off": frozenset({"connecting", "idle"}),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient to be, in seconds."""

    tick_s: float = 1.0
    "How often deadlines and watchdogs are looked at."
    first_backoff_s: float = 0.5
    max_backoff_s: float = 30.0
    stable_after_s: float = 10.0
    "Play this long and the back-off starts anew."
    video_deadline_s: float = 10.0
    "PLAYing without a packet of video."
    keyframe_deadline_s: float = 30.0
    release_after_s: float = 10.0
    "On demand: after the last subscriber."
    report_every_s: float = 5.0
    "RTCP receiver reports (RFC 3550 section 6.2)."


@dataclass(frozen=True, slots=True)
class Faults:
    """What was wrong with the data of a camera that goes on all the same, counted."""

    lost: int = 0
    damaged: int = 0
    malformed: int = 0
    garbage: int = 0


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the camera tells the process around it."""

    on_access_unit: Callable[[AccessUnit], None]
    on_change: Callable[[], None]
    "State or error changed."


class Camera:
    """Keeps one camera connected while it is wanted; `run` never returns.

    `on_demand` cameras are wanted while `demand(True)` holds and `release_after_s` longer; the others always.
    """

    def __init__(
        self,
        name: str,
        url: CameraUrl,
        on_demand: bool,
        stream: VideoStream,
        clock: Clock,
        hooks: Hooks,
        timing: Timing | None = None,
        seed: int | None = None,
    ) -> None:
        self.error: str | None = None
        "The last failure in words, without credentials; None while live."
        self.reconnects = 0
        "Attempts after the first one that became necessary by failure."
        self._name = name
        self._url = url
        self._on_demand = on_demand
        self._stream = stream
        self._clock = clock
        self._hooks = hooks
        self._timing = timing or Timing()
        self._random = random.Random(seed)
        self._state: CameraState = "idle"
        self._wanted = asyncio.Event()
        self._release: asyncio.TimerHandle | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._backoff_s = self._timing.first_backoff_s
        self._playing_since: float | None = None
        self._last_packet_at = 0.0
        self._told_faults = Faults()
        self._last_keyframe_at = 0.0
        if not on_demand:
            self._wanted.set()

    @property
    def state(self) -> CameraState:
        """Where the camera is."""
        return self._state

    def demand(self, wanted: bool) -> None:
        """Somebody subscribes, or nobody any more; means nothing to a camera that is always on."""
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
                self._set("idle", None)

    async def _try_until_released(self) -> None:
        while True:
            try:
                await self.run_once()
            except CctvError as exc:
                error = redact(str(exc))
            pause_s = self._next_backoff()
            self._set("backing_off", error)
            await self._clock.sleep(pause_s)
            self.reconnects += 1

    def _next_backoff(self) -> float:
        """Seconds to wait: doubling from 0.5 to 30, each shortened at random by up to a half."""
        since = self._playing_since
        if since is not None and self._clock.monotonic_s() - since >= self._timing.stable_after_s:
            self._backoff_s = self._timing.first_backoff_s
        pause_s = self._backoff_s * self._random.uniform(0.5, 1.0)
        self._backoff_s = min(2 * self._backoff_s, self._timing.max_backoff_s)
        return pause_s

    async def run_once(self) -> None:
        """One attempt: connect, play, watch until it fails; raises CctvError saying why."""
        self._playing_since = None
        self._told_faults = replace(self._told_faults, garbage=0)
        self._set("connecting", self.error)
        connection = await connect(self._url, self._clock, self._on_event)
        try:
            next_report = 0.0
            while not connection.ended.done():
                await asyncio.wait({connection.ended}, timeout=self._timing.tick_s)
                now = self._clock.monotonic_s()
                connection.tick()
                self._tell_faults(connection.session.garbage_bytes)
                self._watch(now)
                if now >= next_report:
                    next_report = now + self._timing.report_every_s
                    self._send_report(connection, now)
            connection.ended.result()
            raise CameraError("camera closed the connection")
        finally:
            await connection.close()

    def _send_report(self, connection: CameraConnection, now: float) -> None:
        report = self._stream.receiver_report(now) if self._playing_since is not None else None
        if report is not None:
            connection.send_rtcp(report)

    def _tell_faults(self, garbage: int) -> None:
        """Says what was lost since the last tick in one line, never per packet."""
        stream, told = self._stream, self._told_faults
        faults = Faults(stream.lost_packets, stream.damaged, stream.malformed, garbage)
        if faults == told:
            return
        self._told_faults = faults
        log.warning(
            "! camera %s: %d RTP packets lost, %d malformed; %d access units damaged; "
            "%d octets between messages that are neither RTSP nor RTP",
            self._name,
            faults.lost - told.lost,
            faults.malformed - told.malformed,
            faults.damaged - told.damaged,
            faults.garbage - told.garbage,
        )

    def _watch(self, now: float) -> None:
        """Raises CameraError for a camera that is connected and shows nothing."""
        if self._playing_since is None:
            return
        timing = self._timing
        if now - self._last_keyframe_at >= timing.keyframe_deadline_s:
            raise CameraError(
                f"camera sent no keyframe that can be decoded for {timing.keyframe_deadline_s:g} s; "
                "set a shorter I-frame interval in it"
            )
        # Packets count, not access units: a camera with a long GOP may have to be waited for.
        if now - self._last_packet_at >= timing.video_deadline_s:
            raise CameraError(f"camera is connected but sent no video for {timing.video_deadline_s:g} s")

    def _on_event(self, event: Event) -> None:
        match event:
            case RtpData(packets):
                now = self._last_packet_at = self._clock.monotonic_s()
                for unit in self._stream.rtp(packets, now, self._clock.utc_ns()):
                    if unit.keyframe:
                        self._last_keyframe_at = now
                        if self._state == "connecting":
                            self._set("live", None)
                    self._hooks.on_access_unit(unit)
            case RtcpData(packets):
                for packet in packets:
                    if self._stream.rtcp(packet, self._clock.monotonic_s()):
                        raise CameraError("camera ended the stream by RTCP BYE")
            case Playing(track):
                now = self._clock.monotonic_s()
                self._playing_since = self._last_packet_at = self._last_keyframe_at = now
                self._stream.restart(
                    track, self._random.getrandbits(32), f"cctv3-{self._random.getrandbits(64):x}"
                )

    def _set(self, state: CameraState, error: str | None) -> None:
        """The one place where the state changes; a failure is logged when its text is new."""
        before, known = self._state, self.error
        if state != before:
            if state not in TRANSITIONS[before]:
                allowed = ", ".join(sorted(TRANSITIONS[before]))
                raise AssertionError(f"camera goes from {before} to {allowed}, not to {state}")
            # The rounds of an outage that was told already are of no interest.
            again = known is not None and state in ("connecting", "backing_off")
            log.log(logging.DEBUG if again else logging.INFO, "= camera %s: %s", self._name, state)
        self._state = state
        self.error = error
        if error is not None and error != known:
            log.warning("! camera %s: %s", self._name, error)
        if (state, error) != (before, known):
            self._hooks.on_change()
