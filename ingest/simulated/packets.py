"""One RTP source: packets and sender reports of one timeline (RFC 3550 sections 5.1, 6.4.1)."""

from collections.abc import Iterable

from common.rtp import RtpPacket, SenderReport, SourceDescription, serialize_rtcp, serialize_rtp
from common.units import unix_ns_to_ntp

CNAME = "simulated"  # the same for all tracks: one clock (RFC 3550 section 6.5.1)


class RtpStream:
    """Counts sequence numbers, packets and octets; `first_timestamp` is the RTP time of tick 0."""

    def __init__(self, payload_type: int, ssrc: int, sequence: int, first_timestamp: int) -> None:
        self.payload_type = payload_type
        self.ssrc = ssrc
        self.sequence = sequence
        "Of the next packet."
        self.first_timestamp = first_timestamp
        self.packet_count = 0
        self.octet_count = 0

    def packets(self, payloads: Iterable[tuple[bytes, bool]], tick: int) -> list[bytes]:
        """RTP packets of payloads with their marker bits, all of the same tick."""
        packets = []
        for payload, marker in payloads:
            packet = RtpPacket(
                payload_type=self.payload_type,
                marker=marker,
                sequence=self.sequence,
                timestamp=self._timestamp(tick),
                ssrc=self.ssrc,
                payload=payload,
            )
            packets.append(serialize_rtp(packet))
            self.sequence = (self.sequence + 1) & 0xFFFF
            self.packet_count = (self.packet_count + 1) & 0xFFFF_FFFF
            self.octet_count = (self.octet_count + len(payload)) & 0xFFFF_FFFF
        return packets

    def report(self, utc_ns: int, tick: int) -> bytes:
        """A compound packet that says: `tick` was at `utc_ns`."""
        report = SenderReport(
            ssrc=self.ssrc,
            ntp=unix_ns_to_ntp(utc_ns),
            rtp_timestamp=self._timestamp(tick),
            packet_count=self.packet_count,
            octet_count=self.octet_count,
        )
        return serialize_rtcp(report) + serialize_rtcp(SourceDescription(self.ssrc, CNAME))

    def _timestamp(self, tick: int) -> int:
        return (self.first_timestamp + tick) & 0xFFFF_FFFF
