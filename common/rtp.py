"""RTP and RTCP packets (RFC 3550): parse and serialize side by side; feedback: `common.rtcp_feedback`."""

from dataclasses import dataclass
from struct import Struct

from common.rtcp_feedback import (
    RTCP_PSFB,
    RTCP_RTPFB,
    Feedback,
    parse_feedback,
    rtcp_packet,
    serialize_feedback,
)
from common.rtcp_feedback import KeyframeRequest as KeyframeRequest
from common.rtcp_feedback import Nack as Nack
from common.rtcp_feedback import ReceiverEstimate as ReceiverEstimate
from common.rtcp_feedback import RtpError as RtpError
from common.rtcp_feedback import TransportFeedback as TransportFeedback

HEADER = Struct("!BBHII")
HEADER_SIZE = HEADER.size  # 12
MAX_PACKET_BYTES = 65_535

RTCP_SR = 200
RTCP_RR = 201
RTCP_SDES = 202
RTCP_BYE = 203


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet (RFC 3550 section 5.1) without padding, CSRC list and extension."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse_rtp(data: bytes) -> RtpPacket:
    """Parses one RTP packet; raises RtpError."""
    if len(data) < HEADER_SIZE:
        raise RtpError(f"RTP packet of {len(data)} octets, at least {HEADER_SIZE} are needed")
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise RtpError(f"RTP version {first >> 6}, 2 is expected")
    start = HEADER_SIZE + 4 * (first & 0x0F)
    end = len(data)
    if first & 0x10:  # extension (section 5.3.1)
        if start + 4 > end:
            raise RtpError("RTP header extension is cut off")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if first & 0x20:  # padding
        padding = data[-1]
        if padding == 0:
            raise RtpError("RTP padding of 0 octets")
        end -= padding
    if start > end:
        raise RtpError(f"RTP packet of {len(data)} octets is shorter than its header and padding")
    return RtpPacket(second & 0x7F, second >= 0x80, sequence, timestamp, ssrc, data[start:end])


def serialize_rtp(packet: RtpPacket) -> bytes:
    """The packet as octets, without padding, CSRC list and extension."""
    return (
        HEADER.pack(
            0x80,
            packet.payload_type | packet.marker << 7,
            packet.sequence,
            packet.timestamp,
            packet.ssrc,
        )
        + packet.payload
    )


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """One reception report block (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    "Of 256."
    packets_lost: int
    "Cumulative, signed 24 bits."
    highest_sequence: int
    "Extended to 32 bits."
    jitter: int
    "In timestamp ticks."
    last_sr: int
    "Middle 32 bits of the NTP timestamp of the last sender report."
    delay_since_last_sr: int
    "In units of 1/65536 s."


@dataclass(frozen=True, slots=True)
class SenderReport:
    """RTCP SR (section 6.4.1)."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RTCP RR (section 6.4.2)."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """RTCP SDES with one CNAME (section 6.5)."""

    ssrc: int
    cname: str


@dataclass(frozen=True, slots=True)
class Goodbye:
    """RTCP BYE (section 6.6)."""

    ssrcs: tuple[int, ...]


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Goodbye | Feedback

_REPORT_BLOCK = Struct("!IB3sIIII")
_SENDER_INFO = Struct("!IQIII")


def _parse_blocks(body: bytes, offset: int, count: int) -> tuple[ReportBlock, ...]:
    if offset + count * _REPORT_BLOCK.size > len(body):
        raise RtpError(f"RTCP report of {len(body)} octets is too short for {count} blocks")
    blocks = []
    for index in range(count):
        ssrc, fraction, lost, highest, jitter, lsr, dlsr = _REPORT_BLOCK.unpack_from(
            body, offset + index * _REPORT_BLOCK.size
        )
        signed = int.from_bytes(lost, "big", signed=True)
        blocks.append(ReportBlock(ssrc, fraction, signed, highest, jitter, lsr, dlsr))
    return tuple(blocks)


def parse_rtcp(data: bytes) -> list[RtcpPacket]:
    """Parses a compound packet (section 6.1); types nobody here reads are passed over. Raises RtpError."""
    packets: list[RtcpPacket] = []
    offset = 0
    while offset < len(data):
        if offset + 4 > len(data):
            raise RtpError("RTCP packet ends inside its header")
        first, kind = data[offset], data[offset + 1]
        end = offset + 4 + 4 * int.from_bytes(data[offset + 2 : offset + 4], "big")
        if first >> 6 != 2:
            raise RtpError(f"RTCP version {first >> 6}, 2 is expected")
        if end > len(data):
            raise RtpError(f"RTCP packet of type {kind} passes the end of the datagram")
        body = data[offset + 4 : end]
        count = first & 0x1F
        if kind == RTCP_SR:
            if len(body) < _SENDER_INFO.size:
                raise RtpError("RTCP sender report is cut off")
            ssrc, ntp, timestamp, sent, octets = _SENDER_INFO.unpack_from(body)
            blocks = _parse_blocks(body, _SENDER_INFO.size, count)
            packets.append(SenderReport(ssrc, ntp, timestamp, sent, octets, blocks))
        elif kind == RTCP_RR:
            if len(body) < 4:
                raise RtpError("RTCP receiver report is cut off")
            blocks = _parse_blocks(body, 4, count)
            packets.append(ReceiverReport(int.from_bytes(body[:4], "big"), blocks))
        elif kind == RTCP_BYE:
            if len(body) < 4 * count:
                raise RtpError("RTCP BYE is cut off")
            ssrcs = (int.from_bytes(body[4 * i : 4 * i + 4], "big") for i in range(count))
            packets.append(Goodbye(tuple(ssrcs)))
        elif kind in (RTCP_RTPFB, RTCP_PSFB):
            packets += parse_feedback(kind, count, body)
        offset = end
    return packets


def _serialize_blocks(reports: tuple[ReportBlock, ...]) -> bytes:
    return b"".join(
        _REPORT_BLOCK.pack(
            block.ssrc,
            block.fraction_lost,
            (block.packets_lost & 0xFF_FFFF).to_bytes(3, "big"),
            block.highest_sequence,
            block.jitter,
            block.last_sr,
            block.delay_since_last_sr,
        )
        for block in reports
    )


def serialize_rtcp(packet: RtcpPacket) -> bytes:
    """One RTCP packet as octets; a compound packet is their concatenation."""
    match packet:
        case SenderReport():
            info = _SENDER_INFO.pack(
                packet.ssrc,
                packet.ntp,
                packet.rtp_timestamp,
                packet.packet_count,
                packet.octet_count,
            )
            return rtcp_packet(len(packet.reports), RTCP_SR, info + _serialize_blocks(packet.reports))
        case ReceiverReport():
            body = packet.ssrc.to_bytes(4, "big") + _serialize_blocks(packet.reports)
            return rtcp_packet(len(packet.reports), RTCP_RR, body)
        case SourceDescription():
            name = packet.cname.encode()[:255]
            chunk = packet.ssrc.to_bytes(4, "big") + bytes((1, len(name))) + name
            # At least one null octet ends the items, up to the next 32-bit boundary (section 6.5).
            return rtcp_packet(1, RTCP_SDES, chunk + bytes(4 - len(chunk) % 4))
        case Goodbye():
            body = b"".join(ssrc.to_bytes(4, "big") for ssrc in packet.ssrcs)
            return rtcp_packet(len(packet.ssrcs), RTCP_BYE, body)
        case _:
            return serialize_feedback(packet)
