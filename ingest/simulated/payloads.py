"""NAL units and AAC frames as RTP payloads (RFC 6184 section 5, RFC 7798 section 4.4, RFC 3640 section 3)."""

from common.h264 import NAL_FU_A

MAX_PAYLOAD_BYTES = 1400  # under an Ethernet MTU with IP, UDP and RTP headers, as cameras do
H265_FU = 49
_START, _END = 0x80, 0x40
_AU_INDEX_BITS = 3  # indexlength of AAC-hbr (RFC 3640 section 3.3.6)


def _fragments(nal: bytes, header: bytes, kind: int, skip: int) -> list[bytes]:
    """The NAL unit without its `skip` octets of header, in pieces behind `header` and an FU header."""
    room = MAX_PAYLOAD_BYTES - len(header) - 1
    pieces = [nal[at : at + room] for at in range(skip, len(nal), room)]
    last = len(pieces) - 1
    return [
        header + bytes((kind | (_START if index == 0 else 0) | (_END if index == last else 0),)) + piece
        for index, piece in enumerate(pieces)
    ]


def h264_payloads(nal: bytes) -> list[bytes]:
    """A NAL unit as it is, or as FU-A where it is larger than one packet (RFC 6184 sections 5.6, 5.8)."""
    if len(nal) <= MAX_PAYLOAD_BYTES:
        return [nal]
    return _fragments(nal, bytes((nal[0] & 0xE0 | NAL_FU_A,)), nal[0] & 0x1F, skip=1)


def h265_payloads(nal: bytes) -> list[bytes]:
    """A NAL unit as it is, or as FUs where it is larger than one packet (RFC 7798 sections 4.4.1, 4.4.3)."""
    if len(nal) <= MAX_PAYLOAD_BYTES:
        return [nal]
    header = bytes((nal[0] & 0x81 | H265_FU << 1, nal[1]))
    return _fragments(nal, header, nal[0] >> 1 & 0x3F, skip=2)


def aac_payload(frame: bytes) -> bytes:
    """One AAC frame in AAC-hbr mode: the length of one AU header in bits, the header, the frame."""
    return (16).to_bytes(2, "big") + (len(frame) << _AU_INDEX_BITS).to_bytes(2, "big") + frame
