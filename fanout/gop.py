"""The cached GOP: from the last keyframe to now, for joins and keyframe requests."""

from collections.abc import Sequence

from fanout.packetizer import PacketizedUnit

MAX_OCTETS = 16 << 20  # 32 s at 4 Mbit/s
MAX_UNITS = 1_200  # 40 s at 30 per second


class GopCache:
    """Packetized units since the last keyframe, bounded; past a bound it stays empty until the next one."""

    def __init__(self) -> None:
        self._units: list[PacketizedUnit] = []
        self.octets = 0

    def add(self, unit: PacketizedUnit) -> None:
        """Takes the next unit of an unbroken stream."""
        if unit.keyframe:
            self._units = []
            self.octets = 0
        elif not self._units:
            return
        if len(self._units) >= MAX_UNITS or self.octets + unit.octets > MAX_OCTETS:
            self.clear()
            return
        self._units.append(unit)
        self.octets += unit.octets

    def clear(self) -> None:
        """Forgets everything: what follows cannot be decoded with what is here."""
        self._units = []
        self.octets = 0

    def units(self) -> Sequence[PacketizedUnit]:
        """From the keyframe on; empty when there is none."""
        return tuple(self._units)


def compressed_timestamps(units: Sequence[PacketizedUnit], last: int, span: int) -> list[int]:
    """Timestamps for playing cached units at once: strictly rising, the last one is `last`.

    All stand within `span` ticks where that leaves each at least one tick, so a receiver neither plays the
    past slowly nor learns a delay from it.
    """
    step = max(1, span // len(units)) if units else 1
    first = last - step * (len(units) - 1)
    return [first + step * position for position in range(len(units))]
