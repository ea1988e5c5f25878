"""A test viewer's RTP reception: counting that costs next to nothing, and header extensions (RFC 8285)."""

from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple

_HEADER = Struct("!BBHII")
_COUNTING = bytes(range(256)) * 2  # low octets of sequence numbers


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


class Arrival(NamedTuple):
    """A packet with the marker bit came in: an access unit is complete."""

    timestamp: int
    received_ns: int
    "UTC nanoseconds at which the kernel had its last packet."
    octets: int
    "UDP payload octets of its packets, without RTP headers."
    packets: int


@dataclass(slots=True)
class Reception:
    """One SSRC; reads only the header, which SRTP leaves in the clear (RFC 3711 section 3.1)."""

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
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data, start)
        self.packets += 1
        self.octets += end - start
        header = 12 if not first & 0x10 else 16 + 4 * int.from_bytes(data[start + 14 : start + 16], "big")
        self._unit_octets += end - start - header
        self._unit_packets += 1
        step = (sequence - self.highest) & 0xFFFF
        if step == 1 and self.packets > 1:
            self.highest += 1
        elif self.packets == 1:
            self.base = self.highest = sequence
            self.ssrc = ssrc
        elif step < 0x8000 and step:
            self.gaps += 1
            self.highest += step
        else:
            self.late += 1
        if second >= 0x80:
            self._complete(timestamp, received_ns)
        self.payload_types.add(second & 0x7F)

    def take_train(self, data: bytearray, length: int, size: int, received_ns: int) -> bool:
        """Counts packets that the kernel hands over as one, all at once; False when they are not one run.

        The octets that tell are looked at in every packet: slices do that far quicker than a loop.
        """
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        count = -(-length // size)
        low = sequence & 0xFF
        if (
            not self.packets
            or (sequence - self.highest) & 0xFFFF != 1
            or ssrc != self.ssrc
            or data[3:length:size] != _COUNTING[low : low + count]
            or data[11:length:size].count(data[11]) != count
        ):
            return False
        kinds = data[1:length:size]
        last = kinds[-1]
        if second >= 0x80 or kinds.count(second) < count - 1 or last & 0x7F != second:
            return False
        self.packets += count
        self.octets += length
        self.highest += count
        self._unit_packets += count
        header = 12 if not first & 0x10 else 16 + 4 * int.from_bytes(data[14:16], "big")
        self._unit_octets += length - count * header
        if last >= 0x80:
            self._complete(timestamp, received_ns)
        return True

    def _complete(self, timestamp: int, received_ns: int) -> None:
        self.units += 1
        if self.arrivals is not None:
            self.arrivals.append(Arrival(timestamp, received_ns, self._unit_octets, self._unit_packets))
        self._unit_octets = self._unit_packets = 0

    def extended(self, sequence: int) -> int:
        """A 16-bit sequence number near the highest one, not wrapped."""
        step = (sequence - self.highest) & 0xFFFF
        return self.highest + (step if step < 0x8000 else step - 0x1_0000)

    def totals(self) -> Totals:
        """The counts so far."""
        expected = self.highest - self.base + 1 if self.packets else 0
        return Totals(self.packets, self.octets, expected, self.gaps, self.late, self.units)


@dataclass(frozen=True, slots=True)
class HeaderExtensions:
    """What a packet told besides its header (RFC 8285); None for what it did not."""

    transport_sequence: int | None = None
    capture_ntp: int | None = None
    "64-bit NTP time."
    playout_delay_ms: tuple[int, int] | None = None
    "Least and most."


def elements(data: bytes | bytearray, start: int = 0) -> dict[int, tuple[int, int]]:
    """Position and length of each element in the header extension of the packet at `start` (section 4.2).

    Raises ValueError when there is an extension that is not of the one-byte form, or is cut off.
    """
    found: dict[int, tuple[int, int]] = {}
    if not data[start] & 0x10:
        return found
    at = start + 12
    if data[at : at + 2] != b"\xbe\xde":
        raise ValueError(f"header extension of profile {data[at : at + 2].hex()}")
    end = at + 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
    at += 4
    while at < end:
        identifier, length = data[at] >> 4, (data[at] & 0x0F) + 1
        if not data[at]:  # padding
            at += 1
            continue
        if identifier == 15 or at + 1 + length > end:
            raise ValueError(f"header extension element {identifier} of {length} octets is not possible")
        found[identifier] = (at + 1, length)
        at += 1 + length
    return found


def read_extensions(data: bytes, transport: int, capture: int, playout: int) -> HeaderExtensions:
    """Those of these identifiers; raises ValueError, for an element of a wrong size too."""
    values: dict[int, bytes] = {}
    for identifier, (at, length) in elements(data).items():
        wanted = {transport: 2, capture: 8, playout: 3}.get(identifier)
        if wanted is None:
            raise ValueError(f"header extension element {identifier} was not negotiated")
        if length != wanted:
            raise ValueError(f"header extension element {identifier} has {length} octets, not {wanted}")
        values[identifier] = data[at : at + length]
    number = {identifier: int.from_bytes(value, "big") for identifier, value in values.items()}
    delay = number.get(playout)
    return HeaderExtensions(
        number.get(transport),
        number.get(capture),
        None if delay is None else (10 * (delay >> 12), 10 * (delay & 0xFFF)),
    )
