"""A baseline JPEG file as RTP payloads, its quantization tables in band (RFC 2435)."""

from dataclasses import dataclass
from struct import Struct

from ingest.simulated.payloads import MAX_PAYLOAD_BYTES

_SOI, _EOI, _SOS, _DQT, _SOF0 = 0xD8, 0xD9, 0xDA, 0xDB, 0xC0
_HEADER = Struct("!B3sBBBB")  # type-specific, fragment offset, type, Q, width / 8, height / 8 (section 3.1)
_TABLE_HEADER = Struct("!BBH")  # MBZ, precision, length (section 3.1.8)
_TYPE_420 = 1  # section 4.1
_Q_IN_BAND = 255  # tables of its own in every frame (section 4.2)
_LUMA_420 = 0x22  # sampling factors 2x2


@dataclass(frozen=True, slots=True)
class _Picture:
    width: int
    height: int
    tables: tuple[bytes, bytes]
    "Quantization of luma and chroma, 64 octets each in zigzag order."
    scan: bytes
    "Entropy-coded data without the EOI marker."


def _read(jpeg: bytes) -> _Picture:
    """Walks the segments up to the scan; raises ValueError for what RFC 2435 does not carry."""
    tables: dict[int, bytes] = {}
    width = height = 0
    selectors: list[int] = []
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        body = jpeg[at + 4 : end]
        if marker == _DQT:
            for start in range(0, len(body), 65):
                if body[start] >> 4:
                    raise ValueError("JPEG has 16-bit quantization tables")
                tables[body[start]] = body[start + 1 : start + 65]
        elif marker == _SOF0:
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            if body[5] != 3 or body[7] != _LUMA_420:
                raise ValueError("JPEG is not 4:2:0")
            selectors = [body[8], body[11]]
        elif marker == _SOS:
            scan = jpeg[end:].removesuffix(bytes((0xFF, _EOI)))
            return _Picture(width, height, (tables[selectors[0]], tables[selectors[1]]), scan)
        at = end
    raise ValueError("JPEG without a baseline scan")


def jpeg_payloads(jpeg: bytes) -> list[bytes]:
    """Payloads of one picture with the Huffman tables of RFC 2435 appendix B; raises ValueError."""
    picture = _read(jpeg)
    luma, chroma = picture.tables
    tables = _TABLE_HEADER.pack(0, 0, len(luma + chroma)) + luma + chroma
    payloads = []
    offset = 0
    while offset < len(picture.scan):
        head = _HEADER.pack(
            *(0, offset.to_bytes(3, "big"), _TYPE_420, _Q_IN_BAND, picture.width // 8, picture.height // 8)
        )
        if offset == 0:
            head += tables
        piece = picture.scan[offset : offset + MAX_PAYLOAD_BYTES - len(head)]
        payloads.append(head + piece)
        offset += len(piece)
    return payloads
