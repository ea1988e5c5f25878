"""What a rendition's connections bring, as access units: each track with one numbering and one timeline."""

from dataclasses import dataclass

from common.access_unit import AccessUnit
from common.rtp import SenderReport
from ingest.codecs.frame import Frame, VideoParameters
from ingest.source import SourceTrack
from ingest.statistics import Drift, Statistics
from ingest.timeline import SECOND_NS, CameraClock, Timeline


@dataclass(frozen=True, slots=True)
class Faults:
    """What was wrong with the data of a camera that goes on all the same, counted."""

    lost: int = 0
    "Packets missing by sequence number."
    reordered: int = 0
    "Packets that came late and were put back in order."
    damaged: int = 0
    "Frames dropped because a part was missing or broken."
    malformed: int = 0
    "Packets that could not be read."

    def __add__(self, other: "Faults") -> "Faults":
        return Faults(
            self.lost + other.lost,
            self.reordered + other.reordered,
            self.damaged + other.damaged,
            self.malformed + other.malformed,
        )


def _faults(source: SourceTrack | None) -> Faults:
    if source is None:
        return Faults()
    return Faults(source.lost, source.reordered, source.damaged, source.malformed)


class TrackOutput:
    """One track over all connections.

    Sequence numbers and timestamps go on over reconnections; wherever frames are missing, the sequence
    leaves one number out, which tells readers to wait for the next keyframe.
    """

    def __init__(self, epoch: int, name: str, clock: CameraClock) -> None:
        self.name = name
        "`video` or `audio`."
        self.next_sequence = 0
        "Sequence number of the next access unit, if no gap comes before it."
        self.published = 0
        self.restarts = 0
        "How often another RTP source followed within a connection."
        self.statistics = Statistics()
        self.drift = Drift()
        self.parameters: VideoParameters | None = None
        "The last ones known, of an earlier connection at first."
        self.source: SourceTrack | None = None
        "Of this connection, or of the last one that had this track."
        self._epoch = epoch
        self._clock = clock
        self._timeline: Timeline | None = None
        self._beginnings = 0
        self._faults_before = Faults()
        self._begins = True

    @property
    def faults(self) -> Faults:
        """Over all connections."""
        return self._faults_before + _faults(self.source)

    def connected(self, source: SourceTrack) -> None:
        """A new connection plays this track."""
        self._faults_before = self.faults
        if self.source is not None and source.codec != self.source.codec:
            # Set otherwise meanwhile: nothing of the old codec describes the new one.
            self.parameters = None
        self.source = source
        if self._timeline is None:
            self._timeline = Timeline(source.clock_rate, self._clock)
        self._timeline.restart(source.clock_rate)
        self._begins = True

    def disconnected(self) -> None:
        """The connection is over: what is measured begins anew."""
        self.statistics.restart()
        self.drift.restart()

    def restarted(self) -> None:
        """Another RTP source follows on the same connection."""
        self.restarts += 1
        if self._timeline is not None:
            self._timeline.restart()
        self._begins = True

    def sender_report(self, report: SenderReport, arrival_ns: int) -> None:
        """Which RTP timestamp is which wall clock of the camera."""
        if self._timeline is not None:
            self._timeline.sender_report(report, arrival_ns)

    def units(self, frames: list[Frame], now: float) -> list[AccessUnit]:
        """The frames as access units; `now` in monotonic seconds."""
        source, timeline = self.source, self._timeline
        if source is None or timeline is None:
            return []
        codec, clock_rate, channels, config = source.codec, source.clock_rate, source.channels, source.config
        units = []
        for frame in frames:
            timestamp, capture_ns, camera_clock = timeline.place(frame.timestamp, frame.arrival_ns)
            if timeline.beginnings != self._beginnings:
                self._beginnings = timeline.beginnings
                self.drift.restart()
                self.statistics.jumped()
            self.drift.add(timestamp * SECOND_NS // clock_rate, frame.arrival_ns)
            sequence = self.next_sequence + ((frame.gap or self._begins) and self.published > 0)
            self._begins = False
            self.next_sequence = sequence + 1
            self.published += 1
            unit = AccessUnit(
                epoch=self._epoch,
                sequence=sequence,
                track=self.name,
                codec=codec,
                timestamp=timestamp,
                capture_ns=capture_ns,
                arrival_ns=frame.arrival_ns,
                keyframe=frame.keyframe,
                nals=frame.nals,
                clock_rate=clock_rate,
                channels=channels,
                config=config,
                camera_clock=camera_clock,
            )
            self.statistics.access_unit(unit, now)
            units.append(unit)
        self.parameters = source.parameters or self.parameters
        return units


class Output:
    """The tracks of a rendition, on one clock of the camera."""

    def __init__(self, epoch: int) -> None:
        self.clock = CameraClock()
        self.video = TrackOutput(epoch, "video", self.clock)
        self.audio = TrackOutput(epoch, "audio", self.clock)
        self._playing: tuple[TrackOutput, ...] = ()

    @property
    def faults(self) -> Faults:
        """Of all tracks over all connections."""
        return self.video.faults + self.audio.faults

    @property
    def restarts(self) -> int:
        """How often another RTP source followed within a connection, of all tracks."""
        return self.video.restarts + self.audio.restarts

    def connected(self, tracks: tuple[SourceTrack, ...]) -> None:
        """A new connection plays these tracks; a source may try another way within one attempt."""
        self.disconnected()
        self.clock.restart()
        self._playing = tuple(self.video if track.kind == "video" else self.audio for track in tracks)
        for output, track in zip(self._playing, tracks, strict=True):
            output.connected(track)

    def disconnected(self) -> None:
        """The connection is over."""
        for output in self._playing:
            output.disconnected()
        self._playing = ()

    def playing(self, track: int) -> TrackOutput:
        """The output of the connection's `tracks[track]`."""
        return self._playing[track]

    @property
    def has_audio(self) -> bool:
        """The connection plays audio."""
        return self.audio in self._playing
