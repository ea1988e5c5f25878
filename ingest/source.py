"""What a camera's life plays, and what it is told by it: RTSP (rtsp_source.py), or whatever PyAV opens."""

from typing import Literal, Protocol

from common.rtp import SenderReport
from ingest.codecs.frame import Frame, VideoParameters


class SourceTrack(Protocol):
    """One track of one connection; its figures go up while it plays and are read for the report."""

    @property
    def kind(self) -> Literal["video", "audio"]: ...

    @property
    def codec(self) -> str:
        """As on the bus: H264, H265, JPEG, AAC, OPUS, PCMA, PCMU, G722, L16."""

    @property
    def clock_rate(self) -> int:
        """Ticks per second of its timestamps."""

    @property
    def channels(self) -> int:
        """Of audio; 0 for video."""

    @property
    def config(self) -> bytes:
        """AudioSpecificConfig of AAC (ISO/IEC 14496-3 clause 1.6.2.1); empty for all others."""

    @property
    def parameters(self) -> VideoParameters | None: ...

    @property
    def last_packet_at(self) -> float | None:
        """Monotonic seconds."""

    @property
    def passed_over(self) -> str | None:
        """What came since the last packet that was of use, in words; None when nothing did."""

    @property
    def lost(self) -> int:
        """Packets missing by sequence number."""

    @property
    def reordered(self) -> int:
        """Packets that came late and were put back in order."""

    @property
    def malformed(self) -> int: ...

    @property
    def damaged(self) -> int:
        """Frames dropped because a part was missing or broken."""

    @property
    def jitter_s(self) -> float:
        """Interarrival jitter (RFC 3550 section 6.4.1)."""


class Remarks(Protocol):
    """What is odd about a connection; more may come up while it plays, and is read for the report."""

    @property
    def quirks(self) -> tuple[str, ...]:
        """Names of the policies in force (rtsp/quirks.py)."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What somebody may want to mend although the camera plays, in words."""


class Sink(Protocol):
    """What a source calls, always from the event loop. What a call raises ends `play`."""

    def playing(self, tracks: tuple[SourceTrack, ...], via: str, remarks: Remarks | None = None) -> None:
        """The camera plays these, the video first; `via` in words, e.g. `RTSP over TCP`."""

    def frames(self, track: int, frames: list[Frame]) -> None:
        """Whole frames of `tracks[track]` in decoding order."""

    def restarted(self, track: int) -> None:
        """Another RTP source or sequence follows: its timestamps have nothing to do with those before."""

    def sender_report(self, track: int, report: SenderReport, arrival_ns: int) -> None:
        """Which RTP timestamp is which wall clock of the camera."""


class Source(Protocol):
    """A way to pictures. One object lives as long as its camera and may remember what worked."""

    async def play(self, sink: Sink) -> None:
        """One attempt; plays until it fails or is cancelled, and leaves cleanly (TEARDOWN) either way.

        Raises CameraRefusal when trying again soon cannot help, else CameraError.
        """
