"""Session descriptions of the simulated camera."""

import pytest

from common.h264 import parse_sps
from ingest.simulated.audio_formats import AUDIO_FORMATS
from ingest.simulated.description import describe
from ingest.simulated.faults import Faults
from ingest.simulated.options import video_options
from ingest.simulated.video_encoder import stream_parameter_sets


def description(codec, audio="none") -> list[str]:
    video = video_options(codec, 320, 240, 25, None, None)
    return describe("/simulated", video, stream_parameter_sets(video, Faults()), audio).split("\r\n")


def test_h264() -> None:
    video = video_options("h264", 320, 240, 25, None, None)
    profile = parse_sps(stream_parameter_sets(video, Faults())[0]).profile_level_id.upper()
    lines = description("h264")
    start = lines.index("m=video 0 RTP/AVP 96")
    assert lines[start + 1] == "a=rtpmap:96 H264/90000"
    fmtp = f"a=fmtp:96 packetization-mode=1;profile-level-id={profile};sprop-parameter-sets=Z"
    assert lines[start + 2].startswith(fmtp)
    assert lines[start + 3 :] == ["a=framerate:25", "a=control:track1", ""]


def test_h265() -> None:
    lines = description("h265")
    (fmtp,) = (line for line in lines if line.startswith("a=fmtp:96 "))
    names = [item.partition("=")[0] for item in fmtp.removeprefix("a=fmtp:96 ").split(";")]
    assert names == ["sprop-vps", "sprop-sps", "sprop-pps"]
    assert "a=rtpmap:96 H265/90000" in lines


def test_jpeg() -> None:
    lines = description("jpeg")
    assert "m=video 0 RTP/AVP 26" in lines
    assert "a=rtpmap:26 JPEG/90000" in lines
    assert not any("fmtp" in line for line in lines)


@pytest.mark.parametrize(
    ("audio", "media", "fmtp"),
    [
        ("opus", "a=rtpmap:97 opus/48000/2", "a=fmtp:97 sprop-stereo=0"),
        ("pcma", "a=rtpmap:8 PCMA/8000", None),
        ("pcmu", "a=rtpmap:0 PCMU/8000", None),
        ("g722", "a=rtpmap:9 G722/8000", None),
        (
            "aac",
            "a=rtpmap:97 mpeg4-generic/16000/1",
            "a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;",
        ),
        ("l16", "a=rtpmap:97 L16/16000/1", None),
    ],
)
def test_audio(audio, media, fmtp) -> None:
    lines = description("jpeg", audio)
    start = lines.index(f"m=audio 0 RTP/AVP {AUDIO_FORMATS[audio].payload_type}")
    assert lines[start + 1] == media
    assert lines[-2:] == ["a=control:track2", ""]
    if fmtp is None:
        assert lines[start + 2] == "a=control:track2"
    else:
        assert lines[start + 2].startswith(fmtp)
