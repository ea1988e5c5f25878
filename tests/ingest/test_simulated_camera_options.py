"""What a simulated camera can be asked to be."""

import pytest

from common.errors import ConfigError
from ingest.simulated.options import VideoOptions, smaller, video_options


def test_what_is_left_open_follows_from_the_rest() -> None:
    assert video_options("h264", 1280, 720, 25, None, None) == VideoOptions(
        "h264", 1280, 720, 25, 1_800_000, 50
    )
    assert video_options("h265", 640, 360, 10, None, 5) == VideoOptions("h265", 640, 360, 10, 300_000, 5)
    assert video_options("jpeg", 640, 360, 10, 7, None).bitrate == 7


def test_sub_is_smaller() -> None:
    sub = smaller(video_options("h264", 1280, 720, 25, None, None))
    assert sub == VideoOptions("h264", 640, 360, 25, 450_000, 50)
    tiny = smaller(video_options("jpeg", 176, 32, 25, None, None))
    assert (tiny.width, tiny.height, tiny.bitrate) == (176, 32, 100_000)


@pytest.mark.parametrize(
    ("codec", "width", "height", "fps", "bitrate", "gop", "message"),
    [
        ("h264", 160, 120, 25, None, None, "176x32 to"),
        ("h264", 1280, 8000, 25, None, None, "4096x4096"),
        ("h264", 1281, 720, 25, None, None, "multiples of 2"),
        ("jpeg", 1284, 720, 25, None, None, "multiples of 8"),
        ("jpeg", 2048, 720, 25, None, None, "2040"),
        ("h265", 1280, 720, 0, None, None, "frames per second"),
        ("h264", 1280, 720, 25, 0, None, "positive"),
        ("h264", 1280, 720, 25, None, 0, "positive"),
    ],
)
def test_what_cannot_be(codec, width, height, fps, bitrate, gop, message) -> None:
    with pytest.raises(ConfigError, match=message):
        video_options(codec, width, height, fps, bitrate, gop)
