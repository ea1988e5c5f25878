"""`python -m ingest.snapshot CAMERA FOLDER WIDTH`: the camera's last keyframe as a JPEG file on stdout.

A process of its own, so that a picture that harms the decoder harms nobody else. In front of the file stands
a line with the capture time in UTC nanoseconds. WIDTH 0 keeps the camera's size. FOLDER is CCTV3_RUN.
"""

import asyncio
import contextlib
import os
import resource
import secrets
import sys
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext

from common import wire
from common.access_unit import AccessUnit
from common.bus import MediaSubscriber, ipc_endpoint
from common.errors import CctvError, LocalError

DEADLINE_S = 10.0
"An on-demand camera has to be connected first."
MAX_MEMORY = 2 << 30
_DECODERS = {"H264": "h264", "H265": "hevc", "JPEG": "mjpeg"}


async def last_keyframe(camera: str, folder: Path) -> AccessUnit:
    """The newest keyframe that ingest has, or the next one; raises LocalError when none comes in time."""
    found: asyncio.Future[AccessUnit] = asyncio.get_running_loop().create_future()

    def heard(frames: list[bytes]) -> None:
        unit = wire.decode_media(frames)
        if isinstance(unit, AccessUnit) and unit.keyframe and not found.done():
            found.set_result(unit)

    subscriber = MediaSubscriber(ipc_endpoint(folder, f"camera-{camera}"), heard)
    try:
        # The subscription to what is live is what starts an on-demand camera.
        subscriber.subscribe(wire.live_topic("main", "video"))
        subscriber.subscribe(wire.join_topic("main", f"snapshot-{os.getpid()}", secrets.randbits(64)))
        async with asyncio.timeout(DEADLINE_S):
            return await found
    except TimeoutError:
        raise LocalError(f"{camera} sent no keyframe within {DEADLINE_S:g} s") from None
    finally:
        subscriber.close()


def to_jpeg(unit: AccessUnit, width: int) -> bytes:
    """The picture of a keyframe, scaled to `width` pixels unless that is 0; raises LocalError."""
    if unit.codec == "JPEG" and not width:
        return bytes(unit.nals[0])
    if unit.codec not in _DECODERS:
        raise LocalError(f"pictures in {unit.codec} cannot be decoded")
    data = unit.nals[0] if unit.codec == "JPEG" else b"".join(b"\0\0\0\1" + nal for nal in unit.nals)
    decoder = cast(VideoCodecContext, av.CodecContext.create(_DECODERS[unit.codec], "r"))
    decoder.thread_count = 1
    frames = []
    with contextlib.suppress(av.FFmpegError):
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    if not frames:
        raise LocalError("the keyframe cannot be decoded")
    frame = frames[0]
    size = (width or frame.width) & ~1 or 2
    height = round(frame.height * size / frame.width) & ~1 or 2
    picture = frame.reformat(width=size, height=height, format="yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = size, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)  # wanted, and not written
    picture.pts = 0
    picture.time_base = encoder.time_base
    encoder.options = {"qmin": "3", "qmax": "3"}
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def main() -> int:
    """Gives the exit status; what went wrong is one line on stderr."""
    camera, folder, width = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    os.nice(10)  # viewers first
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    try:
        unit = asyncio.run(last_keyframe(camera, folder))
        jpeg = to_jpeg(unit, width)
    except CctvError as exc:
        print(exc, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(b"%d\n" % unit.capture_ns + jpeg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
