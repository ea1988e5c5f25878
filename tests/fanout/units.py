"""Small makers of units for the fanout tests."""

import os

from common.access_unit import AccessUnit

SPS = bytes.fromhex("6764001facd9405005bb011000000300100000030320f1831960")
PPS = bytes.fromhex("68ebe3cb22c0")
FRAME_NS = 40_000_000


def access_unit(
    sequence: int, keyframe: bool = False, size: int = 3000, epoch: int = 1, timestamp: int | None = None
) -> AccessUnit:
    """A 25 fps unit; the keyframe has parameter sets."""
    body = bytes((0x65 if keyframe else 0x41,)) + os.urandom(size)
    return AccessUnit(
        epoch=epoch,
        sequence=sequence,
        track="video",
        codec="H264",
        timestamp=sequence * 3600 if timestamp is None else timestamp,
        capture_ns=sequence * FRAME_NS,
        arrival_ns=sequence * FRAME_NS,
        keyframe=keyframe,
        nals=(SPS, PPS, body) if keyframe else (body,),
    )
