"""H.264 syntax as far as a relay needs it: NAL types, Annex B, sequence parameter sets (ITU-T H.264)."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import PeerError

NAL_SLICE = 1
NAL_IDR = 5
NAL_SEI = 6
NAL_SPS = 7
NAL_PPS = 8
NAL_AUD = 9
NAL_END_OF_SEQUENCE = 10
NAL_FILLER = 12
# Types above 23 are RTP packet types (RFC 6184 table 1).
NAL_STAP_A = 24
NAL_FU_A = 28

MAX_SPS_BYTES = 4096

# Profiles whose SPS carries chroma_format_idc and what follows (clause 7.3.2.1.1).
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})

_PROFILE_NAMES = {
    66: "Baseline",
    77: "Main",
    88: "Extended",
    100: "High",
    110: "High 10",
    122: "High 4:2:2",
}


class H264Error(PeerError):
    """Bytes that are not valid H.264 syntax."""


@dataclass(frozen=True, slots=True)
class SequenceParameters:
    """What a sequence parameter set says about the picture (clause 7.4.2.1.1)."""

    profile_level_id: str
    "Six hex digits: profile_idc, constraint flags, level_idc (RFC 6184 section 8.1)."
    width: int
    "Pixels after cropping."
    height: int
    "Pixels after cropping."
    max_reorder_frames: int | None
    "Frames that may wait for a later one (B-frames); None when the SPS does not say."

    @property
    def profile(self) -> str:
        """Name for people: `Constrained Baseline`, `Main`, `High`, …"""
        profile_idc = int(self.profile_level_id[:2], 16)
        if profile_idc == 66 and int(self.profile_level_id[2:4], 16) & 0x40:
            return "Constrained Baseline"
        return _PROFILE_NAMES.get(profile_idc, f"profile {profile_idc}")


def nal_type(nal: bytes) -> int:
    """nal_unit_type of a NAL unit of at least one octet (clause 7.3.1)."""
    return nal[0] & 0x1F


def split_annex_b(data: bytes) -> list[bytes]:
    """Splits a byte stream on start codes (Annex B); octets before the first start code are ignored."""
    nals = []
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        begin = start + 3
        start = data.find(b"\x00\x00\x01", begin)
        nal = data[begin : start if start >= 0 else len(data)].rstrip(b"\x00")
        if nal:
            nals.append(nal)
    return nals


def parameter_sets(nals: Sequence[bytes]) -> tuple[bytes, ...]:
    """The SPS and PPS among the NAL units, in their order."""
    return tuple(nal for nal in nals if nal[0] & 0x1F in (NAL_SPS, NAL_PPS))


class _BitReader:
    """Reads a raw byte sequence payload bit by bit (clauses 7.2, 9.1)."""

    def __init__(self, rbsp: bytes) -> None:
        self._value = int.from_bytes(rbsp, "big")
        self._left = len(rbsp) * 8

    def bits(self, count: int) -> int:
        if count > self._left:
            raise H264Error("H.264 SPS ends early")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        zeros = 0
        while self.bits(1) == 0:
            zeros += 1
            if zeros > 32:
                raise H264Error("H.264 SPS holds an Exp-Golomb code of more than 32 bits")
        return (1 << zeros) - 1 + self.bits(zeros)

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def _skip_scaling_list(reader: _BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + reader.se()) % 256
        last = following or last


def _max_reorder_frames(reader: _BitReader) -> int | None:
    """Walks the VUI (clause E.1.1) to max_num_reorder_frames."""
    if reader.bits(1) and reader.bits(8) == 255:  # aspect_ratio_idc Extended_SAR
        reader.bits(32)
    if reader.bits(1):  # overscan_info_present_flag
        reader.bits(1)
    if reader.bits(1):  # video_signal_type_present_flag
        reader.bits(4)
        if reader.bits(1):
            reader.bits(24)
    if reader.bits(1):  # chroma_loc_info_present_flag
        reader.ue()
        reader.ue()
    if reader.bits(1):  # timing_info_present_flag
        reader.bits(65)
    hrd = 0
    for _ in range(2):  # NAL, then VCL HRD parameters
        if reader.bits(1):
            hrd = 1
            count = reader.ue() + 1
            if count > 32:
                raise H264Error("H.264 SPS names more than 32 coded picture buffers")
            reader.bits(8)
            for _ in range(count):
                reader.ue()
                reader.ue()
                reader.bits(1)
            reader.bits(20)
    if hrd:
        reader.bits(1)  # low_delay_hrd_flag
    reader.bits(1)  # pic_struct_present_flag
    if not reader.bits(1):  # bitstream_restriction_flag
        return None
    reader.bits(1)
    for _ in range(4):
        reader.ue()
    return reader.ue()


def parse_sps(nal: bytes) -> SequenceParameters:
    """Parses a sequence parameter set NAL unit (clause 7.3.2.1.1).

    Raises H264Error when it is not one, ends early, or is larger than MAX_SPS_BYTES.
    """
    if len(nal) < 4 or nal_type(nal) != NAL_SPS:
        raise H264Error("not an H.264 sequence parameter set")
    if len(nal) > MAX_SPS_BYTES:
        raise H264Error(f"H.264 SPS of {len(nal)} octets, at most {MAX_SPS_BYTES} are read")
    reader = _BitReader(nal[1:].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile_idc = reader.bits(8)
    constraints = reader.bits(8)
    level_idc = reader.bits(8)
    reader.ue()  # seq_parameter_set_id
    chroma_format_idc = 1
    separate_colour_plane = 0
    if profile_idc in _HIGH_PROFILES:
        chroma_format_idc = reader.ue()
        if chroma_format_idc > 3:
            raise H264Error(f"H.264 SPS has chroma_format_idc {chroma_format_idc}, 0 to 3 exist")
        if chroma_format_idc == 3:
            separate_colour_plane = reader.bits(1)
        reader.ue()
        reader.ue()
        reader.bits(1)
        if reader.bits(1):  # seq_scaling_matrix_present_flag
            for index in range(8 if chroma_format_idc != 3 else 12):
                if reader.bits(1):
                    _skip_scaling_list(reader, 16 if index < 6 else 64)
    reader.ue()  # log2_max_frame_num_minus4
    pic_order_cnt_type = reader.ue()
    if pic_order_cnt_type == 0:
        reader.ue()
    elif pic_order_cnt_type == 1:
        reader.bits(1)
        reader.se()
        reader.se()
        count = reader.ue()
        if count > 255:
            raise H264Error("H.264 SPS has more than 255 reference frames in its order cycle")
        for _ in range(count):
            reader.se()
    reader.ue()  # max_num_ref_frames
    reader.bits(1)
    width_mbs = reader.ue() + 1
    height_units = reader.ue() + 1
    frame_mbs_only = reader.bits(1)
    if not frame_mbs_only:
        reader.bits(1)
    reader.bits(1)
    crop_left = crop_right = crop_top = crop_bottom = 0
    if reader.bits(1):
        crop_left, crop_right, crop_top, crop_bottom = (reader.ue() for _ in range(4))
    reorder = _max_reorder_frames(reader) if reader.bits(1) else None
    # Crop units by chroma format (table 6-1 and equations 7-19 to 7-22).
    monochrome = chroma_format_idc == 0 or separate_colour_plane
    crop_x = 1 if monochrome or chroma_format_idc == 3 else 2
    crop_y = (2 if chroma_format_idc == 1 and not monochrome else 1) * (2 - frame_mbs_only)
    width = width_mbs * 16 - crop_x * (crop_left + crop_right)
    height = (2 - frame_mbs_only) * height_units * 16 - crop_y * (crop_top + crop_bottom)
    if not (0 < width <= 16_384 and 0 < height <= 16_384):
        raise H264Error(f"H.264 SPS says {width}x{height} pixels")
    return SequenceParameters(
        profile_level_id=f"{profile_idc:02x}{constraints:02x}{level_idc:02x}",
        width=width,
        height=height,
        max_reorder_frames=reorder,
    )
