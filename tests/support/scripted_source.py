"""A source in memory that does what a test says: real tracks and frames, no sockets.

    source = ScriptedSource([Fail(CameraError("…"))], [Play(), Hang()])

One list of steps for each attempt; an attempt beyond the last does the last again. After `Hang` a test
drives the connection itself: `source.stage.picture(True)`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from common.clock import Clock
from common.rtp import SenderReport
from common.units import unix_ns_to_ntp
from ingest.codecs.frame import Frame, VideoParameters
from ingest.source import Sink


@dataclass(slots=True)
class ScriptedTrack:
    """Implements SourceTrack."""

    kind: Literal["video", "audio"] = "video"
    codec: str = "H264"
    clock_rate: int = 90_000
    channels: int = 0
    config: bytes = b""
    parameters: VideoParameters | None = field(
        default_factory=lambda: VideoParameters("High", "64001f", 1280, 720, None)
    )
    last_packet_at: float | None = None
    lost: int = 0
    reordered: int = 0
    malformed: int = 0
    damaged: int = 0
    jitter_s: float = 0.002
    passed_over: str | None = None


def audio_track() -> ScriptedTrack:
    """Telephone sound."""
    return ScriptedTrack("audio", "PCMA", 8000, 1, parameters=None)


@dataclass(frozen=True, slots=True)
class Play:
    """Says that it plays, and shows a keyframe unless told otherwise. Implements Remarks."""

    audio: bool = False
    keyframe: bool = True
    via: str = "RTSP over TCP"
    quirks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fail:
    """Ends the attempt."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Return:
    """Ends the attempt without a word."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Goes on until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Deaf:
    """Goes on although it is cancelled, until the test sets `freed`."""


Step = Play | Fail | Return | Hang | Deaf


class Stage:
    """One attempt: what a test can make its camera do. Its pictures have the timestamps of its clock."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        self.sink = sink
        self.video = ScriptedTrack()
        self.audio: ScriptedTrack | None = None
        self._clock = clock

    def play(self, step: Play) -> None:
        """Says what plays."""
        self.audio = audio_track() if step.audio else None
        tracks = (self.video,) if self.audio is None else (self.video, self.audio)
        self.sink.playing(tracks, step.via, step)
        if step.keyframe:
            self.picture(True)

    def _rtp(self, rate: int) -> int:
        return round(self._clock.monotonic_s() * rate) & 0xFFFF_FFFF

    def picture(self, keyframe: bool = False, gap: bool = False, size: int = 1000) -> None:
        """A picture of this moment arrives."""
        self.packet()
        frame = Frame(self._rtp(90_000), self._clock.utc_ns(), keyframe, gap, (bytes(size),))
        self.sink.frames(0, [frame])

    def packet(self) -> None:
        """A packet arrives that completes nothing."""
        self.video.last_packet_at = self._clock.monotonic_s()

    def sound(self) -> None:
        """20 ms of sound arrive."""
        self.sink.frames(1, [Frame(self._rtp(8000), self._clock.utc_ns(), True, False, (bytes(160),))])

    def sender_report(self, error_s: float = 0.0) -> None:
        """The camera says its time, which is wrong by `error_s`."""
        now_ns = self._clock.utc_ns()
        ntp = unix_ns_to_ntp(now_ns + round(error_s * 1e9))
        self.sink.sender_report(0, SenderReport(1, ntp, self._rtp(90_000), 0, 0), now_ns)


class ScriptedSource:
    """Implements Source."""

    def __init__(self, clock: Clock, *attempts: Sequence[Step]) -> None:
        self.attempts = 0
        self.left = 0
        "Attempts that ended, one way or another."
        self.freed = asyncio.Event()
        self._clock = clock
        self._scripts = attempts
        self._stage: Stage | None = None

    @property
    def stage(self) -> Stage:
        """The attempt that goes on."""
        assert self._stage is not None
        return self._stage

    async def play(self, sink: Sink) -> None:
        """See `Source`."""
        script = self._scripts[min(self.attempts, len(self._scripts) - 1)]
        self.attempts += 1
        self._stage = Stage(sink, self._clock)
        try:
            for step in script:
                await self._do(step)
        finally:
            self.left += 1

    async def _do(self, step: Step) -> None:
        match step:
            case Play():
                self.stage.play(step)
            case Fail(error):
                # A new one each time: a traceback grows with each raise.
                raise type(error)(*error.args)
            case Return():
                return
            case Hang():
                await asyncio.Event().wait()
            case Deaf():
                while not self.freed.is_set():
                    try:
                        await self.freed.wait()
                    except asyncio.CancelledError:
                        continue
