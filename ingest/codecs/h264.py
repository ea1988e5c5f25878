"""RTP payloads to whole H.264 access units (RFC 6184 sections 5.6, 5.7.1, 5.8); see nal_depacketizer.py."""

from common.h264 import (
    NAL_AUD,
    NAL_FILLER,
    NAL_FU_A,
    NAL_IDR,
    NAL_SLICE,
    NAL_SPS,
    NAL_STAP_A,
    parse_sps,
)
from ingest.codecs import parameter_sets as sets
from ingest.codecs.frame import VideoParameters
from ingest.codecs.nal_depacketizer import NalDepacketizer, NalSyntax

_NAL_REF_IDC = 0x60

_SYNTAX = NalSyntax(
    header_bytes=1,
    type_mask=0x1F,
    type_shift=0,
    nal_types=range(1, NAL_STAP_A),
    slices=range(NAL_SLICE, NAL_IDR + 1),
    keyframes=(NAL_IDR,),
    left_out=(NAL_AUD, NAL_FILLER),
    parameter_sets=sets.H264,
    sps=NAL_SPS,
    aggregate=NAL_STAP_A,
    fragment=NAL_FU_A,
    # RFC 6184 table 1: STAP-B, MTAP and FU-B belong to the interleaved mode.
    not_read=(25, 26, 27, 29),
)


class H264Depacketizer(NalDepacketizer):
    """H.264: keyframes are IDR pictures; nal_ref_idc says whether others refer to a picture."""

    def __init__(self, parameter_sets: tuple[bytes, ...] = ()) -> None:
        super().__init__(_SYNTAX, parameter_sets)

    def _is_reference(self, kind: int, head: bytes) -> bool:
        return head[0] & _NAL_REF_IDC != 0

    def _read_sps(self, nal: bytes) -> VideoParameters:
        found = parse_sps(nal)
        return VideoParameters(
            found.profile, found.profile_level_id, found.width, found.height, found.max_reorder_frames
        )
