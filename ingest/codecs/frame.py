"""What every depacketizer makes: whole frames with the time of RTP."""

from dataclasses import dataclass
from typing import Protocol

from common.errors import CameraError


class DepacketizerError(CameraError):
    """An access unit passes its limits."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One access unit: a coded picture, or what one audio timestamp holds."""

    timestamp: int
    "RTP timestamp, 32 bits, in ticks of the track's clock rate."
    arrival_ns: int
    "UTC nanoseconds of the last packet's arrival."
    keyframe: bool
    "Decoding can start here: an IRAP picture with parameter sets in front; every JPEG and audio frame."
    gap: bool
    "Frames that a decoder needs are missing before this one."
    nals: tuple[bytes, ...]
    "NAL units; one JPEG file; one or more audio frames."


@dataclass(frozen=True, slots=True)
class VideoParameters:
    """What the stream itself says about its pictures."""

    profile: str | None
    "Name for people: `High`, `Main`, …"
    profile_level_id: str | None
    "H.264 only: six hex digits (RFC 6184 section 8.1)."
    width: int
    "Pixels after cropping."
    height: int
    max_reorder_frames: int | None
    "Frames that may wait for a later one (B-frames); None when the stream does not say."
    profile_tier_level: str | None = None
    "H.265 only: `profile-id=1;tier-flag=0;level-id=93` (RFC 7798 section 7.1)."


class Depacketizer(Protocol):
    """`push` packets in order, then take whole `frames`; raises DepacketizerError past its limits."""

    damaged: int
    "Frames dropped because a part was missing or broken."

    @property
    def parameters(self) -> VideoParameters | None:
        """Of the newest parameter sets; None for audio and until known."""

    def push(
        self, timestamp: int, marker: bool, payload: bytes, arrival_ns: int, after_loss: bool = False
    ) -> None:
        """Takes the next RTP packet; `after_loss` when packets before it are missing."""

    def frames(self) -> list[Frame]:
        """The frames that were completed since the last call."""
