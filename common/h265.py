"""H.265 syntax as far as a relay needs it: NAL types and sequence parameter sets (ITU-T H.265).

Annex B is that of H.264: `common.h264.split_annex_b`.
"""

from dataclasses import dataclass

from common.errors import PeerError

# Table 7-1. Of the slices up to 15 the even types are sub-layer non-reference pictures (clause 7.4.2.2).
NAL_TRAIL_N = 0
NAL_TRAIL_R = 1
NAL_RASL_N = 8
NAL_RASL_R = 9
NAL_BLA_W_LP = 16
NAL_BLA_N_LP = 18
NAL_IDR_W_RADL = 19
NAL_IDR_N_LP = 20
NAL_CRA = 21
NAL_VPS = 32
NAL_SPS = 33
NAL_PPS = 34
NAL_AUD = 35
NAL_END_OF_SEQUENCE = 36
NAL_END_OF_BITSTREAM = 37
NAL_FILLER = 38
NAL_PREFIX_SEI = 39
NAL_SUFFIX_SEI = 40
# Types above 47 are RTP packet types (RFC 7798 section 4.4).
NAL_AP = 48
NAL_FU = 49
NAL_PACI = 50

NAL_HEADER_BYTES = 2
MAX_SPS_BYTES = 4096

_MAX_SUB_LAYERS = 7  # clause 7.4.3.2.1
_MAX_SPS_ID = 15  # clause 7.4.3.2.1
_MAX_REORDER = 16  # MaxDpbSize (clause A.4.2)
_MAX_SIDE = 16_888  # of level 6.2 (clause A.4.1: the square root of 8 * MaxLumaPs)

_PROFILE_NAMES = {
    1: "Main",
    2: "Main 10",
    3: "Main Still Picture",
    4: "Range Extensions",
    5: "High Throughput",
    6: "Multiview Main",
    7: "Scalable Main",
    8: "3D Main",
    9: "Screen Content Coding",
    10: "Scalable Range Extensions",
    11: "High Throughput Screen Content Coding",
}


class H265Error(PeerError):
    """Bytes that are not valid H.265 syntax."""


@dataclass(frozen=True, slots=True)
class SequenceParameters:
    """What a sequence parameter set says about the pictures (clause 7.4.3.2.1)."""

    profile_id: int
    "general_profile_idc: `profile-id` of RFC 7798 section 7.1."
    tier_flag: int
    "general_tier_flag: 0 is the Main tier, 1 the High tier."
    level_id: int
    "general_level_idc, 30 times the level: 93 is level 3.1."
    width: int
    "Pixels inside the conformance window."
    height: int
    "Pixels inside the conformance window."
    max_reorder_frames: int
    "Frames that may wait for a later one (B-frames), of the highest sub-layer."

    @property
    def profile(self) -> str:
        """Name for people: `Main`, `Main 10`, …"""
        return _PROFILE_NAMES.get(self.profile_id, f"profile {self.profile_id}")

    @property
    def profile_tier_level(self) -> str:
        """As SDP has it (RFC 7798 section 7.1): `profile-id=1;tier-flag=0;level-id=93`."""
        return f"profile-id={self.profile_id};tier-flag={self.tier_flag};level-id={self.level_id}"


def nal_type(nal: bytes) -> int:
    """nal_unit_type of a NAL unit of at least one octet (clause 7.3.1.2)."""
    return nal[0] >> 1 & 0x3F


class _BitReader:
    """Reads a raw byte sequence payload bit by bit (clauses 7.2, 9.2)."""

    def __init__(self, rbsp: bytes) -> None:
        self._value = int.from_bytes(rbsp, "big")
        self._left = len(rbsp) * 8

    def bits(self, count: int) -> int:
        if count > self._left:
            raise H265Error("H.265 SPS ends early")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self, most: int) -> int:
        zeros = 0
        while self.bits(1) == 0:
            zeros += 1
            if zeros > 32:
                raise H265Error("H.265 SPS holds an Exp-Golomb code of more than 32 bits")
        value = (1 << zeros) - 1 + self.bits(zeros)
        if value > most:
            raise H265Error(f"H.265 SPS says {value} where at most {most} is allowed")
        return value


def _skip_sub_layers(reader: _BitReader, count: int) -> None:
    """The sub-layers' part of profile_tier_level (clause 7.3.3)."""
    if not count:
        return
    present = [(reader.bits(1), reader.bits(1)) for _ in range(count)]
    reader.bits(2 * (8 - count))
    for profile, level in present:
        reader.bits(88 * profile + 8 * level)


def parse_sps(nal: bytes) -> SequenceParameters:
    """Parses a sequence parameter set NAL unit (clause 7.3.2.2.1) up to what is asked for here.

    Raises H265Error when it is not one, ends early, or is larger than MAX_SPS_BYTES.
    """
    if len(nal) < 3 or nal_type(nal) != NAL_SPS:
        raise H265Error("not an H.265 sequence parameter set")
    if len(nal) > MAX_SPS_BYTES:
        raise H265Error(f"H.265 SPS of {len(nal)} octets, at most {MAX_SPS_BYTES} are read")
    reader = _BitReader(nal[NAL_HEADER_BYTES:].replace(b"\x00\x00\x03", b"\x00\x00"))
    reader.bits(4)  # sps_video_parameter_set_id
    sub_layers = reader.bits(3) + 1
    if sub_layers > _MAX_SUB_LAYERS:
        raise H265Error(f"H.265 SPS has {sub_layers} sub-layers, at most {_MAX_SUB_LAYERS} exist")
    reader.bits(1 + 2)  # sps_temporal_id_nesting_flag, general_profile_space
    tier_flag = reader.bits(1)
    profile_id = reader.bits(5)
    reader.bits(32 + 48)  # compatibility flags, constraint flags
    level_id = reader.bits(8)
    _skip_sub_layers(reader, sub_layers - 1)
    reader.ue(_MAX_SPS_ID)
    chroma_format_idc = reader.ue(3)
    if chroma_format_idc == 3:
        reader.bits(1)  # separate_colour_plane_flag
    width = reader.ue(_MAX_SIDE)
    height = reader.ue(_MAX_SIDE)
    left = right = top = bottom = 0
    if reader.bits(1):  # conformance_window_flag
        left, right, top, bottom = (reader.ue(_MAX_SIDE) for _ in range(4))
    # The window counts chroma samples (table 6-1).
    window_x = 2 if chroma_format_idc in (1, 2) else 1
    window_y = 2 if chroma_format_idc == 1 else 1
    width -= window_x * (left + right)
    height -= window_y * (top + bottom)
    if width <= 0 or height <= 0:
        raise H265Error(f"H.265 SPS says {width}x{height} pixels")
    reader.ue(8)  # bit_depth_luma_minus8
    reader.ue(8)  # bit_depth_chroma_minus8
    reader.ue(12)  # log2_max_pic_order_cnt_lsb_minus4
    reorder = 0
    for _ in range(sub_layers if reader.bits(1) else 1):  # sps_sub_layer_ordering_info_present_flag
        reader.ue(_MAX_REORDER)  # sps_max_dec_pic_buffering_minus1
        reorder = reader.ue(_MAX_REORDER)
        reader.ue(0xFFFF_FFFE)
    return SequenceParameters(profile_id, tier_flag, level_id, width, height, reorder)
