"""What one stream sent lately: the GOP for joins and keyframe requests, packets for retransmission."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from operator import attrgetter

from fanout.packetizing.packetized import CLOCK_RATES, PacketizedUnit

MAX_OCTETS = 32 << 20  # 64 s at 4 Mbit/s
MAX_UNITS = 2_400  # 80 s at 30 per second
# A packet that a viewer misses is asked for within a few round trips; the longest paths have some 300 ms.
MIN_S = 1
# The GOP that viewers now see, and the one before: some are still being sent it, or miss packets of it.
GOPS = 2

_NUMBER = attrgetter("number")


class History:
    """Packetized units, found by packet number: the last GOPS keyframes with all that follow, and MIN_S.

    Past MAX_OCTETS or MAX_UNITS the oldest are let go. When that takes the last keyframe, there is no GOP
    until the next.
    """

    def __init__(self) -> None:
        self.octets = 0
        "RTP payload octets held."
        self.next_number = 0
        "Packet number of the next unit."
        self._units: list[PacketizedUnit] = []
        self._keyframes: deque[int] = deque(maxlen=GOPS)
        "Numbers of the newest keyframes that are held."
        self._interrupted = False

    def add(self, unit: PacketizedUnit) -> None:
        """Takes the next unit; its number is `next_number`."""
        self._units.append(unit)
        self.octets += unit.octets
        self.next_number = unit.number + unit.packets
        if unit.keyframe:
            self._keyframes.append(unit.number)
            self._interrupted = False
        self._let_go(unit.timestamp - MIN_S * CLOCK_RATES[unit.codec])

    def _let_go(self, ticks: int) -> None:
        """Lets the oldest go; those from timestamp `ticks` on, and the one before, only past the bounds."""
        units, keyframes = self._units, self._keyframes
        gone = 0
        while gone < len(units):
            oldest = units[gone]
            if (
                self.octets <= MAX_OCTETS
                and len(units) - gone <= MAX_UNITS
                and (
                    (keyframes and oldest.number >= keyframes[0])
                    or gone + 1 == len(units)
                    or units[gone + 1].timestamp > ticks
                )
            ):
                break
            if keyframes and keyframes[0] == oldest.number:
                keyframes.popleft()
            self.octets -= oldest.octets
            gone += 1
        if gone:
            del units[:gone]

    def interrupt(self) -> None:
        """What follows cannot be decoded with what is here: no GOP until the next keyframe."""
        self._interrupted = True

    def gop(self) -> Sequence[PacketizedUnit]:
        """From the last keyframe on; empty when there is none, or it cannot be gone on from."""
        if self._interrupted or not self._keyframes:
            return ()
        return self._units[self._position(self._keyframes[-1]) :]

    def find(self, number: int) -> tuple[PacketizedUnit, int] | None:
        """The unit that has this packet and the packet's position in it; None when it is not held."""
        position = self._position(number)
        if position < 0 or number >= self.next_number:
            return None
        unit = self._units[position]
        return unit, number - unit.number

    def _position(self, number: int) -> int:
        """Of the last unit that begins at this packet number or before; -1 when none does."""
        return bisect_right(self._units, number, key=_NUMBER) - 1


def compressed_timestamps(units: Sequence[PacketizedUnit], last: int, span: int) -> list[int]:
    """Timestamps for playing cached units at once: strictly rising, the last one is `last`.

    All stand within `span` ticks where that leaves each at least one tick, so a receiver neither plays the
    past slowly nor learns a delay from it.
    """
    step = max(1, span // len(units)) if units else 1
    first = last - step * (len(units) - 1)
    return [first + step * position for position in range(len(units))]
