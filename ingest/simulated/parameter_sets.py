"""Parameter sets: which NAL units they are; as fmtp of SDP (RFC 6184 section 8, RFC 7798 section 7)."""

import base64
from collections.abc import Sequence

from common.h264 import NAL_PPS, NAL_SPS, nal_type
from ingest.simulated.options import VideoCodec

H265_VPS, H265_SPS, H265_PPS = 32, 33, 34  # ITU-T H.265 table 7-1


def _h265_type(nal: bytes) -> int:
    return nal[0] >> 1 & 0x3F


def is_parameter_set(codec: VideoCodec, nal: bytes) -> bool:
    """VPS, SPS or PPS."""
    if codec == "h265":
        return _h265_type(nal) in (H265_VPS, H265_SPS, H265_PPS)
    return codec == "h264" and nal_type(nal) in (NAL_SPS, NAL_PPS)


def video_parameters(codec: VideoCodec, parameter_sets: Sequence[bytes]) -> str | None:
    """fmtp of the payload format; None where it has none."""
    if codec == "h264":
        sps = next(nal for nal in parameter_sets if nal_type(nal) == NAL_SPS)
        return (
            f"packetization-mode=1;profile-level-id={sps[1:4].hex().upper()};"
            f"sprop-parameter-sets={_base64(parameter_sets)}"
        )
    if codec == "h265":
        return ";".join(
            f"sprop-{name}={_base64([nal for nal in parameter_sets if _h265_type(nal) == kind])}"
            for name, kind in (("vps", H265_VPS), ("sps", H265_SPS), ("pps", H265_PPS))
        )
    return None


def _base64(nals: Sequence[bytes]) -> str:
    return ",".join(base64.b64encode(nal).decode() for nal in nals)
