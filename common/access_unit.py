"""The access unit: one coded picture (H.264 clause 3.1) or audio frame, the thing the bus carries."""

from dataclasses import dataclass

from common.units import VIDEO_CLOCK_RATE


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture, or what one audio timestamp holds, of one track of one rendition.

    `epoch` names the run of ingest that made it, `sequence` counts access units within the epoch from
    0. A gap in `sequence` or a new `epoch` tells a reader to wait for the next keyframe.
    """

    epoch: int
    "Random 63-bit number of this run of ingest."
    sequence: int
    "Counts from 0 per epoch, rendition and track."
    track: str
    "`video` or `audio`."
    codec: str
    "`H264`, `H265`, `JPEG`, `AAC`, `OPUS`, `PCMA`, `PCMU`, `G722`, `L16` (network byte order)."
    timestamp: int
    "RTP timestamp unwrapped to 64 bits, in ticks of `clock_rate`."
    capture_ns: int
    "UTC nanoseconds of the capture by sender report, else of the arrival."
    arrival_ns: int
    "UTC nanoseconds when the last packet of the unit arrived at ingest."
    keyframe: bool
    "True when decoding can start here: an IRAP picture with its parameter sets in front; JPEG; audio."
    nals: tuple[bytes, ...]
    "NAL units without start codes or length prefixes; one JPEG file; audio frames."
    clock_rate: int = VIDEO_CLOCK_RATE
    "Ticks of `timestamp` per second; of G.722 it is 8000, half of its sampling rate (RFC 3551 4.5.2)."
    channels: int = 0
    "Of audio."
    config: bytes = b""
    "AudioSpecificConfig of AAC (ISO/IEC 14496-3 clause 1.6.2.1)."
    camera_clock: bool = False
    "`capture_ns` is by the camera's clock, not by the time of arrival."

    @property
    def size(self) -> int:
        """Payload octets."""
        return sum(map(len, self.nals))
