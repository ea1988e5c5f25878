"""One attempt to play a camera: what it shows since when, and whether it still does."""

from collections.abc import Callable
from dataclasses import dataclass

from common.access_unit import AccessUnit
from common.clock import Clock
from common.errors import CameraError
from common.rtp import SenderReport
from ingest.codecs.frame import Frame
from ingest.output import Output
from ingest.source import Remarks, SourceTrack


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient to be, in seconds."""

    tick_s: float = 1.0
    "How often deadlines and watchdogs are looked at."
    first_backoff_s: float = 0.5
    max_backoff_s: float = 30.0
    login_pause_s: float = 300.0
    "After a refused login, never shortened: cameras lock an account after a few attempts within minutes."
    stable_after_s: float = 10.0
    "Play this long and the back-off starts anew."
    connect_deadline_s: float = 60.0
    "Until it plays: three ways of transport with three requests of 5 s and a login each."
    stall_after_s: float = 2.0
    "Without an access unit; three frame intervals where those are longer."
    video_deadline_s: float = 10.0
    "Without a packet that holds video; three frame intervals where those are longer."
    keyframe_deadline_s: float = 30.0
    "Without a keyframe that is needed; three GOPs or frame intervals where those are longer."
    whole_deadline_s: float = 300.0
    "Without a keyframe although the picture is whole: those who join need it."
    release_after_s: float = 10.0
    "On demand: after the last subscriber."
    teardown_deadline_s: float = 1.0
    "For a source to leave."


class Playback:
    """The sink of one attempt, which began at `began`; `shown` gets what it publishes.

    After `close` it takes nothing any more: a source that leaves late cannot mix with the next attempt.
    """

    def __init__(
        self,
        output: Output,
        clock: Clock,
        timing: Timing,
        shown: Callable[[AccessUnit], None],
    ) -> None:
        self.began = clock.monotonic_s()
        self.playing_since: float | None = None
        self.via: str | None = None
        self._remarks: Remarks | None = None
        self._output = output
        self._clock = clock
        self._timing = timing
        self._shown = shown
        self._closed = False
        self._video: SourceTrack | None = None
        self._unit_at = 0.0
        self._keyframe_at = 0.0
        self._keyframe_needed_at: float | None = None

    def close(self) -> None:
        """The attempt is over."""
        self._closed = True
        self._output.disconnected()

    def _check_open(self) -> None:
        if self._closed:
            raise CameraError("this attempt to play the camera is over")

    @property
    def quirks(self) -> tuple[str, ...]:
        """See `Remarks`; more may show while it plays."""
        return self._remarks.quirks if self._remarks is not None else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Remarks`."""
        return self._remarks.notes if self._remarks is not None else ()

    def playing(self, tracks: tuple[SourceTrack, ...], via: str, remarks: Remarks | None = None) -> None:
        """See `Sink`."""
        self._check_open()
        self._output.connected(tracks)
        self._video = next((track for track in tracks if track.kind == "video"), None)
        self.via = via
        self._remarks = remarks
        now = self._clock.monotonic_s()
        self.playing_since = self._unit_at = self._keyframe_at = self._keyframe_needed_at = now

    def frames(self, track: int, frames: list[Frame]) -> None:
        """See `Sink`."""
        self._check_open()
        now = self._clock.monotonic_s()
        output = self._output.playing(track)
        sequence = output.next_sequence
        for unit in output.units(frames, now):
            if output is self._output.video:
                self._unit_at = now
                if unit.keyframe:
                    self._keyframe_at = now
                    self._keyframe_needed_at = None
                elif unit.sequence != sequence and self._keyframe_needed_at is None:
                    self._keyframe_needed_at = now
                sequence = unit.sequence + 1
            self._shown(unit)

    def restarted(self, track: int) -> None:
        """See `Sink`."""
        self._check_open()
        self._output.playing(track).restarted()

    def sender_report(self, track: int, report: SenderReport, arrival_ns: int) -> None:
        """See `Sink`."""
        self._check_open()
        self._output.playing(track).sender_report(report, arrival_ns)

    def stalled(self, now: float) -> bool:
        """No access unit came for longer than this camera leaves between two."""
        return now - self._unit_at >= self._patience_s(self._timing.stall_after_s)

    def _patience_s(self, seconds: float) -> float:
        return max(seconds, 3 * (self._output.video.statistics.frame_interval_s or 0))

    def watch(self, now: float) -> None:
        """Raises CameraError for a camera that is not there yet or shows nothing."""
        timing = self._timing
        if self.playing_since is None:
            if now - self.began >= timing.connect_deadline_s:
                raise CameraError(f"camera did not play within {timing.connect_deadline_s:g} s")
            return
        # Packets count, not access units: a camera with a long GOP may have to be waited for.
        packet_at = self._video.last_packet_at if self._video is not None else None
        video_at = max(self._unit_at, packet_at or 0.0)
        limit_s = self._patience_s(timing.video_deadline_s)
        if now - video_at >= limit_s:
            error = f"camera is connected but sent no video for {limit_s:g} s"
            if self._video is not None and self._video.passed_over is not None:
                error += f", only {self._video.passed_over}"
            raise CameraError(error)
        gops_s = 3 * self._output.video.statistics.longest_gop_s
        # Where packets go on without pictures, those after a loss are held back until a keyframe.
        needed_at = self._unit_at if self._keyframe_needed_at is None else self._keyframe_needed_at
        limit_s = max(self._patience_s(timing.keyframe_deadline_s), gops_s)
        if now - needed_at >= limit_s:
            raise CameraError(
                f"camera sent no keyframe that can be decoded for {limit_s:g} s, and the picture waits for "
                "one at first and after a loss; set a shorter I-frame interval in it"
            )
        limit_s = max(timing.whole_deadline_s, gops_s)
        if now - self._keyframe_at >= limit_s:
            raise CameraError(
                f"camera sent no keyframe for {limit_s:g} s; set a shorter I-frame interval in it"
            )
