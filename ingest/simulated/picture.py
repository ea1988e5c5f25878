"""The simulated camera's video: test pattern, wall clock and frame number, encoded as H.264."""

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from av import CodecContext
from av.codec.context import Flags
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from common.h264 import parameter_sets, split_annex_b
from ingest.simulated.drawing import GREY, paint, text_rows

WIDTH = 1280
HEIGHT = 720
FPS = 25
GOP_FRAMES = 2 * FPS
BITRATE = 1_800_000  # bit/s
_SCALE = 6  # pixels to a dot of the font
_LEFT, _TOP = 0, 0  # over the pattern's own counter; even, as chroma has half the samples


def caption(utc_ns: int, number: int) -> tuple[str, str]:
    """The two lines that are drawn in: UTC with milliseconds, and the frame number."""
    seconds, nanoseconds = divmod(utc_ns, 1_000_000_000)
    clock = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{clock}.{nanoseconds // 1_000_000:03d} UTC", f"FRAME {number:08d}"


def draw_caption(frame: VideoFrame, lines: Sequence[str]) -> None:
    """Writes lines of text, on dark boxes, into a yuv420p frame."""
    luma, *chroma = frame.planes
    top = _TOP
    for line in lines:
        rows = text_rows(line, _SCALE)
        paint(memoryview(luma), luma.line_size, _LEFT, top, rows)
        grey = [bytes((GREY,)) * (len(rows[0]) // 2)] * (len(rows) // 2)
        for plane in chroma:
            paint(memoryview(plane), plane.line_size, _LEFT // 2, top // 2, grey)
        top += len(rows)


class Picture:
    """An encoder with its test pattern; the first access unit is a keyframe, with parameter sets."""

    def __init__(self) -> None:
        self._graph = Graph()
        source = self._graph.add("testsrc2", f"size={WIDTH}x{HEIGHT}:rate={FPS}")
        pixels = self._graph.add("format", "yuv420p")
        sink = self._graph.add("buffersink")
        source.link_to(pixels)
        pixels.link_to(sink)
        self._graph.configure()
        encoder = CodecContext.create("libx264", "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        encoder.framerate = Fraction(FPS)
        encoder.time_base = Fraction(1, FPS)
        encoder.bit_rate = BITRATE
        encoder.gop_size = GOP_FRAMES
        encoder.max_b_frames = 0
        encoder.thread_count = 1  # as few slices as a camera makes
        encoder.flags |= Flags.closed_gop
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1"}
        self._encoder = encoder

    def next(self, utc_ns: int, number: int, keyframe: bool = False) -> list[bytes]:
        """NAL units of one more picture, which shows `utc_ns` and `number`; numbers have to grow."""
        frame = self._graph.vpull()
        frame.make_writable()
        draw_caption(frame, caption(utc_ns, number))
        frame.pts = number
        frame.time_base = Fraction(1, FPS)
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        return [nal for packet in self._encoder.encode(frame) for nal in split_annex_b(bytes(packet))]


def stream_parameter_sets() -> tuple[bytes, ...]:
    """SPS and PPS that every `Picture` will send."""
    return parameter_sets(Picture().next(0, 0))
