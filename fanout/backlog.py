"""Units that one viewer is still owed: cut into portions by a token bucket."""

from collections import deque
from collections.abc import Callable

from fanout.packetizing.packetized import PacketizedUnit, Runs

# A cached GOP of 16 MB and as much again of what arrives while it is sent.
MAX_OCTETS = 32 << 20
# A join of the longest GOP is out by then; who is further behind is not live any more.
MAX_AGE_S = 4.0
# Chromium's socket buffer of 64 KiB holds some 50 packets.
BURST_PACKETS = 40
# Fewer are not worth a system call of their own.
PORTION_PACKETS = 8

Emit = Callable[[PacketizedUnit, Runs, int, bool, int], bool]
"(unit, runs, timestamp, ends the unit, number of the first packet) -> the way took them"


class Backlog:
    """In order, the oldest first."""

    def __init__(self) -> None:
        self.units: deque[tuple[PacketizedUnit, int]] = deque()
        "Owed, the oldest first, each with its timestamp; to be read only."
        self._octets = 0
        self._run = 0
        self._offset = 0
        self._allowance = float(BURST_PACKETS)
        self._pumped_at = 0.0
        self._began_at: float | None = None

    def __len__(self) -> int:
        return len(self.units)

    def add(self, unit: PacketizedUnit, timestamp: int) -> bool:
        """Takes a unit with the timestamp that it is to have; False when there is no room."""
        if self._octets + unit.octets > MAX_OCTETS:
            return False
        self.units.append((unit, timestamp))
        self._octets += unit.octets
        return True

    def clear(self) -> None:
        """Gives everything up."""
        self.units.clear()
        self._octets = 0
        self._run = self._offset = 0
        self._began_at = None

    def is_late(self, now: float) -> bool:
        """There has been something left for longer than a viewer may be behind."""
        if self._began_at is None:
            self._began_at = now
        return now - self._began_at > MAX_AGE_S

    def pump(self, now: float, packets_per_s: float, emit: Emit) -> bool:
        """Sends what the rate allows by now; False when the way did not take it."""
        allowance = min(BURST_PACKETS, self._allowance + (now - self._pumped_at) * packets_per_s)
        self._pumped_at = now
        while self.units:
            unit, timestamp = self.units[0]
            run = unit.runs[self._run]
            end = min(len(run), self._offset + int(allowance))
            if end == self._offset or (end < len(run) and end - self._offset < PORTION_PACKETS):
                break
            part = run if end - self._offset == len(run) else run[self._offset : end]
            allowance -= len(part)
            run_ends = end == len(run)
            unit_ends = run_ends and self._run == len(unit.runs) - 1
            number = unit.number + sum(map(len, unit.runs[: self._run])) + self._offset
            if not emit(unit, (part,), timestamp, unit_ends, number):
                return False
            if unit_ends:
                self.units.popleft()
                self._octets -= unit.octets
                self._run = self._offset = 0
            elif run_ends:
                self._run += 1
                self._offset = 0
            else:
                self._offset = end
        self._allowance = allowance
        if not self.units:
            self._began_at = None
        return True

    def due(self, now: float, packets_per_s: float) -> float:
        """When the next portion may go."""
        return now + max(PORTION_PACKETS - self._allowance, 1) / packets_per_s
