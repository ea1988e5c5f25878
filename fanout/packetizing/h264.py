"""H.264 NAL units to RTP payloads of packetization mode 1 (RFC 6184): single, STAP-A and FU-A."""

from collections.abc import Iterable

from common.h264 import NAL_AUD, NAL_FILLER, NAL_FU_A, NAL_STAP_A
from fanout.packetizing import nal as packetizer_nal

# The first two carry nothing for a decoder; 0 and those from 24 on are no NAL unit types but packets, or
# nothing (RFC 6184 table 1).
_LEFT_OUT = frozenset({NAL_AUD, NAL_FILLER, 0, *range(NAL_STAP_A, 32)})
_NAL_REF_IDC = 0x60
_F_AND_NAL_REF_IDC = 0xE0
_TYPE = 0x1F


def payloads(nals: Iterable[bytes]) -> list[bytes]:
    """RTP payloads of one access unit; empty when nothing in it is for a decoder."""
    wanted = [nal for nal in nals if nal[0] & _TYPE not in _LEFT_OUT]
    return packetizer_nal.payloads(wanted, 1, _stap_a, _fu_a)


def _stap_a(nals: list[bytes]) -> bytes:
    importance = max(nal[0] & _NAL_REF_IDC for nal in nals)
    return packetizer_nal.aggregated(bytes((importance | NAL_STAP_A,)), nals)


def _fu_a(nal: bytes) -> list[bytes]:
    indicator = bytes((nal[0] & _F_AND_NAL_REF_IDC | NAL_FU_A,))
    return packetizer_nal.fragments(nal, indicator, nal[0] & _TYPE)
