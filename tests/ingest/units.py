"""Access units for tests."""

from common.access_unit import AccessUnit


def access_unit(sequence, keyframe=False, size=10, timestamp=None):
    return AccessUnit(
        epoch=1,
        sequence=sequence,
        track="video",
        codec="H264",
        timestamp=sequence * 3600 if timestamp is None else timestamp,
        capture_ns=0,
        arrival_ns=0,
        keyframe=keyframe,
        nals=(bytes(size),),
    )
