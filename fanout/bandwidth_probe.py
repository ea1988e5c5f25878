"""Learns whether a link carries more: old packets once more by RTX, paced at the rate in question.

The viewer's receiver drops what it has already (RFC 4588 section 8.1 in effect); its transport-wide feedback
tells how they arrived.
"""

from collections.abc import Callable
from itertools import cycle

from fanout.pacer import Pacer
from fanout.retransmission import Retransmitter
from fanout.sent import SentPacket

PORTION_S = 0.005


class BandwidthProbe:
    """One probe of `octets` at `bitrate`; calls `on_end()` when all of it was sent or the way is full."""

    def __init__(
        self,
        retransmitter: Retransmitter,
        pacer: Pacer,
        packets: list[SentPacket],
        bitrate: int,
        octets: int,
        on_end: Callable[[], None],
    ) -> None:
        self._retransmitter = retransmitter
        self._pacer = pacer
        self._packets = cycle(packets)
        self._octets_per_s = bitrate / 8
        self._left = octets
        self._credit = 0.0
        self._credited_at: float | None = None
        self._on_end = on_end
        pacer.add(self)

    def pump(self, now: float) -> float | None:
        """Sends what the rate allows by now."""
        elapsed = PORTION_S if self._credited_at is None else now - self._credited_at
        self._credited_at = now
        self._credit += elapsed * self._octets_per_s
        while self._credit > 0 and self._left > 0:
            packet = next(self._packets)
            if not self._retransmitter.repeat(packet):
                self._left = 0
                break
            size = len(packet.unit.payload(packet.position))
            self._credit -= size
            self._left -= size
        if self._left <= 0:
            self._on_end()
            return None
        return now + PORTION_S

    def failed(self) -> None:
        """A probe that cannot be sent is over; the media goes on."""
        self._on_end()

    def close(self) -> None:
        """Sends no more."""
        self._pacer.discard(self)
