"""Parameter sets of SDP, as cameras write them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codecs.sprop import MAX_SETS, h264_parameter_sets, h265_parameter_sets

SPS = bytes.fromhex("6742c01fda0280bfe5c044000003000400000300c83c60ca80")
PPS = bytes.fromhex("68ce3c80")
VPS_265 = bytes.fromhex("40010c01ffff016000000300b0000003000003005dac09")
SPS_265 = bytes.fromhex("420101016000000300b0000003000003005da00280802d16")
PPS_265 = bytes.fromhex("4401c172b46240")


def b64(nal):
    return base64.b64encode(nal).decode()


def listed(*nals):
    return ",".join(map(b64, nals))


@pytest.mark.parametrize(
    ("sprop", "expected"),
    [
        (f"{b64(SPS)},{b64(PPS)}", (SPS, PPS)),
        (f" {b64(SPS)} , {b64(PPS)} ", (SPS, PPS)),
        (f"{b64(SPS).rstrip('=')},{b64(PPS).rstrip('=')}", (SPS, PPS)),
        (f"{b64(SPS)}===,{b64(PPS)},", (SPS, PPS)),
        (f",,{b64(PPS)}", (PPS,)),
        (listed(b"\0\0\0\x01" + SPS, b"\0\0\x01" + PPS), (SPS, PPS)),
        ("A," + listed(b"\x06\x05\x01", b"", b"\x67", SPS), (SPS,)),
        ("", ()),
        ("ä,%", ()),
    ],
)
def test_h264(sprop, expected):
    assert h264_parameter_sets({"sprop-parameter-sets": sprop}) == expected


def test_h265():
    parameters = {
        "sprop-sps": b64(SPS_265),
        "sprop-pps": f"{b64(PPS_265)},{b64(PPS_265)}",
        "sprop-vps": b64(VPS_265),
    }
    assert h265_parameter_sets(parameters) == (VPS_265, SPS_265, PPS_265, PPS_265)
    assert h265_parameter_sets({"sprop-vps": b64(SPS_265), "sprop-sps": b64(SPS)}) == ()
    assert h265_parameter_sets({"sprop-pps": b64(bytes(3) + b"\x01" + PPS_265)}) == (PPS_265,)


def test_missing():
    assert h264_parameter_sets({}) == () == h265_parameter_sets({})


@given(st.text() | st.binary(max_size=20).map(b64))
def test_any_text(text):
    names = ("sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps")
    parameters = dict.fromkeys(names, text)
    assert all(nal[0] & 0x1F in (7, 8) for nal in h264_parameter_sets(parameters))
    assert all(nal[0] >> 1 & 0x3F in (32, 33, 34) for nal in h265_parameter_sets(parameters))


def test_a_few_of_an_endless_list_are_read():
    endless = {"sprop-parameter-sets": listed(*[SPS, PPS] * 40_000)}
    assert h264_parameter_sets(endless) == (SPS, PPS) * (MAX_SETS // 2)
