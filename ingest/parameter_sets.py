"""The H.264 parameter sets in force, by their ids (ITU-T H.264 clauses 7.3.2.1.1, 7.3.2.2)."""

from collections.abc import Iterable

from common.h264 import NAL_PPS, NAL_SPS

MAX_BYTES = 4096
MAX_SPS_ID = 31  # clause 7.4.2.1.1
MAX_PPS_ID = 255  # clause 7.4.2.2
_MAX_EXP_GOLOMB_ZEROS = 8  # enough for 255


def _first_ue(octets: bytes) -> int | None:
    """The Exp-Golomb code (clause 9.1) that the octets begin with, None when it is cut off or large."""
    head = octets[:4]
    bits = int.from_bytes(head, "big")
    size = 8 * len(head)
    zeros = size - bits.bit_length()
    if zeros > _MAX_EXP_GOLOMB_ZEROS or 2 * zeros + 1 > size:
        return None
    return (bits >> (size - 2 * zeros - 1)) - 1


class ParameterSets:
    """Keeps the newest SPS and PPS of each id."""

    def __init__(self, nals: Iterable[bytes] = ()) -> None:
        self._sps: dict[int, bytes] = {}
        self._pps: dict[int, bytes] = {}
        for nal in nals:
            self.add(nal)

    def add(self, nal: bytes) -> bool:
        """Takes an SPS or PPS; False when it is broken or larger than MAX_BYTES."""
        is_sps = nal[0] & 0x1F == NAL_SPS
        assert is_sps or nal[0] & 0x1F == NAL_PPS
        number = _first_ue(nal[4:8] if is_sps else nal[1:5])
        if number is None or number > (MAX_SPS_ID if is_sps else MAX_PPS_ID) or len(nal) > MAX_BYTES:
            return False
        (self._sps if is_sps else self._pps)[number] = nal
        return True

    @property
    def complete(self) -> bool:
        """True when there is at least one of each kind, without which nothing decodes."""
        return bool(self._sps and self._pps)

    def nals(self) -> tuple[bytes, ...]:
        """Every SPS, then every PPS."""
        return (*self._sps.values(), *self._pps.values())
