"""What a viewer's sequence numbers stand for: packets of a stream's shared history (for NACK, RFC 4585).

A viewer that is simply served gets every packet of its stream, so the difference between its packet index and
the history's packet number stays the same. Only where it changes - a join, a drop, another source - there is
something to remember.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from operator import attrgetter

from fanout.history import History
from fanout.packetizing.packetized import PacketizedUnit

MAX_STRETCHES = 1200  # a join has one for each unit of its GOP

LOOK_BACK = 300

_FIRST_INDEX = attrgetter("first_index")


@dataclass(frozen=True, slots=True)
class _Stretch:
    first_index: int
    shift: int
    "Packet index less the history's packet number."
    timestamp_offset: int
    "Wire timestamp less the unit's, not wrapped."
    history: History


@dataclass(frozen=True, slots=True)
class SentPacket:
    """A packet as it was sent."""

    index: int
    unit: PacketizedUnit
    position: int
    "Of the packet in the unit."
    timestamp: int
    "RTP timestamp on the wire."


class SentLog:
    """Maps packet indexes of one SSRC back to packets."""

    def __init__(self) -> None:
        self._stretches: deque[_Stretch] = deque(maxlen=MAX_STRETCHES)
        self._shift: int | None = None
        self._offset = 0
        self._history: History | None = None

    def note(self, index: int, number: int, timestamp_offset: int, history: History) -> None:
        """The packets from `index` on are those of `history` from `number` on."""
        shift = index - number
        if shift == self._shift and timestamp_offset == self._offset and history is self._history:
            return
        self._shift, self._offset, self._history = shift, timestamp_offset, history
        self._stretches.append(_Stretch(index, shift, timestamp_offset, history))

    def clear(self) -> None:
        """A keyframe follows: whoever gets it has no use for anything sent before."""
        self._stretches.clear()
        self._shift = None

    def find(self, sequence: int, next_index: int) -> SentPacket | None:
        """The packet with this 16-bit sequence number, when `next_index` is the next to be sent.

        None when it was never sent or is forgotten.
        """
        behind = (next_index - sequence) & 0xFFFF
        index = next_index - behind
        if not behind or index < 0:
            return None
        # One datagram of NACKs asks for thousands, and stretches only rise.
        last = bisect_right(self._stretches, index, key=_FIRST_INDEX) - 1
        if last < 0:
            return None
        stretch = self._stretches[last]
        found = stretch.history.find(index - stretch.shift)
        if found is None:
            return None
        unit, position = found
        timestamp = (unit.timestamp + stretch.timestamp_offset) & 0xFFFF_FFFF
        return SentPacket(index, unit, position, timestamp)

    def recent(self, next_index: int, count: int) -> list[SentPacket]:
        """The largest of the last packets, at most `count`, looking a few hundred back."""
        looked = range(next_index - 1, max(next_index - LOOK_BACK, -1), -1)
        found = [packet for index in looked if (packet := self.find(index & 0xFFFF, next_index)) is not None]
        found.sort(key=lambda packet: len(packet.unit.payload(packet.position)), reverse=True)
        return found[:count]
