"""The simulated camera's picture: a test pattern with the wall clock and the frame number drawn in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

from ingest.simulated.barcode import ROWS, barcode_rows, cell_size
from ingest.simulated.drawing import GREY, INK, PAPER, paint, text_rows
from ingest.simulated.options import VideoOptions

_LEFT, _TOP = 0, 0  # over the pattern's own counter; even, as chroma has half the samples
_PIXELS_PER_DOT = 200  # of width: 6 pixels to a dot of the font at 1280


def caption(utc_ns: int, number: int) -> tuple[str, str]:
    """The two lines that are drawn in: UTC with milliseconds, and the frame number."""
    seconds, nanoseconds = divmod(utc_ns, 1_000_000_000)
    clock = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{clock}.{nanoseconds // 1_000_000:03d} UTC", f"FRAME {number:08d}"


def draw_caption(frame: VideoFrame, lines: Sequence[str]) -> None:
    """Writes lines of text, on dark boxes, into a 4:2:0 frame."""
    scale = max(1, frame.width // _PIXELS_PER_DOT & ~1)  # even where it can be: whole samples of chroma
    top = _TOP
    for line in lines:
        rows = text_rows(line, scale)
        _draw(frame, top, rows)
        top += len(rows)


def draw_barcode(frame: VideoFrame, utc_ns: int) -> None:
    """Writes the time into the lower left corner of a 4:2:0 frame."""
    size = cell_size(frame.width)
    _draw(frame, frame.height - ROWS * size, barcode_rows(utc_ns // 1_000_000, size, INK, PAPER))


def _draw(frame: VideoFrame, top: int, rows: list[bytes]) -> None:
    luma, *chroma = frame.planes
    paint(memoryview(luma), luma.line_size, _LEFT, top, rows)
    grey = [bytes((GREY,)) * (len(rows[0]) // 2)] * (len(rows) // 2)
    for plane in chroma:
        paint(memoryview(plane), plane.line_size, _LEFT // 2, top // 2, grey)


class Picture:
    """The test pattern in motion."""

    def __init__(self, video: VideoOptions) -> None:
        self._time_base = Fraction(1, video.fps)
        self._graph = Graph()
        source = self._graph.add("testsrc2", f"size={video.width}x{video.height}:rate={video.fps}")
        pixels = self._graph.add("format", "yuvj420p" if video.codec == "jpeg" else "yuv420p")
        sink = self._graph.add("buffersink")
        source.link_to(pixels)
        pixels.link_to(sink)
        self._graph.configure()

    def next(self, utc_ns: int, number: int) -> VideoFrame:
        """One more picture, which shows `utc_ns` and `number`; `number` is its pts."""
        frame = self._graph.vpull()
        frame.make_writable()
        draw_caption(frame, caption(utc_ns, number))
        draw_barcode(frame, utc_ns)
        frame.pts = number
        frame.time_base = self._time_base
        return frame
