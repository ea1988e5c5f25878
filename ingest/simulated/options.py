"""What a simulated camera is asked to be."""

from dataclasses import dataclass, replace
from typing import Literal

from common.errors import ConfigError
from ingest.simulated.faults import Faults

VideoCodec = Literal["h264", "h265", "jpeg"]
AudioCodec = Literal["none", "opus", "pcma", "pcmu", "g722", "aac", "l16"]
LoginScheme = Literal["basic", "digest", "digest-sha256"]

MIN_WIDTH, MIN_HEIGHT = 176, 32  # the caption has to fit
MAX_SIZE = 4096
MAX_JPEG_SIZE = 255 * 8  # RFC 2435 section 3.1.5
_SIZE_STEP = {"h264": 2, "h265": 2, "jpeg": 8}  # chroma of 4:2:0; blocks that RFC 2435 counts
_BITRATES = {"h264": 1_800_000, "h265": 1_200_000, "jpeg": 12_000_000}  # bit/s of 1280x720


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """One encoder."""

    codec: VideoCodec
    width: int
    height: int
    fps: int
    bitrate: int
    "bit/s"
    gop: int
    "Frames from one keyframe to the next."


@dataclass(frozen=True, slots=True)
class LoginOptions:
    """Who is let in."""

    user: str
    password: str
    scheme: LoginScheme


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """All of a camera but where it listens."""

    main: VideoOptions
    sub: VideoOptions
    audio: AudioCodec
    login: LoginOptions | None
    tls_cert: str | None
    tls_key: str | None
    faults: Faults


def video_options(
    codec: VideoCodec, width: int, height: int, fps: int, bitrate: int | None, gop: int | None
) -> VideoOptions:
    """The main stream's encoder, with what is left open filled in; raises ConfigError."""
    step = _SIZE_STEP[codec]
    if not MIN_WIDTH <= width <= MAX_SIZE or not MIN_HEIGHT <= height <= MAX_SIZE:
        raise ConfigError(
            f"a picture of {width}x{height}: {MIN_WIDTH}x{MIN_HEIGHT} to {MAX_SIZE}x{MAX_SIZE} are allowed"
        )
    if width % step or height % step:
        raise ConfigError(f"a picture of {width}x{height}: {codec} needs multiples of {step}")
    if codec == "jpeg" and max(width, height) > MAX_JPEG_SIZE:
        raise ConfigError(f"a picture of {width}x{height}: RTP carries JPEG up to {MAX_JPEG_SIZE} pixels")
    if not 1 <= fps <= 120:
        raise ConfigError(f"{fps} frames per second, 1 to 120 are allowed")
    gop = 2 * fps if gop is None else gop
    if bitrate is None:
        bitrate = max(100_000, _BITRATES[codec] * width * height // (1280 * 720))
    if gop < 1 or bitrate < 1:
        raise ConfigError(f"bitrate {bitrate} and gop {gop} have to be positive")
    return VideoOptions(codec, width, height, fps, bitrate, gop)


def smaller(video: VideoOptions) -> VideoOptions:
    """Half the width and height, a quarter of the bitrate: the sub stream, or a change of size."""
    return replace(
        video,
        width=max(MIN_WIDTH, video.width // 16 * 8),
        height=max(MIN_HEIGHT, video.height // 16 * 8),
        bitrate=max(100_000, video.bitrate // 4),
    )
