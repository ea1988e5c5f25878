"""The benchmark's video: real H.264, 25 fps, made once with x264 and cut into access units."""

import zlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av

from common.h264 import NAL_AUD, NAL_IDR, NAL_PPS, NAL_SEI, NAL_SLICE, NAL_SPS, split_annex_b

WIDTH, HEIGHT, FPS = 1920, 1080, 25
BITRATE = 4_000_000
SUB_WIDTH, SUB_HEIGHT, SUB_BITRATE = 640, 360, 600_000
GOP_UNITS = 2 * FPS
SECONDS = 6
# A numbered picture shows its position in the clip: squares from the left, lowest bit first, white is 1.
NUMBER_BITS = 8

_START = b"\0\0\0\1"
_BEGINS_UNIT = frozenset({NAL_AUD, NAL_SPS, NAL_PPS, NAL_SEI})

Unit = tuple[bytes, ...]


def make(
    path: Path,
    width: int = WIDTH,
    height: int = HEIGHT,
    bitrate: int = BITRATE,
    *,
    gop_units: int = GOP_UNITS,
    seconds: int = SECONDS,
    numbered: bool = False,
) -> None:
    """Encodes the clip as an Annex B file; `bitrate` in bits per second."""
    graph = av.filter.Graph()
    source = graph.add("testsrc2", f"size={width}x{height}:rate={FPS}:duration={seconds}")
    # Grain, as a camera has it; without it a test pattern does not reach the bit rate.
    noise = graph.add("noise", "alls=12:allf=t")
    pixels = graph.add("format", "pix_fmts=yuv420p")
    sink = graph.add("buffersink")
    source.link_to(noise)
    for box in _number_boxes(width) if numbered else ():
        drawn = graph.add("drawbox", box)
        noise.link_to(drawn)
        noise = drawn
    noise.link_to(pixels)
    pixels.link_to(sink)
    graph.configure()
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.bit_rate = bitrate
    encoder.gop_size = gop_units
    encoder.profile = "Main"
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": f"keyint={gop_units}:min-keyint={gop_units}:scenecut=0:sliced-threads=0:threads=2:"
        f"vbv-maxrate={bitrate // 1000}:vbv-bufsize={bitrate // 1000}:vbv-init=0.3",
    }
    with path.open("wb") as file:
        for number in range(seconds * FPS):
            frame = graph.pull()
            assert isinstance(frame, av.VideoFrame)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            frame.pict_type = av.video.frame.PictureType.NONE
            for packet in encoder.encode(frame):
                file.write(bytes(packet))
        for packet in encoder.encode(None):
            file.write(bytes(packet))


def number_side(width: int) -> int:
    """Edge of one square of a numbered picture; they stand in its upper left corner."""
    return width // 32


def _number_boxes(width: int) -> Iterable[str]:
    side = number_side(width)
    yield f"x=0:y=0:w={side * NUMBER_BITS}:h={side}:color=black:t=fill"
    for bit in range(NUMBER_BITS):
        # The commas of the expression would else end the filter's argument (ffmpeg-filters, section 4.2).
        yield f"x={side * bit}:y=0:w={side}:h={side}:color=white:t=fill:enable='mod(floor(n/{1 << bit}),2)'"


def load(path: Path) -> list[Unit]:
    """Access units of a file made by `make`, SPS and PPS in front of each IDR."""
    units: list[Unit] = []
    unit: list[bytes] = []
    has_slice = False
    for nal in split_annex_b(path.read_bytes()):
        kind = nal[0] & 0x1F
        first_of_picture = kind in (NAL_SLICE, NAL_IDR) and nal[1] & 0x80  # first_mb_in_slice is 0
        if has_slice and (kind in _BEGINS_UNIT or first_of_picture):
            units.append(tuple(unit))
            unit, has_slice = [], False
        has_slice |= kind in (NAL_SLICE, NAL_IDR)
        if kind not in (NAL_AUD, NAL_SEI):
            unit.append(nal)
    units.append(tuple(unit))
    return units


def is_keyframe(unit: Unit) -> bool:
    """True for an IDR."""
    return any(nal[0] & 0x1F == NAL_IDR for nal in unit)


def fingerprint(nals: Iterable[bytes]) -> int:
    """Tells access units of the clip apart by their slices, whatever else a reader puts around them."""
    value = 0
    for nal in nals:
        if nal[0] & 0x1F in (NAL_SLICE, NAL_IDR):
            value = zlib.crc32(nal, value)
    return value


def annex_b(unit: Unit) -> bytes:
    """The access unit as a byte stream."""
    return b"".join(_START + nal for nal in unit)
