"""Answers NACKs: lost packets once more from the shared history, by RTX (RFC 4588) where negotiated."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from fanout.egress import Lane
from fanout.outlet import Outlet
from fanout.packetizing.packetized import MAX_DATAGRAM
from fanout.sent import SentLog, SentPacket

# What a viewer may have sent again: a burst as large as a keyframe, then a share of its stream's bit rate.
BURST_OCTETS = 256 << 10
STRAINED_BURST_OCTETS = 16 << 10
SHARE = 0.5
MIN_BITS_PER_S = 256_000
# Looking for a packet counts too: a datagram of NACKs asks for 8,000 that were never sent.
LOOKUP_OCTETS = 64
DEFAULT_RTT_S = 0.1
MIN_RTT_S = 0.02
MAX_REMEMBERED = 1024


class Retransmitter:
    """Of one viewer's video. A packet is sent again at most once per round trip."""

    def __init__(
        self,
        outlet: Outlet,
        lane: Lane,
        sent: SentLog,
        rtx: Lane | None,
        rtx_payload_types: Mapping[str, int],
    ) -> None:
        self._outlet = outlet
        self._lane = lane
        self._sent = sent
        self._rtx = rtx
        self._rtx_payload_types = rtx_payload_types
        self._budget = float(BURST_OCTETS)
        self._filled_at = 0.0
        self._repeated: OrderedDict[int, float] = OrderedDict()
        self.packets = 0
        "Sent again."
        self.unanswered = 0
        "Asked for and not sent again: too old, too often, or more than the budget."

    def answer(
        self,
        sequences: Sequence[int],
        now: float,
        rtt_s: float | None,
        bitrate: int,
        *,
        twice: bool = False,
        strained: bool = False,
    ) -> None:
        """Sends again what a NACK lists; `bitrate` is the stream's, in bits per second.

        `twice`: packets get lost here and there, and a lost repair would cost another round trip. `strained`:
        the link is full, what is missing did not fit.
        """
        share = max(bitrate * SHARE, MIN_BITS_PER_S) / 8
        burst = STRAINED_BURST_OCTETS if strained else BURST_OCTETS
        self._budget = min(burst, self._budget + (now - self._filled_at) * share)
        self._filled_at = now
        patience = max(rtt_s or DEFAULT_RTT_S, MIN_RTT_S)
        for position, sequence in enumerate(sequences):
            if self._budget < MAX_DATAGRAM:
                self.unanswered += len(sequences) - position
                return
            self._budget -= LOOKUP_OCTETS
            found = self._sent.find(sequence, self._lane.index)
            if (
                found is None
                or now - self._repeated.get(found.index, -patience) < patience
                or not self.repeat(found)
            ):
                self.unanswered += 1
                continue
            copies = 1 + (twice and self.repeat(found))
            self.packets += copies
            self._budget -= copies * len(found.unit.payload(found.position))
            self._repeated[found.index] = now
            self._repeated.move_to_end(found.index)
            if len(self._repeated) > MAX_REMEMBERED:
                self._repeated.popitem(last=False)

    def repeat(self, packet: SentPacket) -> bool:
        """Sends one packet again; False when the way is full or the packet can no longer be made."""
        unit = packet.unit
        payload = unit.payload(packet.position)
        marker = packet.position == unit.packets - 1
        rtx_payload_type = self._rtx_payload_types.get(unit.codec)
        if self._rtx is not None and rtx_payload_type is not None:
            self._rtx.payload_type = rtx_payload_type
            original = (packet.index & 0xFFFF).to_bytes(2, "big")  # RFC 4588 section 4
            if not self._outlet.send(self._rtx, ((original + payload,),), packet.timestamp, marker, 0):
                return False
        else:
            timestamp = packet.timestamp - self._lane.timestamp_offset
            try:
                again = self._lane.repeat(payload, packet.index, timestamp, marker, unit.capture_ntp)
            except ValueError:  # its header was of another codec or source: no octet may differ
                return False
            if not self._outlet.path.send_packets((again,)):
                return False
        return True
