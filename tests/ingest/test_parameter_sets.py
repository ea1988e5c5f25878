"""Parameter sets by their ids."""

import pytest

from ingest.parameter_sets import MAX_BYTES, ParameterSets

SPS = bytes.fromhex("6742c01fda0280bfe5c044000003000400000300c83c60ca80")
PPS = bytes.fromhex("68ce3c80")


def test_newest_of_each_id():
    sets = ParameterSets()
    assert not sets.complete
    other = bytes.fromhex("684e3c80")  # id 1
    newer = bytes.fromhex("68ce3c81")
    assert all(map(sets.add, (PPS, other, SPS, newer)))
    assert sets.complete
    assert sets.nals() == (SPS, newer, other)


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
    ],
)
def test_broken(nal):
    sets = ParameterSets((nal,))
    assert sets.nals() == ()
