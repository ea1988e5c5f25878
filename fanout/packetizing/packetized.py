"""What packetizers make and everything behind them sends: one access unit as RTP payloads in runs.

Payloads of one access unit stand in runs: within a run all have the same size but the last, which may be
smaller. That is what the kernel takes as one datagram train (UDP_SEGMENT, udp(7)).
"""

from dataclasses import dataclass

# 1200 octets of UDP payload fit every path that WebRTC runs on (RFC 8831 section 5 names the same figure).
MAX_DATAGRAM = 1200
_RTP_HEADER = 12
# Transport sequence, capture time and playout delay in the one-byte form (RFC 8285 section 4.2):
# 4 of preamble, 3 + 9 + 4 of elements, all to a multiple of 4.
_EXTENSIONS = 20
_SRTP_TAG = 16  # AES-GCM, the largest of the profiles
_RTX_HEADER = 2  # RFC 4588 section 4
MAX_PAYLOAD = MAX_DATAGRAM - _RTP_HEADER - _EXTENSIONS - _SRTP_TAG - _RTX_HEADER  # 1150
# The kernel takes trains of 64 segments (UDP_MAX_SEGMENTS of Linux before 6.9). Shorter ones let the pacer
# fill its portions, and what a system call costs is spread well enough over 20 packets.
MAX_RUN_PACKETS = 20

CLOCK_RATES = {"H264": 90_000, "H265": 90_000, "OPUS": 48_000, "PCMA": 8_000, "PCMU": 8_000, "G722": 8_000}
"Ticks of RTP time per second (RFC 6184 8.2.1, RFC 7798 7.1, RFC 7587 4.1, RFC 3551 4.5)."

Runs = tuple[tuple[bytes, ...], ...]


@dataclass(frozen=True, slots=True)
class PacketizedUnit:
    """One access unit, or one audio frame, ready to be given to any number of viewers."""

    codec: str
    "As on the bus: `H264`, `OPUS`, …"
    timestamp: int
    "Ticks of the codec's RTP clock on the stream's continuous timeline, not wrapped."
    capture_ns: int
    "UTC nanoseconds of the capture."
    keyframe: bool
    runs: Runs
    packets: int
    octets: int
    "RTP payload octets, as counted in sender reports."
    number: int
    "Of its first packet, counted over the life of the stream in this worker; no gaps between units."
    capture_ntp: int
    "NTP time (64 bits) that its packets tell as capture time; 0 when they tell none."

    def payload(self, position: int) -> bytes:
        """The payload of its packet at `position`, from 0; raises IndexError."""
        for run in self.runs:
            if position < len(run):
                return run[position]
            position -= len(run)
        raise IndexError(position)


def group(payloads: list[bytes], max_run: int = MAX_RUN_PACKETS) -> Runs:
    """Cuts payloads into runs: equal sizes, a smaller one ends its run."""
    runs: list[tuple[bytes, ...]] = []
    run: list[bytes] = []
    for payload in payloads:
        if run and (len(payload) > len(run[0]) or len(run[-1]) < len(run[0]) or len(run) == max_run):
            runs.append(tuple(run))
            run = []
        run.append(payload)
    if run:
        runs.append(tuple(run))
    return tuple(runs)
