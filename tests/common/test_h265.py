"""H.265 syntax against streams that x265 makes; damaged octets raise H265Error and nothing else."""

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import h265
from common.h264 import split_annex_b

# Main, 642x362 after the conformance window, two pictures of reordering; from x265.
SPS = bytes.fromhex("42010101600000030090000003000003003fa005220171c449965654a4c2f0168080000003008000000c84")
PROFILES = {"Rext": "Range Extensions"}  # as ffprobe says it: as it is said here


def encode(parameters: str, size: str, pixels: str) -> bytes:
    """Three pictures of Annex B from x265."""
    source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-frames:v", "3"]
    codec = ["-pix_fmt", pixels, "-c:v", "libx265", "-preset", "ultrafast"]
    options = ["-x265-params", f"log-level=none:pools=1:{parameters}", "-f", "hevc", "-"]
    command = ["ffmpeg", "-v", "error", *source, *codec, *options]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def probe(stream: bytes) -> dict:
    entries = "stream=width,height,profile,level,has_b_frames"
    command = ["ffprobe", "-v", "error", "-f", "hevc", "-show_entries", entries, "-of", "json", "-"]
    output = subprocess.run(command, input=stream, capture_output=True, check=True, timeout=60).stdout
    return json.loads(output)["streams"][0]


@pytest.mark.parametrize(
    ("size", "pixels", "parameters", "tier"),
    [
        ("640x360", "yuv420p", "bframes=0", 0),
        ("642x362", "yuv420p", "bframes=3:b-adapt=0", 0),
        ("322x242", "yuv420p", "bframes=2:temporal-layers=1", 0),
        ("1920x1080", "yuv420p", "bframes=0:level-idc=51:vbv-maxrate=90000:vbv-bufsize=90000", 1),
        ("176x144", "yuv420p10le", "profile=main10", 0),
        ("322x242", "yuv422p", "", 0),
        ("162x122", "yuv444p", "", 0),
        ("162x122", "gray", "", 0),
        ("640x360", "yuv420p", "hrd=1:vbv-maxrate=500:vbv-bufsize=500:scaling-list=default:sar=7", 0),
        ("640x360", "yuv420p", "display-window=8,8,8,8:range=full:colorprim=bt709", 0),
    ],
)
def test_agrees_with_ffprobe(size: str, pixels: str, parameters: str, tier: int) -> None:
    stream = encode(parameters, size, pixels)
    vps, sps, pps = (nal for nal in split_annex_b(stream) if 32 <= h265.nal_type(nal) <= 34)
    assert [h265.nal_type(nal) for nal in (vps, sps, pps)] == [h265.NAL_VPS, h265.NAL_SPS, h265.NAL_PPS]
    parsed = h265.parse_sps(sps)
    expected = probe(stream)
    assert (parsed.width, parsed.height) == (expected["width"], expected["height"])
    assert f"{parsed.width}x{parsed.height}" == size
    assert parsed.profile == PROFILES.get(expected["profile"], expected["profile"])
    assert parsed.level_id == expected["level"]
    assert parsed.tier_flag == tier
    assert parsed.max_reorder_frames == expected["has_b_frames"]


def test_known_sps() -> None:
    expected = h265.SequenceParameters(1, 0, 63, 642, 362, 2)
    assert h265.parse_sps(SPS) == expected
    assert expected.profile == "Main"
    assert expected.profile_tier_level == "profile-id=1;tier-flag=0;level-id=63"
    for octet, tier, profile in (
        (0x03, 0, "Main Still Picture"),
        (0x22, 1, "Main 10"),
        (0x1F, 0, "profile 31"),
    ):
        parsed = h265.parse_sps(SPS[:3] + bytes((octet,)) + SPS[4:])
        assert (parsed.tier_flag, parsed.profile) == (tier, profile)


def sps_with(bits: str) -> bytes:
    """An SPS of 2 sub-layers whose profile and level are in the set, and then these bits."""
    head = "0000001100000010" + "0" * 80 + f"{93:08b}" + "11" + "0" * 14
    head += "10101010" * 12
    every = head + bits
    return b"\x42\x01" + int(every.ljust((len(every) + 7) // 8 * 8, "0"), 2).to_bytes(
        (len(every) + 7) // 8, "big"
    )


def test_sub_layers() -> None:
    # sps_id 0, 4:2:0, 15x15 coded, no window, depths, POC bits; reordering 0 and 1 for the two sub-layers.
    size = "000010000"
    fields = "1010" + size + size + "0111"
    both = sps_with(fields + "1" + "111" + "10101" + "1")
    only_highest = sps_with(fields + "0" + "10101" + "1")
    expected = h265.SequenceParameters(2, 0, 93, 15, 15, 1)
    assert h265.parse_sps(both) == h265.parse_sps(only_highest) == expected


@pytest.mark.parametrize(
    "nal",
    [
        b"",
        b"\x42\x01",
        b"\x40\x01" + SPS[2:],
        SPS[:12],
        b"\x42\x01\x0f" + SPS[3:],  # 8 sub-layers
        sps_with("1" + "00101"),  # chroma_format_idc 4
        sps_with("1" + "010" + "1"),  # width 0
        sps_with("1" + "010" + "0" * 40),
    ],
)
def test_not_an_sps(nal: bytes) -> None:
    with pytest.raises(h265.H265Error):
        h265.parse_sps(nal)


def test_size_limit() -> None:
    with pytest.raises(h265.H265Error, match="at most"):
        h265.parse_sps(SPS + bytes(h265.MAX_SPS_BYTES))


def _parse_or_refuse(nal: bytes) -> None:
    try:
        parsed = h265.parse_sps(nal)
    except h265.H265Error:
        return
    assert 0 < parsed.width <= 16_888
    assert 0 < parsed.height <= 16_888
    assert 0 <= parsed.max_reorder_frames <= 16


@given(st.binary(max_size=200))
def test_any_octets_are_an_sps_or_an_error(data: bytes) -> None:
    _parse_or_refuse(data)
    _parse_or_refuse(b"\x42\x01" + data)
    _parse_or_refuse(SPS[:16] + data)


@given(st.integers(0, len(SPS) * 8 - 1), st.integers(0, len(SPS)))
def test_damaged_sps_is_read_or_refused(bit: int, length: int) -> None:
    damaged = bytearray(SPS)
    damaged[bit // 8] ^= 1 << bit % 8
    _parse_or_refuse(bytes(damaged))
    _parse_or_refuse(bytes(damaged[:length]))
