"""RTP payloads to JPEG files (RFC 2435): the headers that RTP leaves out are put in front of the scan.

Cameras that disobey, and what is done about it:

- Pictures above 2040 pixels, for which the header has no room (section 3.1.5): 0, or the size modulo 2048.
  SDP may have the true size (`a=framesize`, `a=x-dimensions`); sizes that go2rtc met are known without it.
- Three quantization tables (v4l2rtspserver #361): the second is that of both chroma components.
- Tables in band once, then of length 0 (sections 3.1.8, 4.2): kept for each Q.
- No marker: the timestamp changes, or a fragment begins the next picture.

A picture with a fragment missing is dropped. Every picture stands alone, so that leaves no gap.
"""

from functools import lru_cache
from struct import Struct

from common.errors import CameraRefusal
from ingest.codecs.frame import DepacketizerError, Frame, VideoParameters

MAX_PICTURE_BYTES = 8 << 20
_FRAGMENT_COST_BYTES = 64  # what Python keeps for each besides its octets; many small ones add up

_MAIN = Struct("!IBBBB")  # section 3.1: type-specific and fragment offset, type, Q, width, height
_RESTART_BYTES = 4  # section 3.1.7
_TABLES_BYTES = 4  # section 3.1.8
_RESTART_TYPES = 64  # added to the type
_SAMPLING = {0: 0x21, 1: 0x22}  # section 4.1: of luma, horizontal and vertical
_IN_BAND = 128  # Q from here on: quantization tables in the first fragment
_IN_BAND_ALWAYS = 255
_LARGEST_COMPUTED_Q = 99
_BLOCK = 8  # pixels; the unit of width and height

# Seen by go2rtc: what remains of the size modulo 2048, and what it was.
_WRAPPED_SIZES = {
    (512, 1920): (2560, 1920),
    (512, 1440): (2560, 1440),
    (1792, 112): (3840, 2160),
    (256, 1296): (2304, 1296),
}

# ITU-T T.81 tables K.1 and K.2 in zigzag order, as DQT has them: quality 50.
_LUMA_QUANTIZER = bytes.fromhex(
    "100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c3933"
    "383740485c4e404457453738506d51575f626768673e4d71797064785c656763"
)
_CHROMA_QUANTIZER = bytes.fromhex("1112121815182f1a1a2f63423842") + bytes([99]) * 50

# ITU-T T.81 tables K.3 to K.6 as one DHT segment: class and identifier, codes of each length, values.
_HUFFMAN = (
    b"\xff\xc4\x01\xa2"
    + bytes.fromhex("00 00010501010101010100000000000000 000102030405060708090a0b")
    + bytes.fromhex("01 00030101010101010101010000000000 000102030405060708090a0b")
    + bytes.fromhex(
        "10 0002010303020403050504040000017d"
        "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728"
        "292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a83848586878889"
        "8a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2"
        "e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
    )
    + bytes.fromhex(
        "11 00020102040403040705040400010277"
        "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a26"
        "2728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a828384858687"
        "88898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9da"
        "e2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
    )
)
_JFIF = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_SCAN = b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"
_END = b"\xff\xd9"


class JpegRefusal(DepacketizerError, CameraRefusal):
    """The camera sends JPEG in a way that RFC 2435 does not describe."""


def _quantization(precision: int, tables: bytes) -> tuple[bytes, ...]:
    """DQT segments of the first one or two tables; bit n of `precision` says that table n has 16 bits."""
    segments = []
    for number in range(2):
        wide = precision >> number & 1
        size = 128 if wide else 64
        if len(tables) < size:
            break
        segments.append(
            b"\xff\xdb" + (3 + size).to_bytes(2, "big") + bytes((wide << 4 | number,)) + tables[:size]
        )
        tables = tables[size:]
    return tuple(segments)


@lru_cache(_LARGEST_COMPUTED_Q)
def _computed(q: int) -> tuple[bytes, ...]:
    """Of Q 1 to 99 (section 4.2)."""
    scale = 5000 // q if q < 50 else 200 - 2 * q
    both = _LUMA_QUANTIZER + _CHROMA_QUANTIZER
    return _quantization(0, bytes(min(max((value * scale + 50) // 100, 1), 255) for value in both))


def _headers(
    sampling: int, width: int, height: int, quantization: tuple[bytes, ...], restart_interval: int
) -> bytes:
    """Everything of the file up to its scan (appendix B)."""
    chroma = len(quantization) - 1
    wide = any(segment[4] >> 4 for segment in quantization)
    frame = (
        (b"\xff\xc1" if wide else b"\xff\xc0")  # 16-bit tables are not of the baseline process (T.81 B.2.4.1)
        + b"\x00\x11\x08"
        + height.to_bytes(2, "big")
        + width.to_bytes(2, "big")
        + bytes((3, 1, sampling, 0, 2, 0x11, chroma, 3, 0x11, chroma))
    )
    restart = b"\xff\xdd\x00\x04" + restart_interval.to_bytes(2, "big") if restart_interval else b""
    return b"".join((_JFIF, *quantization, frame, _HUFFMAN, restart, _SCAN))


class JpegDepacketizer:
    """`push` packets in order, then take whole `frames`: one JFIF file each, always a keyframe.

    `size` is the pictures' width and height in pixels, if SDP says it. Raises DepacketizerError when a
    picture passes 8 MiB, JpegRefusal for types that RFC 2435 does not define and where no size is known;
    everything else that is broken is dropped and counted in `damaged`.
    """

    def __init__(self, size: tuple[int, int] | None = None) -> None:
        self.damaged = 0
        "Pictures dropped because a part was missing or broken."
        self.parameters: VideoParameters | None = None
        self._size = size
        self._tables: dict[int, tuple[bytes, ...]] = {}
        self._timestamp: int | None = None
        self._damaged_timestamp: int | None = None
        self._arrival_ns = 0
        self._parts: list[bytes] = []
        self._offset = -1
        "Of the fragment that comes next; -1 between pictures."
        self._room = 0
        self._frames: list[Frame] = []

    def push(
        self, timestamp: int, marker: bool, payload: bytes, arrival_ns: int, after_loss: bool = False
    ) -> None:
        """Takes the next RTP packet; `after_loss` when packets before it are missing."""
        if self._parts and after_loss:
            self._damage()
        if timestamp != self._timestamp:
            if self._parts:
                self._complete()
            self._timestamp = timestamp
        self._arrival_ns = arrival_ns
        if len(payload) < _MAIN.size:
            self._damage()
            return
        head, kind, q, width, height = _MAIN.unpack_from(payload)
        offset = head & 0xFF_FFFF
        start = _MAIN.size
        if kind & _RESTART_TYPES:
            start += _RESTART_BYTES
        if offset == 0:
            if self._parts:
                self._complete()
            start = self._begin(payload, start, kind, q, self._true_size(width * _BLOCK, height * _BLOCK))
        if offset != self._offset:
            self._damage()
            return
        data = payload[start:]
        self._parts.append(data)
        self._offset += len(data)
        self._room -= len(data) + _FRAGMENT_COST_BYTES
        if self._room < 0:
            raise DepacketizerError(
                f"camera sends a JPEG picture of {self._offset} octets in {len(self._parts) - 1} fragments "
                f"at RTP timestamp {self._timestamp}; at most {MAX_PICTURE_BYTES} octets are taken"
            )
        if marker:
            self._complete()

    def frames(self) -> list[Frame]:
        """The pictures that were completed since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def _begin(self, payload: bytes, start: int, kind: int, q: int, size: tuple[int, int]) -> int:
        """Reads the headers of a first fragment; gives where its data begins. Broken: the offset stays -1."""
        sampling = _SAMPLING.get(kind & ~_RESTART_TYPES)
        if sampling is None:
            raise JpegRefusal(
                f"camera sends JPEG over RTP of type {kind}, only 0, 1, 64 and 65 are read; "
                "set it to 4:2:0 colour sampling, or to H.264"
            )
        interval = int.from_bytes(payload[_MAIN.size : _MAIN.size + 2], "big") if kind & _RESTART_TYPES else 0
        quantization: tuple[bytes, ...] = ()
        if 0 < q <= _LARGEST_COMPUTED_Q:
            quantization = _computed(q)
        elif q >= _IN_BAND:
            header = payload[start : start + _TABLES_BYTES]
            start += _TABLES_BYTES
            length = int.from_bytes(header[2:], "big")
            if len(payload) < start + length:
                return start
            if length:
                quantization = _quantization(header[1], payload[start : start + length])
                start += length
                if quantization:
                    self._tables[q] = quantization
            elif q != _IN_BAND_ALWAYS:
                quantization = self._tables.get(q, ())
        if quantization:
            self._parts = [_headers(sampling, *size, quantization, interval)]
            self._offset = 0
            self._room = MAX_PICTURE_BYTES
            if self.parameters is None or (self.parameters.width, self.parameters.height) != size:
                self.parameters = VideoParameters("Baseline", None, *size, 0)
        return start

    def _true_size(self, width: int, height: int) -> tuple[int, int]:
        """From that in the header, in pixels; raises JpegRefusal."""
        if self._size is not None:
            given_width, given_height = self._size
            # The header's is rounded up to whole blocks; SDP may be of another resolution.
            if width in (0, _in_header(given_width)) and height in (0, _in_header(given_height)):
                return self._size
        elif (width, height) in _WRAPPED_SIZES:
            return _WRAPPED_SIZES[width, height]
        if not width or not height:
            raise JpegRefusal(
                "camera sends JPEG pictures of more than 2040 pixels without their size in SDP; RTP has no "
                "room for it (RFC 2435 section 3.1.5); set a smaller resolution, or H.264"
            )
        return width, height

    def _damage(self) -> None:
        """Drops the picture under way, counted once."""
        self._parts = []
        self._offset = -1
        if self._timestamp != self._damaged_timestamp:
            self._damaged_timestamp = self._timestamp
            self.damaged += 1

    def _complete(self) -> None:
        assert self._timestamp is not None
        if self._offset == 0:
            self._damage()
            return
        if not self._parts[-1].endswith(_END):
            self._parts.append(_END)
        picture = b"".join(self._parts)
        self._parts = []
        self._offset = -1
        self._frames.append(Frame(self._timestamp, self._arrival_ns, True, False, (picture,)))


def _in_header(pixels: int) -> int:
    """What the header of RFC 2435 says for this width or height."""
    return -(-pixels // _BLOCK) % 256 * _BLOCK
