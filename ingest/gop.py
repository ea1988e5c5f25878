"""The access units since the last keyframe, kept to answer joins at once."""

from common.access_unit import AccessUnit

MAX_BYTES = 16 << 20
MAX_ACCESS_UNITS = 1200  # 48 s at 25 access units per second


class GopCache:
    """Keeps one GOP in a bounded space; one that passes the bounds is let go up to the next keyframe.

    Video only: sound that is past is of no use to somebody who joins.
    """

    def __init__(self) -> None:
        self._units: list[AccessUnit] = []
        self._bytes = 0

    def add(self, unit: AccessUnit) -> None:
        """Takes the next access unit of either track."""
        if unit.track != "video":
            return
        if unit.keyframe:
            self.clear()
        elif not self._units:
            return
        elif unit.sequence != self._units[-1].sequence + 1:
            self.clear()
            return
        self._units.append(unit)
        self._bytes += unit.size
        if self._bytes > MAX_BYTES or len(self._units) > MAX_ACCESS_UNITS:
            self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._units = []
        self._bytes = 0

    def units(self) -> tuple[AccessUnit, ...]:
        """The keyframe and what followed it without a gap; empty when there is none."""
        return tuple(self._units)
