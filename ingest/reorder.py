"""RTP packets of UDP back in the order of their sequence numbers, within a bounded time (RFC 3550)."""

from collections import OrderedDict
from struct import Struct

from common.rtp import HEADER_SIZE
from common.units import sequence_delta
from ingest.reception import MAX_DROPOUT

# Wi-Fi and mesh links repeat a frame for some tens of milliseconds; what is later than this is late for the
# viewers as well.
MAX_HOLD_S = 0.1
# 100 ms of 160 Mbit/s in packets of 1,000 octets.
MAX_HELD = 2000
# When only packets from the past came for so long, the sequence has begun anew.
RESTART_AFTER_S = 0.5

# So few are looked through, however wide the gap in front of them.
_FEW_HELD = 16

_HEADER = Struct("!xBHxxxxI")


class ReorderBuffer:
    """`push` packets as they came, take them in order.

    Nothing is held while nothing is missing. When something is, what comes after it waits for at most
    MAX_HOLD_S, counted from its own arrival: call `poll` at `deadline`. Only the SSRC that sends
    `payload_type` is followed; what else is on the port passes as it came.
    """

    def __init__(self, payload_type: int) -> None:
        self.deadline: float | None = None
        "Monotonic seconds; None while nothing is held."
        self.reordered = 0
        "Packets that came late and were put back in order."
        self.dropped = 0
        "Packets that came twice, or after they had been given up."
        self._payload_type = payload_type
        self._ssrc: int | None = None
        self._expected = 0
        self._moved_at = 0.0
        self._held: OrderedDict[int, tuple[float, bytes]] = OrderedDict()
        "By sequence number, in the order of their arrival."

    def push(self, packets: list[bytes], now: float) -> list[bytes]:
        """The packets that are in order now; `now` in monotonic seconds."""
        ready: list[bytes] = []
        for data in packets:
            if len(data) < HEADER_SIZE:
                ready.append(data)
                continue
            kind, sequence, ssrc = _HEADER.unpack_from(data)
            if sequence == self._expected and ssrc == self._ssrc and not self._held:
                # The path of nearly all packets: kept short.
                self._expected = (sequence + 1) & 0xFFFF
                ready.append(data)
            elif ssrc == self._ssrc:
                self._out_of_order(sequence, data, now, ready)
            elif kind & 0x7F == self._payload_type:
                self._ssrc = ssrc
                self._restart(sequence, data, ready)
            else:
                ready.append(data)
        if ready:
            self._moved_at = now
        return ready

    def poll(self, now: float) -> list[bytes]:
        """What waited for packets that have been missing for too long."""
        ready: list[bytes] = []
        while self.deadline is not None and now >= self.deadline:
            self._give_up(ready)
        if ready:
            self._moved_at = now
        return ready

    def _out_of_order(self, sequence: int, data: bytes, now: float, ready: list[bytes]) -> None:
        ahead = sequence_delta(sequence, self._expected)
        stuck = ahead < 0 and now - self._moved_at > RESTART_AFTER_S
        if stuck or abs(ahead) > MAX_DROPOUT:
            self._restart(sequence, data, ready)
        elif ahead < 0 or sequence in self._held:
            self.dropped += 1
        else:
            self._held[sequence] = (now, data)
            if ahead == 0:
                self.reordered += 1
                self._release(ready)
            elif self.deadline is None:
                self.deadline = now + MAX_HOLD_S
            if len(self._held) > MAX_HELD:
                self._give_up(ready)

    def _release(self, ready: list[bytes]) -> None:
        """Passes on what is in order by now; the rest waits from its own arrival."""
        held, expected = self._held, self._expected
        while (item := held.pop(expected, None)) is not None:
            ready.append(item[1])
            expected = (expected + 1) & 0xFFFF
        self._expected = expected
        self.deadline = next(iter(held.values()))[0] + MAX_HOLD_S if held else None

    def _give_up(self, ready: list[bytes]) -> None:
        """Passes over what is missing in front of the first held packet."""
        held, expected = self._held, self._expected
        if len(held) <= _FEW_HELD:
            expected += min(sequence_delta(sequence, expected) for sequence in held)
        else:
            # Each missing number is stepped over once, where looking through all would be done at every gap.
            while expected not in held:
                expected = (expected + 1) & 0xFFFF
        self._expected = expected & 0xFFFF
        self._release(ready)

    def _restart(self, sequence: int, data: bytes, ready: list[bytes]) -> None:
        """Another source or sequence begins with `data`; what is held of the old one goes first."""
        while self._held:
            self._give_up(ready)
        self._expected = (sequence + 1) & 0xFFFF
        ready.append(data)
