"""What a browser tells a sender of loss and time: transport-wide feedback, and NACKs of gaps.

Transport-wide feedback is draft-holmer-rmcat-transport-wide-cc-extensions-01; it is written here a second
time, apart from the server's, so that each is held to the draft and not to the other.
"""

from bisect import insort
from struct import Struct

FEEDBACK_INTERVAL_S = 0.1  # Chromium's default; it goes from 50 to 250 ms with the bit rate

_HEADER = Struct("!BBHIIHH3sB")
_RTPFB, _TRANSPORT_FEEDBACK = 205, 15
_TICK_US = 250
_REFERENCE_US = 64_000
_NOT_RECEIVED, _SMALL, _LARGE = 0, 1, 2
_MAX_RUN = (1 << 13) - 1
_MAX_PACKETS = 5000

_MAX_MISSING = 1000
_RETRIES = 10
_RETRY_S = 0.1  # Chromium's round-trip time while it knows none


class TransportReceiver:
    """Arrivals of packets by their transport-wide sequence numbers; pure."""

    def __init__(self) -> None:
        self._runs: list[tuple[int, int, int]] = []  # first sequence (not wrapped), packets, arrival in us
        self._highest = -1
        self._next = 0
        self._count = 0
        self.packets = 0
        self.missing = 0
        "Sequence numbers that were told as not received."

    def take(self, sequence: int, packets: int, received_ns: int) -> bool:
        """So many packets from the 16-bit `sequence` on; True when they are the first since `feedback`."""
        if self._highest < 0:
            self._highest = self._next = sequence
        step = (sequence - self._highest) & 0xFFFF
        first = self._highest + (step if step < 0x8000 else step - 0x1_0000)
        if first + packets > self._highest:
            self._highest = first + packets - 1
        self.packets += packets
        runs = self._runs
        if runs and first <= runs[-1][0]:
            insort(runs, (first, packets, received_ns // 1000))
        else:
            runs.append((first, packets, received_ns // 1000))
        return len(runs) == 1

    def feedback(self, sender_ssrc: int, media_ssrc: int) -> bytes:
        """The RTCP packet for everything since the last one (section 3.1); empty when there is nothing."""
        if not self._runs:
            return b""
        runs, self._runs = self._runs, []
        base = min(self._next, runs[0][0])
        if runs[-1][0] - base > _MAX_PACKETS:  # the sender began anew
            base = runs[0][0]
        reference = runs[0][2] // _REFERENCE_US
        at = reference * (_REFERENCE_US // _TICK_US)
        symbols: list[list[int]] = []  # symbol, how often
        deltas = bytearray()
        expected = base
        for first, packets, arrival_us in runs:
            if first < expected:  # a repeated number; the first arrival counts
                packets -= expected - first
                if packets <= 0:
                    continue
                first = expected
            if first > expected:
                self.missing += first - expected
                _add(symbols, _NOT_RECEIVED, first - expected)
            step = arrival_us // _TICK_US - at
            at += step
            if 0 <= step < 256:
                _add(symbols, _SMALL, packets)
                deltas.append(step)
            else:
                step = max(-0x8000, min(0x7FFF, step))
                _add(symbols, _LARGE, 1)
                deltas += step.to_bytes(2, "big", signed=True)
                if packets > 1:
                    _add(symbols, _SMALL, packets - 1)
            deltas += bytes(packets - 1)
            expected = first + packets
        self._next = expected
        chunks = b"".join(
            (symbol << 13 | min(_MAX_RUN, often)).to_bytes(2, "big") for symbol, often in symbols
        )
        body = chunks + deltas
        padding = -len(body) % 4
        if padding:
            body += bytes(padding - 1) + bytes((padding,))
        first_octet = 0x80 | _TRANSPORT_FEEDBACK | (0x20 if padding else 0)
        length = (_HEADER.size + len(body)) // 4 - 1
        count = self._count
        self._count = (count + 1) & 0xFF
        return (
            _HEADER.pack(
                first_octet,
                _RTPFB,
                length,
                sender_ssrc,
                media_ssrc,
                base & 0xFFFF,
                expected - base,
                (reference & 0xFF_FFFF).to_bytes(3, "big"),
                count,
            )
            + body
        )


def _add(symbols: list[list[int]], symbol: int, often: int) -> None:
    if symbols and symbols[-1][0] == symbol:
        symbols[-1][1] += often
    else:
        symbols.append([symbol, often])


class MissingPackets:
    """Which packets to ask for again and when, as Chromium does; sequence numbers not wrapped; pure."""

    def __init__(self) -> None:
        self._missing: dict[int, list[float]] = {}  # when it was asked last, how often
        self._newest: int | None = None
        self.gave_up = False
        "So much is missing that only a keyframe helps; cleared by whoever asks for one."

    def __bool__(self) -> bool:
        return bool(self._missing)

    def take(self, sequence: int) -> None:
        """A packet came, by whatever way."""
        if self._newest is None or sequence > self._newest:
            if self._newest is not None:
                for missing in range(self._newest + 1, sequence):
                    self._missing[missing] = [-1.0, 0]
                if len(self._missing) > _MAX_MISSING:
                    self._missing.clear()
                    self.gave_up = True
            self._newest = sequence
        else:
            self._missing.pop(sequence, None)

    def due(self, now_s: float) -> list[int]:
        """Those to ask for now."""
        asked = []
        for sequence, state in list(self._missing.items()):
            at, often = state
            if often and now_s - at < _RETRY_S:
                continue
            if often == _RETRIES:
                del self._missing[sequence]
                continue
            state[:] = [now_s, often + 1]
            asked.append(sequence)
        return asked
