"""Parameter sets in SDP: `sprop-…` of H.264 (RFC 6184 section 8.1) and H.265 (RFC 7798 section 7.1)."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping

from common.h264 import NAL_PPS, NAL_SPS

_H265_VPS, _H265_SPS, _H265_PPS = 32, 33, 34  # nal_unit_type, ITU-T H.265 table 7-1
# More are of no use: decoders want one or a few of each kind.
MAX_SETS = 64
_START_CODE = re.compile(rb"\x00*\x00\x00\x01")


def _nals(text: str, wanted: Callable[[bytes], bool]) -> tuple[bytes, ...]:
    """What of a comma separated list of base64 is a NAL unit as wanted.

    Cameras are known to write empty entries, no padding, or start codes in front.
    """
    found = []
    for item in text.split(",", MAX_SETS)[:MAX_SETS]:
        digits = item.strip().rstrip("=")
        try:
            nal = base64.b64decode(digits + "=" * (-len(digits) % 4))
        except (binascii.Error, ValueError):
            continue
        if start_code := _START_CODE.match(nal):
            nal = nal[start_code.end() :]
        if len(nal) > 2 and wanted(nal):
            found.append(nal)
    return tuple(found)


def h264_parameter_sets(parameters: Mapping[str, str]) -> tuple[bytes, ...]:
    """SPS and PPS of the fmtp parameters, in their order; what is neither is left out."""
    return _nals(parameters.get("sprop-parameter-sets", ""), lambda nal: nal[0] & 0x1F in (NAL_SPS, NAL_PPS))


def h265_parameter_sets(parameters: Mapping[str, str]) -> tuple[bytes, ...]:
    """VPS, SPS and PPS of the fmtp parameters, in this order; what is none of them is left out."""

    def of_type(name: str, nal_unit_type: int) -> tuple[bytes, ...]:
        return _nals(parameters.get(name, ""), lambda nal: nal[0] >> 1 & 0x3F == nal_unit_type)

    return (
        *of_type("sprop-vps", _H265_VPS),
        *of_type("sprop-sps", _H265_SPS),
        *of_type("sprop-pps", _H265_PPS),
    )
