"""Parameter sets by their ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import h264, h265
from ingest.codecs.parameter_sets import (
    H264,
    H265,
    MAX_BYTES,
    MAX_BYTES_OF_KIND,
    MAX_SETS,
    ParameterSets,
)

SPS = bytes.fromhex("6742c01fda0280bfe5c044000003000400000300c83c60ca80")
PPS = bytes.fromhex("68ce3c80")
# From x265; emulation prevention stands in front of the SPS's id.
VPS_265 = bytes.fromhex("40010c01ffff01600000030090000003000003003f959409")
SPS_265 = bytes.fromhex(
    "42010101600000030090000003000003003fa005220171c449965654a4c2f0168080000003008000000c84"
)
PPS_265 = bytes.fromhex("4401c073c189")
SPS_265_ID_2 = SPS_265.replace(b"\x3f\xa0", b"\x3f\x60")
PPS_265_ID_1 = b"\x44\x01\x40" + PPS_265[3:]


def add(sets, nal):
    return sets.add(h264.nal_type(nal), nal)


def add_265(sets, nal):
    return sets.add(h265.nal_type(nal), nal)


def test_newest_of_each_id():
    sets = ParameterSets(H264)
    assert not sets.complete
    other = bytes.fromhex("684e3c80")  # id 1
    newer = bytes.fromhex("68ce3c81")
    assert all(add(sets, nal) for nal in (PPS, other, SPS, newer))
    assert sets.complete
    assert sets.nals() == (SPS, newer, other)
    assert sets.of(h264.NAL_PPS) == (newer, other)


@pytest.mark.parametrize(
    "nal",
    [
        b"\x67",
        b"\x67\x42\xc0\x1f",
        b"\x68",
        b"\x68\x00",
        b"\x68\x00\x00\x00\x01",
        b"\x67\x42\xc0\x1f\x04\x20",  # id 32
        SPS + bytes(MAX_BYTES),
        b"\x06\x80",
    ],
)
def test_broken(nal):
    sets = ParameterSets(H264)
    assert not add(sets, nal)
    assert sets.nals() == ()


def test_newest_of_each_id_of_h265():
    sets = ParameterSets(H265)
    other_vps = VPS_265[:2] + b"\x1c" + VPS_265[3:]
    newer = SPS_265[:-1] + b"\x88"
    every = (PPS_265, SPS_265, PPS_265_ID_1, VPS_265, SPS_265_ID_2, newer)
    for nal in every[:3]:
        assert add_265(sets, nal)
        assert not sets.complete
    assert all(add_265(sets, nal) for nal in (*every[3:], other_vps))
    assert sets.complete
    assert sets.nals() == (VPS_265, other_vps, newer, SPS_265_ID_2, PPS_265, PPS_265_ID_1)


@pytest.mark.parametrize(
    ("flags", "octets"), [("1100", 12), ("1000", 11), ("0100", 1), ("1101", 13), ("1111", 24)]
)
def test_id_of_an_sps_behind_its_sub_layers(flags, octets):
    """Two or three sub-layers, for each whether its profile and its level are in the set."""
    sub_layers = len(flags) // 2
    present = int(flags.ljust(16, "0"), 2).to_bytes(2, "big")
    head = b"\x42\x01" + bytes((sub_layers << 1 | 1,)) + b"\x11" * 12 + present + b"\x55" * octets
    sets = ParameterSets(H265)
    numbered = [head + bytes.fromhex(tail) for tail in ("a0", "50", "70")]
    for nal in (*numbered, numbered[0] + b"newer"):
        assert add_265(sets, nal)
    assert sets.of(h265.NAL_SPS) == (numbered[0] + b"newer", numbered[2], numbered[1])


@pytest.mark.parametrize(
    "nal",
    [
        b"\x40\x01",
        b"\x42\x01",
        SPS_265[:17],
        b"\x42\x01\x01" + b"\x11" * 12 + b"\x08\x80",  # id 16
        b"\x42\x01\x0f" + b"\x11" * 12 + b"\xff\xff",
        b"\x44\x01",
        b"\x44\x01\x02\x08",  # id 64
        PPS_265 + bytes(MAX_BYTES),
        b"\x4e\x01\x80",
    ],
)
def test_broken_of_h265(nal):
    sets = ParameterSets(H265)
    assert not add_265(sets, nal)
    assert sets.nals() == ()


def numbered_pps(number, size=4):
    code = f"{number + 1:b}"
    bits = f"{'0' * (len(code) - 1)}{code}1".ljust(24, "0")
    return b"\x68" + int(bits, 2).to_bytes(3, "big") + bytes(size - 4)


def test_the_newest_are_kept_where_an_encoder_takes_another_id_each_time():
    sets = ParameterSets(H264)
    assert add(sets, SPS)
    for number in range(256):
        pps = numbered_pps(number)
        assert add(sets, pps)
        assert sets.complete
        assert sets.of(h264.NAL_PPS)[0] == pps
        assert {SPS, pps} <= set(sets.nals())
    assert sets.nals() == (SPS, *map(numbered_pps, range(256 - MAX_SETS, 256)))


def test_a_repeated_set_is_new_again():
    sets = ParameterSets(H264)
    for number in range(MAX_SETS):
        add(sets, numbered_pps(number))
    add(sets, numbered_pps(0))
    add(sets, numbered_pps(MAX_SETS))
    assert sets.nals() == tuple(map(numbered_pps, (0, *range(2, MAX_SETS + 1))))


def test_octets_are_bounded():
    sets = ParameterSets(H264)
    for number in range(256):
        assert add(sets, numbered_pps(number, MAX_BYTES - number % 2))
        assert sum(map(len, sets.nals())) <= MAX_BYTES_OF_KIND
    assert sets.of(h264.NAL_PPS)[-1] == numbered_pps(252, MAX_BYTES)
    for number in range(252, 256):
        assert add(sets, numbered_pps(number))
    assert len(sets.nals()) == 4


@given(st.lists(st.binary(min_size=3, max_size=120), max_size=20))
def test_any_octets(nals):
    sets = ParameterSets(H265)
    for nal in nals:
        for kind in H265:
            sets.add(kind, nal)
    assert set(sets.nals()) <= set(nals)
