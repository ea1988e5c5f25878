"""Pictures as H.264, H.265 or JPEG, at little cost and with little delay."""

from dataclasses import dataclass
from fractions import Fraction

from av import CodecContext
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from common.h264 import split_annex_b
from ingest.simulated.faults import Faults
from ingest.simulated.options import VideoOptions
from ingest.simulated.parameter_sets import is_parameter_set
from ingest.simulated.picture import Picture

B_FRAMES = 2
SLICES = 4  # with marker bits everywhere: NAL units that a marker can part
_ENCODERS = {"h264": "libx264", "h265": "libx265", "jpeg": "mjpeg"}


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """What the encoder made of one picture."""

    number: int
    keyframe: bool
    units: tuple[bytes, ...]
    "NAL units, or one JPEG file."


def _encoder_options(video: VideoOptions, faults: Faults) -> dict[str, str]:
    if video.codec == "jpeg":
        return {"huffman": "default"}  # the tables that RFC 2435 leaves out
    options = {"preset": "ultrafast", "forced-idr": "1"}
    if not faults.b_frames:
        options["tune"] = "zerolatency"
    if video.codec == "h264":
        if faults.marker_everywhere:
            options["slices"] = str(SLICES)
        return options
    parameters = {
        "log-level": "none",
        "info": "0",
        "pools": "1",
        "frame-threads": "1",
        "open-gop": "0",
        "repeat-headers": "1",
        "rd": "1",  # this and large blocks take a fifth off
        "min-cu-size": "16",
        "keyint": str(video.gop),
        "bframes": str(B_FRAMES if faults.b_frames else 0),
    }
    if faults.marker_everywhere:
        parameters["slices"] = str(SLICES)
    options["x265-params"] = ":".join(f"{name}={value}" for name, value in parameters.items())
    return options


class VideoEncoder:
    """The first picture is a keyframe, with parameter sets."""

    def __init__(self, video: VideoOptions, faults: Faults) -> None:
        self._codec = video.codec
        encoder = CodecContext.create(_ENCODERS[video.codec], "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.width, encoder.height = video.width, video.height
        encoder.pix_fmt = "yuvj420p" if video.codec == "jpeg" else "yuv420p"
        encoder.framerate = Fraction(video.fps)
        encoder.time_base = Fraction(1, video.fps)
        encoder.bit_rate = video.bitrate
        encoder.gop_size = video.gop
        encoder.max_b_frames = B_FRAMES if faults.b_frames and video.codec != "jpeg" else 0
        encoder.thread_count = 1  # as few slices as a camera makes
        if video.codec != "jpeg":
            encoder.flags |= Flags.closed_gop
        encoder.options = _encoder_options(video, faults)
        self._encoder = encoder

    def encode(self, frame: VideoFrame, keyframe: bool = False) -> list[CodedPicture]:
        """Coded pictures in decoding order; later ones than `frame` are none, earlier ones with B-frames."""
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        coded = []
        for packet in self._encoder.encode(frame):
            data = bytes(packet)
            units = (data,) if self._codec == "jpeg" else tuple(split_annex_b(data))
            coded.append(CodedPicture(packet.pts or 0, packet.is_keyframe, units))
        return coded


def stream_parameter_sets(video: VideoOptions, faults: Faults) -> tuple[bytes, ...]:
    """The parameter sets that every such encoder will send; JPEG has none."""
    if video.codec == "jpeg":
        return ()
    picture, encoder = Picture(video), VideoEncoder(video, faults)
    for number in range(1000):  # B-frames delay the first packet
        for coded in encoder.encode(picture.next(0, number)):
            return tuple(nal for nal in coded.units if is_parameter_set(video.codec, nal))
    raise AssertionError("the encoder keeps its pictures")
