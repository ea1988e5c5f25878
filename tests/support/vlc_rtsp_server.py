"""VLC as an RTSP camera, with a server of its own that is no kin of GStreamer's; it serves RTP over UDP only.

It lists the audio before the video, and refuses TCP with 461.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.ports import free_tcp_port
from tests.support.processes import until_described, until_listening

CLIP_S = 30
# Noise: no two frames are alike, so that two recordings can be laid over each other.
PICTURE = ("-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=25:duration={CLIP_S}")
VIDEO = {
    "h264": ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"),
    "h265": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=0:keyint=25"),
}
AUDIO = {
    "aac": (48_000, ("-c:a", "aac", "-b:a", "64k")),
    "opus": (48_000, ("-c:a", "libopus", "-b:a", "64k")),
    "pcma": (8_000, ("-c:a", "pcm_alaw")),
    "pcmu": (8_000, ("-c:a", "pcm_mulaw")),
}


async def make_clip(path: Path, codec: str, audio: str) -> None:
    """Encodes what VLC serves."""
    rate, encoder = AUDIO[audio]
    noise = ("-f", "lavfi", "-i", f"anoisesrc=sample_rate={rate}:duration={CLIP_S}:amplitude=0.1")
    process = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-v", "error", *PICTURE, *noise, *VIDEO[codec], *encoder, "-ac", "1", str(path))
    )
    assert await process.wait() == 0


@contextlib.asynccontextmanager
async def vlc_camera(codec: str = "h264", audio: str = "aac") -> AsyncIterator[str]:
    """VLC serving a clip once, at its pace, to all clients alike; gives the URL."""
    port = free_tcp_port()
    url = f"rtsp://127.0.0.1:{port}/camera"
    folder = Path(tempfile.mkdtemp(prefix="cctv3-vlc-"))
    folder.chmod(0o755)
    # VLC refuses to run as root, and needs a home that it may write to.
    home = folder / "home"
    home.mkdir()
    home.chmod(0o777)
    user = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups") if os.getuid() == 0 else ()
    try:
        clip = folder / "clip.mkv"
        await make_clip(clip, codec, audio)
        sout = ("--sout", f"#rtp{{sdp={url}}}", "--sout-all")
        command = (*user, "cvlc", "--quiet", str(clip), *sout)
        async with until_listening(port, *command, env={"HOME": str(home)}):
            await until_described(url)
            yield url
    finally:
        shutil.rmtree(folder)
