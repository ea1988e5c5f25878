"""Access units to RTP payloads, once per camera (RFC 6184), grouped for segmentation offload.

Payloads of one access unit stand in runs: within a run all have the same size but the last, which may be
smaller. That is what the kernel takes as one datagram train (UDP_SEGMENT, udp(7)).
"""

from dataclasses import dataclass

from common.access_unit import AccessUnit
from common.h264 import NAL_AUD, NAL_FILLER, NAL_FU_A, NAL_STAP_A

# 1200 octets of UDP payload fit every path that WebRTC runs on (RFC 8831 section 5 names the same figure),
# less 12 of RTP header and 16 of the AES-GCM tag, the largest of the SRTP profiles.
MAX_DATAGRAM = 1200
MAX_PAYLOAD = MAX_DATAGRAM - 12 - 16
# The kernel takes trains of 64 segments (UDP_MAX_SEGMENTS of Linux before 6.9). Shorter ones let the pacer
# fill its portions, and what a system call costs is spread well enough over 20 packets.
MAX_RUN_PACKETS = 20

_DROPPED_TYPES = frozenset({NAL_AUD, NAL_FILLER})  # carry nothing for a decoder (RFC 6184 section 5.4)


@dataclass(frozen=True, slots=True)
class PacketizedUnit:
    """One access unit ready to be given to any number of viewers."""

    timestamp: int
    "90 kHz ticks on the stream's continuous timeline, not wrapped."
    capture_ns: int
    "UTC nanoseconds of the capture."
    keyframe: bool
    runs: tuple[tuple[bytes, ...], ...]
    packets: int
    octets: int
    "RTP payload octets, as counted in sender reports."


def fragment(nal: bytes, max_payload: int = MAX_PAYLOAD) -> list[bytes]:
    """FU-A payloads of equal size, the last one smaller at most (RFC 6184 section 5.8)."""
    indicator = (nal[0] & 0xE0) | NAL_FU_A
    kind = nal[0] & 0x1F
    room = max_payload - 2
    count = -(-(len(nal) - 1) // room)
    size = -(-(len(nal) - 1) // count)
    middle = bytes((indicator, kind))
    payloads = [middle + nal[at : at + size] for at in range(1, len(nal), size)]
    payloads[0] = bytes((indicator, 0x80 | kind)) + payloads[0][2:]
    payloads[-1] = bytes((indicator, 0x40 | kind)) + payloads[-1][2:]
    return payloads


def aggregate(nals: list[bytes]) -> bytes:
    """Two or more NAL units as one STAP-A payload (RFC 6184 section 5.7.1)."""
    nri = max(nal[0] & 0x60 for nal in nals)
    parts = [bytes((nri | NAL_STAP_A,))]
    for nal in nals:
        parts += (len(nal).to_bytes(2, "big"), nal)
    return b"".join(parts)


def payloads_of(nals: tuple[bytes, ...], max_payload: int = MAX_PAYLOAD) -> list[bytes]:
    """RTP payloads of one access unit, packetization-mode 1; small neighbours share a STAP-A.

    SPS and PPS so travel in one packet, with the timestamp of the IDR that follows, as Chromium wants it.
    """
    payloads: list[bytes] = []
    small: list[bytes] = []
    small_size = 1

    def flush() -> None:
        nonlocal small_size
        if small:
            payloads.append(small[0] if len(small) == 1 else aggregate(small))
            small.clear()
        small_size = 1

    for nal in nals:
        if nal[0] & 0x1F in _DROPPED_TYPES:
            continue
        if len(nal) > max_payload:
            flush()
            payloads += fragment(nal, max_payload)
            continue
        if small_size + 2 + len(nal) > max_payload:
            flush()
        small.append(nal)
        small_size += 2 + len(nal)
    flush()
    return payloads


def group(payloads: list[bytes], max_run: int = MAX_RUN_PACKETS) -> tuple[tuple[bytes, ...], ...]:
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


def packetize(unit: AccessUnit, timestamp: int) -> PacketizedUnit | None:
    """The packets of an access unit; None when nothing in it is for a decoder."""
    payloads = payloads_of(unit.nals)
    if not payloads:
        return None
    return PacketizedUnit(
        timestamp=timestamp,
        capture_ns=unit.capture_ns,
        keyframe=unit.keyframe,
        runs=group(payloads),
        packets=len(payloads),
        octets=sum(map(len, payloads)),
    )
