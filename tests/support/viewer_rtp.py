"""A test viewer's RTP reception: counting that costs next to nothing, and H.264 depacketizing (RFC 6184)."""

from dataclasses import dataclass, field
from struct import Struct

from common.rtp import RtpPacket

_HEADER = Struct("!BBHI")
_STAP_A = 24
_FU_A = 28


@dataclass(frozen=True, slots=True)
class Totals:
    """What one viewer had received at some time; differences of two are an interval."""

    packets: int
    octets: int
    "UDP payload octets of RTP."
    expected: int
    "From the first to the highest sequence number (RFC 3550 section A.3)."
    gaps: int
    "Times that a sequence number was further ahead than the next."
    late: int
    "Packets behind the highest sequence number: reordered or repeated."
    units: int
    "Packets with the marker bit."

    @property
    def lost(self) -> int:
        return self.expected - self.packets

    def since(self, earlier: "Totals") -> "Totals":
        return Totals(
            self.packets - earlier.packets,
            self.octets - earlier.octets,
            self.expected - earlier.expected,
            self.gaps - earlier.gaps,
            self.late - earlier.late,
            self.units - earlier.units,
        )


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet with the marker bit came in: an access unit is complete."""

    timestamp: int
    received_ns: int
    "UTC nanoseconds at which the kernel had its last packet."
    octets: int
    "UDP payload octets of its packets."
    packets: int


@dataclass(slots=True)
class Reception:
    """Reads only the header, which SRTP leaves in the clear (RFC 3711 section 3.1)."""

    arrivals: list[Arrival] | None = None
    "Filled while it is a list."
    ssrc: int = 0
    packets: int = 0
    octets: int = 0
    gaps: int = 0
    late: int = 0
    units: int = 0
    payload_types: set[int] = field(default_factory=set)
    base: int = 0
    highest: int = -1
    "Extended beyond 16 bits."
    _unit_octets: int = 0
    _unit_packets: int = 0

    def take(self, data: bytes | bytearray, start: int, end: int, received_ns: int) -> None:
        """Counts the RTP packet in `data[start:end]`."""
        _, second, sequence, timestamp = _HEADER.unpack_from(data, start)
        self.packets += 1
        self.octets += end - start
        self._unit_octets += end - start
        self._unit_packets += 1
        step = (sequence - self.highest) & 0xFFFF
        if step == 1 and self.packets > 1:
            self.highest += 1
        elif self.packets == 1:
            self.base = self.highest = sequence
            self.ssrc = int.from_bytes(data[start + 8 : start + 12], "big")
            self.payload_types.add(second & 0x7F)
        elif step < 0x8000 and step:
            self.gaps += 1
            self.highest += step
        else:
            self.late += 1
        if second >= 0x80:
            self.units += 1
            if self.arrivals is not None:
                self.arrivals.append(Arrival(timestamp, received_ns, self._unit_octets, self._unit_packets))
            self._unit_octets = self._unit_packets = 0

    def totals(self) -> Totals:
        """The counts so far."""
        expected = self.highest - self.base + 1 if self.packets else 0
        return Totals(self.packets, self.octets, expected, self.gaps, self.late, self.units)


@dataclass(frozen=True, slots=True)
class ReceivedUnit:
    """One access unit as the browser would hand it to its decoder."""

    timestamp: int
    nals: tuple[bytes, ...]

    @property
    def keyframe(self) -> bool:
        return any(nal[0] & 0x1F == 5 for nal in self.nals)


class DepacketizeError(Exception):
    """Payloads that RFC 6184 does not allow, or a hole in the sequence numbers."""


class Depacketizer:
    """RTP packets in order to access units, packetization-mode 1; strict, as it judges our own sender."""

    def __init__(self) -> None:
        self._nals: list[bytes] = []
        self._fragments: list[bytes] = []
        self._timestamp: int | None = None
        self._sequence: int | None = None

    def feed(self, packet: RtpPacket) -> ReceivedUnit | None:
        """The access unit that this packet completes; raises DepacketizeError."""
        if self._sequence is not None and packet.sequence != (self._sequence + 1) & 0xFFFF:
            raise DepacketizeError(f"sequence number {packet.sequence} follows {self._sequence}")
        self._sequence = packet.sequence
        if self._timestamp is None:
            self._timestamp = packet.timestamp
        elif self._timestamp != packet.timestamp:
            raise DepacketizeError("timestamp changes within an access unit: a marker bit is missing")
        self._payload(packet.payload)
        if not packet.marker:
            return None
        if self._fragments:
            raise DepacketizeError("marker bit within a fragmented NAL unit")
        unit = ReceivedUnit(packet.timestamp, tuple(self._nals))
        self._nals, self._timestamp = [], None
        return unit

    def _payload(self, payload: bytes) -> None:
        kind = payload[0] & 0x1F
        if kind != _FU_A and self._fragments:
            raise DepacketizeError("a fragmented NAL unit has no last fragment")
        if 0 < kind < _STAP_A:
            self._nals.append(payload)
        elif kind == _STAP_A:
            at = 1
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                nal = payload[at + 2 : at + 2 + size]
                if not size or len(nal) != size:
                    raise DepacketizeError("STAP-A with a wrong size")
                self._nals.append(nal)
                at += 2 + size
        elif kind == _FU_A:
            start, end = payload[1] & 0x80, payload[1] & 0x40
            if bool(start) == bool(self._fragments) or (start and end):
                raise DepacketizeError("FU-A fragments out of order")
            if start:
                self._fragments.append(bytes((payload[0] & 0xE0 | payload[1] & 0x1F,)))
            self._fragments.append(payload[2:])
            if end:
                self._nals.append(b"".join(self._fragments))
                self._fragments = []
        else:
            raise DepacketizeError(f"NAL unit type {kind} does not belong in packetization-mode 1")
