"""Small makers of units for the fanout tests."""

import functools
import os
from fractions import Fraction

import av

from common.access_unit import AccessUnit
from common.h264 import split_annex_b
from fanout.packetizing.packetized import PacketizedUnit, group

SPS = bytes.fromhex("6764001facd9405005bb011000000300100000030320f1831960")
PPS = bytes.fromhex("68ebe3cb22c0")
# From x265: Main, 642x362.
H265_VPS = bytes.fromhex("40010c01ffff01600000030090000003000003003f959409")
H265_SPS = bytes.fromhex(
    "42010101600000030090000003000003003fa005220171c449965654a4c2f0168080000003008000000c84"
)
H265_PPS = bytes.fromhex("4401c073c189")
FRAME_NS = 40_000_000
FRAME_TICKS = 3600

_SETS = {"H264": (SPS, PPS), "H265": (H265_VPS, H265_SPS, H265_PPS)}
# Headers of slices: IDR and not; of H.265 IDR_W_RADL and TRAIL_R.
_KEYFRAME = {"H264": b"\x65", "H265": b"\x26\x01"}
_OTHER = {"H264": b"\x41", "H265": b"\x02\x01"}


def access_unit(
    sequence: int,
    keyframe: bool = False,
    size: int = 3000,
    epoch: int = 1,
    timestamp: int | None = None,
    codec: str = "H264",
) -> AccessUnit:
    """A 25 fps unit; the keyframe has parameter sets."""
    body = (_KEYFRAME if keyframe else _OTHER)[codec] + os.urandom(size)
    return AccessUnit(
        epoch=epoch,
        sequence=sequence,
        track="video",
        codec=codec,
        timestamp=sequence * FRAME_TICKS if timestamp is None else timestamp,
        capture_ns=sequence * FRAME_NS,
        arrival_ns=sequence * FRAME_NS,
        keyframe=keyframe,
        nals=(*_SETS[codec], body) if keyframe else (body,),
    )


def audio_unit(
    codec: str, *frames: bytes, clock_rate: int = 8000, channels: int = 1, capture_ns: int = 0
) -> AccessUnit:
    """Audio of one RTP timestamp."""
    return AccessUnit(
        epoch=1,
        sequence=0,
        track="audio",
        codec=codec,
        timestamp=0,
        capture_ns=capture_ns,
        arrival_ns=capture_ns,
        keyframe=True,
        nals=frames,
        clock_rate=clock_rate,
        channels=channels,
    )


def packetized_unit(
    number: int, timestamp: int, keyframe: bool = False, packets: int = 1, octets: int = 4
) -> PacketizedUnit:
    """Its payloads hold their packet numbers; `octets` of each may be no more than said."""
    payloads = [(number + position).to_bytes(4, "big") for position in range(packets)]
    return PacketizedUnit(
        codec="H264",
        timestamp=timestamp,
        capture_ns=0,
        keyframe=keyframe,
        runs=group(payloads),
        packets=packets,
        octets=octets * packets,
        number=number,
        capture_ntp=0,
    )


_ENCODERS = {"H264": ("libx264", "x264-params"), "H265": ("libx265", "x265-params")}


@functools.cache
def encoded_pictures(codec: str, slices: int = 1) -> tuple[AccessUnit, ...]:
    """Real pictures, large and small, a keyframe each 8, with AUD, SEI and parameter sets."""
    name, specifics = _ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 160, 128, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
    encoder.thread_count = 1  # threads make slices of their own
    parameters = f"keyint=8:min-keyint=8:scenecut=0:aud=1:repeat-headers=1:slices={slices}"
    if codec == "H265":
        parameters += ":ctu=16:pools=1:log-level=none"
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "30", specifics: parameters}
    noise = av.VideoFrame(160, 128, "yuv420p")
    packets = []
    for number in range(24):
        if number % 8 in (0, 1, 2, 5):
            for plane in noise.planes:
                plane.update(os.urandom(plane.buffer_size))
        noise.pts = number
        packets += encoder.encode(noise)
    packets += encoder.encode(None)
    return tuple(
        AccessUnit(
            epoch=1,
            sequence=number,
            track="video",
            codec=codec,
            timestamp=number * FRAME_TICKS,
            capture_ns=number * FRAME_NS,
            arrival_ns=number * FRAME_NS,
            keyframe=bool(packet.is_keyframe),
            nals=tuple(split_annex_b(bytes(packet))),
        )
        for number, packet in enumerate(packets)
    )
