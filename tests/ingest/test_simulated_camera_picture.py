"""The simulated camera's pixels, and what encoders make of them."""

import pytest

from common.h264 import NAL_IDR, NAL_PPS, NAL_SPS, nal_type, parse_sps
from ingest.simulated.drawing import ADVANCE, GLYPH_HEIGHT, INK, MARGIN, PAPER, paint, text_rows
from ingest.simulated.faults import Faults
from ingest.simulated.options import video_options
from ingest.simulated.parameter_sets import is_parameter_set
from ingest.simulated.picture import Picture, caption
from ingest.simulated.video_encoder import SLICES, VideoEncoder, stream_parameter_sets

NO_FAULTS = Faults()


def test_caption() -> None:
    assert caption(1_700_000_000_123_456_789, 42) == ("2023-11-14 22:13:20.123 UTC", "FRAME 00000042")


def test_text_is_drawn_where_it_was_asked_for() -> None:
    rows = text_rows("1", 1)
    assert len(rows) == GLYPH_HEIGHT + 2 * MARGIN
    assert {len(row) for row in rows} == {ADVANCE + 2 * MARGIN}
    picture = bytearray(20 * 12)
    paint(memoryview(picture), 20, 3, 2, rows)
    lines = [picture[at : at + 20] for at in range(0, len(picture), 20)]
    assert lines[1] == bytes(20)
    assert lines[3] == bytes(3) + bytes([PAPER] * 3 + [INK] + [PAPER] * 4) + bytes(9)
    assert all(row == bytes(20) for row in lines[11:])


@pytest.mark.parametrize(("left", "top"), [(0, 19), (96, 0)])
def test_drawing_stays_inside_the_picture(left: int, top: int) -> None:
    with pytest.raises(ValueError, match="edge"):
        paint(memoryview(bytearray(100 * 20)), 100, left, top, text_rows("1", 1))


def test_a_character_that_the_font_lacks() -> None:
    with pytest.raises(KeyError):
        text_rows("é", 1)


@pytest.mark.parametrize(("width", "scale"), [(176, 1), (640, 2), (1280, 6)])
def test_the_caption_is_in_the_picture(width: int, scale: int) -> None:
    frame = Picture(video_options("h264", width, 144, 25, None, None)).next(1_700_000_000_123_456_789, 42)
    assert (frame.width, frame.height, frame.pts) == (width, 144, 42)
    luma = frame.planes[0]
    plane = memoryview(luma)
    rows = text_rows("2023-11-14 22:13:20.123 UTC", scale)
    assert [plane[y * luma.line_size :][: len(row)] for y, row in enumerate(rows)] == rows


def encoded(codec, faults=NO_FAULTS, count=12, keyframes=()):
    video = video_options(codec, 320, 240, 25, None, None)
    picture, encoder = Picture(video), VideoEncoder(video, faults)
    return [
        coded
        for number in range(count)
        for coded in encoder.encode(picture.next(0, number), number in keyframes)
    ]


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_keyframes_come_at_the_start_and_when_wanted(codec) -> None:
    coded = encoded(codec, keyframes={7})
    assert [picture.number for picture in coded] == list(range(12))
    assert [picture.number for picture in coded if picture.keyframe] == [0, 7]
    sets = stream_parameter_sets(video_options(codec, 320, 240, 25, None, None), Faults())
    for picture in coded:
        found = tuple(nal for nal in picture.units if is_parameter_set(codec, nal))
        assert found == (sets if picture.keyframe else ())


def test_h264_says_its_size_and_has_one_slice() -> None:
    first, second, *_ = encoded("h264")
    assert [nal_type(nal) for nal in first.units if nal_type(nal) != 6] == [NAL_SPS, NAL_PPS, NAL_IDR]
    assert len(second.units) == 1
    parameters = parse_sps(first.units[0])
    assert (parameters.width, parameters.height, parameters.max_reorder_frames) == (320, 240, 0)


def test_every_jpeg_is_a_keyframe() -> None:
    coded = encoded("jpeg")
    assert len(coded) == 12
    assert all(picture.keyframe and picture.units[0][:2] == b"\xff\xd8" for picture in coded)
    assert stream_parameter_sets(video_options("jpeg", 320, 240, 25, None, None), Faults()) == ()


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_b_frames_come_out_of_order(codec) -> None:
    numbers = [picture.number for picture in encoded(codec, Faults(b_frames=True), count=25)]
    assert numbers != sorted(numbers)
    assert stream_parameter_sets(video_options(codec, 320, 240, 25, None, None), Faults(b_frames=True))


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_several_slices_where_markers_are_everywhere(codec) -> None:
    assert len(encoded(codec, Faults(marker_everywhere=True))[1].units) == SLICES
