"""NAL units as containers hold them: behind their length, parameter sets apart (ISO/IEC 14496-15)."""

from dataclasses import dataclass

from common.errors import CameraError
from common.h264 import split_annex_b

MAX_PARAMETER_SETS = 64


class PacketError(CameraError):
    """A packet, or a codec's configuration, that is not what its container says."""


@dataclass(frozen=True, slots=True)
class NalFormat:
    """How a container writes NAL units."""

    length_bytes: int
    "In front of each; 0 where start codes separate them (Annex B)."
    parameter_sets: tuple[bytes, ...]

    def split(self, data: bytes) -> list[bytes]:
        """The NAL units of one packet; raises PacketError where a length passes its end."""
        size = self.length_bytes
        if not size:
            return split_annex_b(data)
        nals = []
        position = 0
        while position < len(data):
            start = position + size
            position = start + int.from_bytes(data[position:start], "big")
            if start > len(data) or position > len(data):
                raise PacketError(f"NAL unit passes the end of its packet of {len(data)} octets")
            if position > start:
                nals.append(data[start:position])
        return nals


def _take_sets(data: bytes, position: int, count: int, found: list[bytes]) -> int:
    """Reads `count` parameter sets with 16-bit lengths; gives the position behind them."""
    if position > len(data):
        raise PacketError("camera's decoder configuration is cut off")
    for _ in range(count):
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or position > len(data) or len(found) == MAX_PARAMETER_SETS:
            raise PacketError("camera's decoder configuration is cut off")
        if position > start:
            found.append(data[start:position])
    return position


def nal_format(codec: str, extradata: bytes) -> NalFormat:
    """Reads avcC or hvcC (ISO/IEC 14496-15 clauses 5.3.3.1, 8.3.3.1), or Annex B parameter sets.

    Raises PacketError.
    """
    if not extradata or extradata[:3] == b"\0\0\1" or extradata[:4] == b"\0\0\0\1":
        return NalFormat(0, tuple(split_annex_b(extradata)))
    found: list[bytes] = []
    if codec == "H264":
        if len(extradata) < 7:
            raise PacketError("camera's decoder configuration is cut off")
        length_bytes = (extradata[4] & 0x03) + 1
        position = _take_sets(extradata, 6, extradata[5] & 0x1F, found)
        _take_sets(extradata, position + 1, int.from_bytes(extradata[position : position + 1], "big"), found)
        return NalFormat(length_bytes, tuple(found))
    if len(extradata) < 23:
        raise PacketError("camera's decoder configuration is cut off")
    length_bytes = (extradata[21] & 0x03) + 1
    position = 23
    for _ in range(extradata[22]):
        count = int.from_bytes(extradata[position + 1 : position + 3], "big")
        position = _take_sets(extradata, position + 3, count, found)
    return NalFormat(length_bytes, tuple(found))
