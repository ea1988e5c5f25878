"""The session description of one rendition (RFC 4566, RFC 2326 appendix C)."""

from collections.abc import Sequence

from ingest.simulated.audio_formats import AUDIO_FORMATS, format_parameters
from ingest.simulated.options import AudioCodec, VideoCodec, VideoOptions
from ingest.simulated.parameter_sets import video_parameters

VIDEO_PAYLOAD_TYPES: dict[VideoCodec, int] = {"h264": 96, "h265": 96, "jpeg": 26}  # RFC 3551 table 5
VIDEO_TRACK, AUDIO_TRACK = 0, 1
CONTROLS = ("track1", "track2")


def _media(
    kind: str, payload_type: int, rtpmap: str, parameters: str | None, track: int, *more: str
) -> list[str]:
    lines = [f"m={kind} 0 RTP/AVP {payload_type}", f"a=rtpmap:{payload_type} {rtpmap}"]
    if parameters is not None:
        lines.append(f"a=fmtp:{payload_type} {parameters}")
    return [*lines, *more, f"a=control:{CONTROLS[track]}"]


def describe(path: str, video: VideoOptions, parameter_sets: Sequence[bytes], audio: AudioCodec) -> str:
    """SDP with a video track, and an audio track unless `audio` is `none`."""
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        f"s={path.lstrip('/')}",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
    ]
    lines += _media(
        "video",
        VIDEO_PAYLOAD_TYPES[video.codec],
        f"{video.codec.upper()}/90000",
        video_parameters(video.codec, parameter_sets),
        VIDEO_TRACK,
        f"a=framerate:{video.fps}",
    )
    if audio != "none":
        form = AUDIO_FORMATS[audio]
        lines += _media("audio", form.payload_type, form.rtpmap, format_parameters(audio), AUDIO_TRACK)
    return "".join(f"{line}\r\n" for line in lines)
