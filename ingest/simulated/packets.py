"""NAL units into RTP packets: single NAL unit and FU-A (RFC 6184 sections 5.6, 5.8)."""

from collections.abc import Sequence

from common.h264 import NAL_FU_A
from common.rtp import RtpPacket, serialize_rtp

PAYLOAD_TYPE = 96
MAX_PAYLOAD_BYTES = 1400  # under an Ethernet MTU with IP, UDP and RTP headers, as cameras do
_START, _END = 0x80, 0x40


def payloads(nal: bytes) -> list[bytes]:
    """RTP payloads of one NAL unit: itself, or its fragments where it is larger than one packet."""
    if len(nal) <= MAX_PAYLOAD_BYTES:
        return [nal]
    room = MAX_PAYLOAD_BYTES - 2
    indicator = nal[0] & 0xE0 | NAL_FU_A
    kind = nal[0] & 0x1F
    pieces = [nal[at : at + room] for at in range(1, len(nal), room)]
    last = len(pieces) - 1
    return [
        bytes((indicator, kind | (_START if index == 0 else 0) | (_END if index == last else 0))) + piece
        for index, piece in enumerate(pieces)
    ]


class RtpStream:
    """One RTP source: counts sequence numbers, packets and octets."""

    def __init__(self, ssrc: int, sequence: int) -> None:
        self.ssrc = ssrc
        self.sequence = sequence
        "Of the next packet."
        self.packet_count = 0
        self.octet_count = 0

    def packets(self, nals: Sequence[bytes], timestamp: int) -> list[bytes]:
        """The RTP packets of one access unit, the marker on the last (RFC 6184 section 5.1)."""
        bodies = [payload for nal in nals for payload in payloads(nal)]
        packets = []
        for index, body in enumerate(bodies, 1):
            packet = RtpPacket(
                payload_type=PAYLOAD_TYPE,
                marker=index == len(bodies),
                sequence=self.sequence,
                timestamp=timestamp,
                ssrc=self.ssrc,
                payload=body,
            )
            packets.append(serialize_rtp(packet))
            self.sequence = (self.sequence + 1) & 0xFFFF
            self.packet_count = (self.packet_count + 1) & 0xFFFF_FFFF
            self.octet_count = (self.octet_count + len(body)) & 0xFFFF_FFFF
        return packets
