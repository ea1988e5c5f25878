"""From a test viewer's RTP packets to access units: order (RFC 4588), H.264 (RFC 6184), H.265 (RFC 7798)."""

from dataclasses import dataclass

from common.rtp import RtpPacket

_STAP_A, _FU_A = 24, 28
_AP, _FU = 48, 49


@dataclass(frozen=True, slots=True)
class ReceivedUnit:
    """One access unit as the browser would hand it to its decoder."""

    timestamp: int
    nals: tuple[bytes, ...]
    codec: str = "H264"

    @property
    def keyframe(self) -> bool:
        if self.codec == "H265":
            return any(16 <= nal[0] >> 1 <= 21 for nal in self.nals)
        return any(nal[0] & 0x1F == 5 for nal in self.nals)


class DepacketizeError(Exception):
    """Payloads that the RFCs do not allow, or a hole in the sequence numbers."""


class Depacketizer:
    """Packets in order to access units; strict, as it judges our own sender."""

    def __init__(self) -> None:
        self._nals: list[bytes] = []
        self._fragments: list[bytes] = []
        self._timestamp: int | None = None
        self._sequence: int | None = None

    def feed(self, packet: RtpPacket, codec: str = "H264") -> ReceivedUnit | None:
        """The access unit that this packet completes; raises DepacketizeError."""
        if self._sequence is not None and packet.sequence != (self._sequence + 1) & 0xFFFF:
            raise DepacketizeError(f"sequence number {packet.sequence} follows {self._sequence}")
        self._sequence = packet.sequence
        if self._timestamp is None:
            self._timestamp = packet.timestamp
        elif self._timestamp != packet.timestamp:
            raise DepacketizeError("timestamp changes within an access unit: a marker bit is missing")
        if codec == "H264":
            self._h264(packet.payload)
        else:
            self._h265(packet.payload)
        if not packet.marker:
            return None
        if self._fragments:
            raise DepacketizeError("marker bit within a fragmented NAL unit")
        unit = ReceivedUnit(packet.timestamp, tuple(self._nals), codec)
        self._nals, self._timestamp = [], None
        return unit

    def _h264(self, payload: bytes) -> None:
        kind = payload[0] & 0x1F
        if kind != _FU_A and self._fragments:
            raise DepacketizeError("a fragmented NAL unit has no last fragment")
        if 0 < kind < _STAP_A:
            self._nals.append(payload)
        elif kind == _STAP_A:
            self._aggregate(payload, 1)
        elif kind == _FU_A:
            self._fragment(bytes((payload[0] & 0xE0 | payload[1] & 0x1F,)), payload[1], payload[2:])
        else:
            raise DepacketizeError(f"NAL unit type {kind} does not belong in packetization-mode 1")

    def _h265(self, payload: bytes) -> None:
        kind = payload[0] >> 1
        if kind != _FU and self._fragments:
            raise DepacketizeError("a fragmented NAL unit has no last fragment")
        if kind < _AP:
            self._nals.append(payload)
        elif kind == _AP:
            self._aggregate(payload, 2)
        elif kind == _FU:
            header = bytes((payload[0] & 0x81 | (payload[2] & 0x3F) << 1, payload[1]))
            self._fragment(header, payload[2], payload[3:])
        else:
            raise DepacketizeError(f"NAL unit type {kind} does not belong in an RTP payload")

    def _aggregate(self, payload: bytes, at: int) -> None:
        while at < len(payload):
            size = int.from_bytes(payload[at : at + 2], "big")
            nal = payload[at + 2 : at + 2 + size]
            if not size or len(nal) != size:
                raise DepacketizeError("aggregation packet with a wrong size")
            self._nals.append(nal)
            at += 2 + size

    def _fragment(self, header: bytes, flags: int, data: bytes) -> None:
        start, end = flags & 0x80, flags & 0x40
        if bool(start) == bool(self._fragments) or (start and end):
            raise DepacketizeError("fragments out of order")
        if start:
            self._fragments.append(header)
        self._fragments.append(data)
        if end:
            self._nals.append(b"".join(self._fragments))
            self._fragments = []


class InOrder:
    """Holds packets back until those before them are there; for a viewer that asks for what it misses."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, RtpPacket] = {}

    def push(self, sequence: int, packet: RtpPacket) -> list[RtpPacket]:
        """The packets whose turn it is now; `sequence` is the packet's, not wrapped."""
        if self._next is None:
            self._next = sequence
        if sequence >= self._next:
            self._held[sequence] = packet
        ready = []
        while self._next in self._held:
            ready.append(self._held.pop(self._next))
            self._next += 1
        return ready

    def skip(self) -> list[RtpPacket]:
        """Gives up what is missing: what is held from the next access unit's beginning on."""
        markers = sorted(sequence for sequence, packet in self._held.items() if packet.marker)
        for marker in markers:
            if marker + 1 in self._held:
                self._next = marker + 1
                self._held = {at: packet for at, packet in self._held.items() if at > marker}
                return self.push(marker + 1, self._held[marker + 1])
        return []
