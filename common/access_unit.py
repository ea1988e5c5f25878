"""The access unit: all NAL units of one picture (H.264 clause 3.1), the thing the bus carries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture of one track.

    `epoch` names the run of ingest that made it, `sequence` counts access units within the epoch from
    0. A gap in `sequence` or a new `epoch` tells a reader to wait for the next keyframe.
    """

    epoch: int
    "Random 63-bit number of this run of ingest."
    sequence: int
    "Counts from 0 per epoch and rendition."
    track: str
    "`video` or `audio`."
    codec: str
    "RTP encoding name in upper case: `H264`."
    timestamp: int
    "RTP timestamp unwrapped to 64 bits, in ticks of `clock_rate` (90 kHz for video)."
    capture_ns: int
    "UTC nanoseconds of the capture by sender report, else of the arrival."
    arrival_ns: int
    "UTC nanoseconds when the last packet of the unit arrived at ingest."
    keyframe: bool
    "True when decoding can start here: an IDR with its parameter sets in front."
    nals: tuple[bytes, ...]
    "NAL units without start codes or length prefixes."

    @property
    def size(self) -> int:
        """Payload octets."""
        return sum(map(len, self.nals))
