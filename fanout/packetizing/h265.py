"""H.265 NAL units to RTP payloads without DONL fields (RFC 7798): single, AP and FU."""

from collections.abc import Iterable

from common.h265 import NAL_AP, NAL_AUD, NAL_FILLER, NAL_FU, NAL_HEADER_BYTES
from fanout.packetizing import nal as packetizer_nal

# The first two carry nothing for a decoder; those from 48 on are no NAL units of the standard but packets,
# or unspecified (RFC 7798 section 4.4, ITU-T H.265 table 7-1).
_LEFT_OUT = frozenset({NAL_AUD, NAL_FILLER, *range(NAL_AP, 64)})
# The header: F (1 bit), Type (6), LayerId (6), TID (3) (RFC 7798 section 1.1.4).
_F_AND_LAYER_ID_HIGH = 0x81
_LAYER_ID = 0x01F8
_TID = 0x07


def payloads(nals: Iterable[bytes]) -> list[bytes]:
    """RTP payloads of one access unit; empty when nothing in it is for a decoder."""
    wanted = [nal for nal in nals if len(nal) >= NAL_HEADER_BYTES and nal[0] >> 1 & 0x3F not in _LEFT_OUT]
    return packetizer_nal.payloads(wanted, NAL_HEADER_BYTES, _ap, _fu)


def _ap(nals: list[bytes]) -> bytes:
    """LayerId and TID are the lowest of those inside."""
    headers = [int.from_bytes(nal[:NAL_HEADER_BYTES], "big") for nal in nals]
    layer_id = min(header & _LAYER_ID for header in headers)
    tid = min(header & _TID for header in headers)
    return packetizer_nal.aggregated((NAL_AP << 9 | layer_id | tid).to_bytes(NAL_HEADER_BYTES, "big"), nals)


def _fu(nal: bytes) -> list[bytes]:
    indicator = bytes((nal[0] & _F_AND_LAYER_ID_HIGH | NAL_FU << 1, nal[1]))
    return packetizer_nal.fragments(nal, indicator, nal[0] >> 1 & 0x3F)
