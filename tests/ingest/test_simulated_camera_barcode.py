"""The time in the picture: what is drawn can be read again, also after an encoder."""

from collections.abc import Iterator

import pytest
from av import CodecContext, Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from ingest.simulated.barcode import COLUMNS, ROWS, barcode_rows, cell_size, cells
from ingest.simulated.faults import Faults
from ingest.simulated.options import VideoCodec, smaller, video_options
from ingest.simulated.picture import Picture
from ingest.simulated.video_encoder import VideoEncoder
from tests.support.barcode import read

START_MS = 1_700_000_000_123
FRAME_MS = 40


def test_a_time_as_cells() -> None:
    white = cells(0x01_8001_00FF)
    assert white[:8] == [False] * 7 + [True]
    assert white[8:16] == [True] + [False] * 7
    assert white[32:40] == [True] * 8
    # 0x01 + 0x80 + 0x01 + 0x00 + 0xff is 0x181.
    assert white[40:] == [bool(0x7E >> bit & 1) for bit in reversed(range(8))]
    assert len(white) == COLUMNS * ROWS


def test_cells_stand_row_by_row() -> None:
    rows = barcode_rows(1 << 39, 2, 200, 10)
    assert (len(rows), {len(row) for row in rows}) == (2 * ROWS, {2 * COLUMNS})
    assert rows[0] == rows[1] == bytes([200] * 2 + [10] * 2 * (COLUMNS - 1))
    assert rows[2] == rows[3]


@pytest.mark.parametrize(("width", "size"), [(176, 2), (320, 4), (640, 8), (1280, 16), (1920, 24)])
def test_cells_grow_with_the_picture(width: int, size: int) -> None:
    assert cell_size(width) == size


@pytest.mark.parametrize("shade", [16, 235])
def test_a_blank_picture_has_no_time(shade: int) -> None:
    assert read(memoryview(bytes([shade]) * 320 * 180), 320, 320, 180, START_MS) is None


def test_a_cell_that_is_wrong_is_noticed() -> None:
    size = cell_size(320)
    for cell in range(COLUMNS * ROWS):
        picture = bytearray(b"".join(row.ljust(320, b"\0") for row in barcode_rows(START_MS, size, 235, 16)))
        assert read(memoryview(picture), 320, 320, ROWS * size, START_MS) == START_MS
        row, column = divmod(cell, COLUMNS)
        for y in range(row * size, (row + 1) * size):
            for x in range(column * size, (column + 1) * size):
                picture[y * 320 + x] = 251 - picture[y * 320 + x]
        assert read(memoryview(picture), 320, 320, ROWS * size, START_MS) is None


def read_frame(frame: VideoFrame, near_ms: int) -> int | None:
    luma = frame.planes[0]
    return read(memoryview(luma), luma.line_size, frame.width, frame.height, near_ms)


@pytest.mark.parametrize(("width", "height"), [(176, 32), (640, 360), (1920, 1080)])
def test_it_is_in_the_picture_for_whoever_asks_in_its_time(width: int, height: int) -> None:
    frame = Picture(video_options("h264", width, height, 25, None, None)).next(START_MS * 1_000_000, 7)
    assert read_frame(frame, START_MS + 500_000) == START_MS
    assert read_frame(frame, START_MS + (1 << 40)) == START_MS + (1 << 40)


def decoded(codec: VideoCodec, width: int, height: int, pictures: int) -> Iterator[VideoFrame]:
    """The sub stream of a camera of this size, as a viewer has it."""
    video = smaller(video_options(codec, width, height, 25, None, None))
    picture, encoder = Picture(video), VideoEncoder(video, Faults())
    decoder = CodecContext.create({"h264": "h264", "h265": "hevc", "jpeg": "mjpeg"}[codec], "r")
    assert isinstance(decoder, VideoCodecContext)
    start = b"" if codec == "jpeg" else b"\0\0\0\1"
    for number in range(pictures):
        utc_ms = START_MS + number * FRAME_MS
        for coded in encoder.encode(picture.next(utc_ms * 1_000_000, number)):
            data = b"".join(start + unit for unit in coded.units)
            yield from decoder.decode(Packet(data))
    yield from decoder.decode(None)


@pytest.mark.parametrize("codec", ["h264", "h265", "jpeg"])
@pytest.mark.parametrize(("width", "height"), [(640, 360), (1280, 720)])
def test_encoders_keep_it(codec: VideoCodec, width: int, height: int) -> None:
    times = [read_frame(frame, START_MS) for frame in decoded(codec, width, height, 60)]
    assert times == [START_MS + number * FRAME_MS for number in range(60)]
