"""H.264 syntax against streams that x264 makes; damaged octets raise H264Error and nothing else."""

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import h264

# High, 640x360, no VUI; from x264.
SPS = bytes.fromhex("6764001eacd940a02ff9701100000303e90000ea600f162d96")


def encode(*options: str, size: str = "640x360", pixels: str = "yuv420p") -> bytes:
    """Three pictures of Annex B from x264."""
    source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-frames:v", "3", "-pix_fmt", pixels]
    command = ["ffmpeg", "-v", "error", *source, "-c:v", "libx264", *options, "-f", "h264", "-"]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def probe(stream: bytes) -> dict:
    entries = "stream=width,height,profile"
    command = ["ffprobe", "-v", "error", "-f", "h264", "-show_entries", entries, "-of", "json", "-"]
    output = subprocess.run(command, input=stream, capture_output=True, check=True, timeout=60).stdout
    return json.loads(output)["streams"][0]


@pytest.mark.parametrize(
    ("size", "pixels", "options", "reorders"),
    [
        ("640x360", "yuv420p", ["-profile:v", "baseline"], False),
        ("1920x1080", "yuv420p", ["-preset", "ultrafast"], False),
        ("1280x720", "yuv420p", ["-profile:v", "main", "-bf", "2"], True),
        ("640x480", "yuv420p", ["-profile:v", "high", "-bf", "0"], False),
        ("320x180", "yuv420p", ["-x264opts", "cqm=jvt"], True),
        ("322x242", "yuv422p", [], True),
        ("162x122", "yuv444p", [], True),
        ("176x144", "yuv420p10le", [], True),
        ("176x144", "gray", [], True),
        ("720x576", "yuv420p", ["-flags", "+ildct+ilme", "-x264opts", "tff=1"], True),
        ("1920x1080", "yuv420p", ["-preset", "ultrafast", "-x264opts", "tff=1"], False),
        ("640x360", "yuv420p", ["-x264opts", "nal-hrd=cbr:vbv-maxrate=500:vbv-bufsize=500"], True),
        ("640x360", "yuv420p", ["-vf", "setsar=7/11", "-colorspace", "bt709", "-color_range", "pc"], True),
    ],
)
def test_agrees_with_ffprobe(size: str, pixels: str, options: list[str], reorders: bool) -> None:
    stream = encode(*options, size=size, pixels=pixels)
    nals = h264.split_annex_b(stream)
    sps, pps = h264.parameter_sets(nals)
    assert (h264.nal_type(sps), h264.nal_type(pps)) == (h264.NAL_SPS, h264.NAL_PPS)
    parsed = h264.parse_sps(sps)
    expected = probe(stream)
    assert (parsed.width, parsed.height) == (expected["width"], expected["height"])
    assert f"{parsed.width}x{parsed.height}" == size
    assert parsed.profile_level_id == sps[1:4].hex()
    if expected["profile"] in ("Constrained Baseline", "Main", "High", "High 10", "High 4:2:2"):
        assert parsed.profile == expected["profile"]
    assert parsed.max_reorder_frames is not None
    assert (parsed.max_reorder_frames > 0) == reorders


def test_splits_annex_b() -> None:
    stream = b"junk\0\0\0\1\x67abc\0\0\1\x68d\0\0\0\0\0\1\0\0\1\x65e\0\0"
    assert h264.split_annex_b(stream) == [b"\x67abc", b"\x68d", b"\x65e"]
    assert h264.split_annex_b(b"") == []
    assert h264.split_annex_b(b"no start code") == []


def test_sps_without_vui_does_not_say_its_reordering() -> None:
    # 16x16: ue(0) ue(0) ue(2) ue(1) 0 ue(0) ue(0) 1 0 0 0 and the stop bit, after profile, flags, level.
    bits = "1" + "1" + "011" + "010" + "0" + "1" + "1" + "1" + "0" + "0" + "0" + "1"
    body = int(bits.ljust(16, "0"), 2).to_bytes(2, "big")
    parsed = h264.parse_sps(bytes((0x67, 66, 0xC0, 30)) + body)
    assert (parsed.width, parsed.height, parsed.max_reorder_frames) == (16, 16, None)
    assert parsed.profile == "Constrained Baseline"


@pytest.mark.parametrize("nal", [b"", b"\x67", b"\x68\x64\x00\x1e", b"\x67\x64\x00\x1e", SPS[:6]])
def test_not_an_sps(nal: bytes) -> None:
    with pytest.raises(h264.H264Error):
        h264.parse_sps(nal)


def test_size_limit() -> None:
    with pytest.raises(h264.H264Error, match="at most"):
        h264.parse_sps(SPS + bytes(h264.MAX_SPS_BYTES))


def _parse_or_refuse(nal: bytes) -> None:
    try:
        parsed = h264.parse_sps(nal)
    except h264.H264Error:
        return
    assert 0 < parsed.width <= 16_384
    assert 0 < parsed.height <= 16_384


@given(st.binary(max_size=200))
def test_any_octets_are_an_sps_or_an_error(data: bytes) -> None:
    _parse_or_refuse(data)
    for profile in (66, 100):
        _parse_or_refuse(bytes((0x67, profile)) + data)


@given(st.integers(0, len(SPS) * 8 - 1), st.integers(0, len(SPS)))
def test_damaged_sps_is_read_or_refused(bit: int, length: int) -> None:
    damaged = bytearray(SPS)
    damaged[bit // 8] ^= 1 << bit % 8
    _parse_or_refuse(bytes(damaged))
    _parse_or_refuse(bytes(damaged[:length]))


@given(st.binary(max_size=300))
def test_any_octets_split(data: bytes) -> None:
    nals = h264.split_annex_b(data)
    assert all(nals)
    assert all(b"\0\0\1" not in nal for nal in nals)
