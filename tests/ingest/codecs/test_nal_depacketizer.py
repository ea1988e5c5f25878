"""Limits of the depacketizers of H.264 and H.265: nothing that a camera sends makes them grow without end."""

import itertools
import tracemalloc

import pytest

from ingest.codecs import nal_depacketizer
from ingest.codecs.frame import DepacketizerError
from ingest.codecs.h264 import H264Depacketizer
from ingest.codecs.h265 import H265Depacketizer

# Depacketizer, SEI, slice, first fragment and further ones without their data.
CODECS = {
    "H264": (H264Depacketizer, b"\x06\x05\x01\x00\x80", b"\x41\x9a", b"\x5c\x81\x9a", b"\x5c\x01"),
    "H265": (
        H265Depacketizer,
        b"\x4e\x01\x05\x01\x00\x80",
        b"\x02\x01\x9a",
        b"\x62\x01\x81\x9a",
        b"\x62\x01\x01",
    ),
}
PACKET_BYTES = 1400


@pytest.fixture(params=CODECS)
def codec(request):
    return CODECS[request.param]


def aggregate(depacketizer, nals):
    header = b"\x78" if depacketizer is H264Depacketizer else b"\x60\x01"
    return header + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


@pytest.mark.parametrize("size", [0, 2, PACKET_BYTES])
@pytest.mark.parametrize("marker", [False, True])
def test_endless_fragmented_nal_unit(codec, size, marker):
    depacketizer, _, _, first, further = codec
    endless = depacketizer()
    tracemalloc.start()
    try:
        endless.push(0, False, first, 0)
        with pytest.raises(DepacketizerError, match="at most 8388608 octets in 1024"):
            for _ in itertools.count():
                # Made anew each time, as packets of a socket are.
                endless.push(0, marker, further + bytes(size), 0)
        assert tracemalloc.get_traced_memory()[0] < 2 * nal_depacketizer.MAX_ACCESS_UNIT_BYTES
    finally:
        tracemalloc.stop()


def test_ten_thousand_nal_units_in_one_access_unit(codec):
    depacketizer, sei, picture, _, _ = codec
    for nal in (sei, picture):
        packet = aggregate(depacketizer, [nal] * 100)
        endless = depacketizer()
        with pytest.raises(DepacketizerError, match="1025 NAL units"):
            for _ in range(100):
                endless.push(0, False, packet if nal is sei else packet.replace(b"\x9a", b"\x4a"), 0)


def test_endless_nal_units(codec):
    depacketizer, sei, _, _, _ = codec
    endless = depacketizer()
    with pytest.raises(DepacketizerError, match="at most 8388608 octets"):
        for _ in itertools.count():
            endless.push(0, False, sei + bytes(60_000), 0)


def test_what_is_left_out_is_not_kept(codec):
    depacketizer, _, _, _, _ = codec
    filler = b"\x0c\xff\x80" if depacketizer is H264Depacketizer else b"\x4c\x01\xff\x80"
    patient = depacketizer()
    for timestamp in range(2):
        for _ in range(10_000):
            patient.push(timestamp, True, filler, 0)
    assert patient.frames() == []


def test_after_the_largest_access_unit_comes_the_next(codec, monkeypatch):
    """What a damaged or complete access unit took is free again."""
    monkeypatch.setattr(nal_depacketizer, "MAX_ACCESS_UNIT_BYTES", 4000)
    depacketizer, sei, picture, first, further = codec
    patient = depacketizer()
    for timestamp in range(100):
        patient.push(timestamp, False, sei + bytes(400), 0)
        patient.push(timestamp, False, picture + bytes(1000), 0)
        patient.push(timestamp, False, first + bytes(1000), 0)
        patient.push(timestamp, False, further + bytes(1000), 0)
    # The picture under way is not over, and what play began in is not counted (of H.265 a part of it is).
    assert patient.damaged in (98, 99)


@pytest.mark.parametrize("moves_first", [False, True])
@pytest.mark.parametrize("marker", [False, True])
def test_timestamps_that_stand_still(codec, moves_first, marker):
    """Nothing could play that. It is said before limits of size are met that have another cause."""
    depacketizer, _, picture, _, _ = codec
    stuck = depacketizer()
    if moves_first:
        stuck.push(6, True, picture, 0)
    with pytest.raises(DepacketizerError, match="timestamps stand still: 65 pictures came at 7"):
        for _ in range(nal_depacketizer.MAX_PICTURES + 1):
            stuck.push(7, marker, picture + bytes(50_000), 0)


def test_timestamps_in_whole_seconds(codec):
    depacketizer, _, picture, _, _ = codec
    coarse = depacketizer()
    for second in range(10):
        for _ in range(30):
            coarse.push(second, True, picture, 0)


def test_many_slices_with_markers_are_one_picture(codec):
    depacketizer, _, picture, _, _ = codec
    sliced = depacketizer()
    for timestamp in range(3):
        sliced.push(timestamp, True, picture, 0)
        for _ in range(200):
            sliced.push(timestamp, True, picture.replace(b"\x9a", b"\x4a"), 0)
