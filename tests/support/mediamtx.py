"""MediaMTX as an RTSP camera, with FFmpeg publishing to it; no Debian package has it, so it is optional.

CCTV3_TEST_MEDIAMTX=/path/to/mediamtx names the program. FFmpeg brings G.711, AAC, Opus, H.264 and H.265;
MediaMTX repacks nothing, so RTP is FFmpeg's and RTSP is gortsplib's.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.certificates import CertificateFiles
from tests.support.ports import free_media_ports
from tests.support.processes import until_described, until_listening
from tests.support.vlc_rtsp_server import AUDIO, VIDEO

PROGRAM = os.environ.get("CCTV3_TEST_MEDIAMTX")
CONFIG = """
logLevel: error
rtsp: yes
rtspTransports: [udp, tcp]
rtspEncryption: optional
rtspAddress: 127.0.0.1:{0}
rtspsAddress: 127.0.0.1:{1}
rtpAddress: 127.0.0.1:{2}
rtcpAddress: 127.0.0.1:{3}
srtpAddress: 127.0.0.1:{4}
srtcpAddress: 127.0.0.1:{5}
rtspServerCert: {files.certificate}
rtspServerKey: {files.key}
rtmp: no
hls: no
webrtc: no
srt: no
moq: no
paths:
  camera:
    runOnInit: {publish}
    runOnInitRestart: yes
"""


@contextlib.asynccontextmanager
async def mediamtx_camera(
    folder: Path, files: CertificateFiles, codec: str, audio: str
) -> AsyncIterator[tuple[str, str]]:
    """MediaMTX with one path; gives its rtsp:// and rtsps:// URLs."""
    assert PROGRAM is not None
    first = free_media_ports(7)
    first += first % 2  # RTP ports are even
    url, secure_url = (
        f"{scheme}://127.0.0.1:{port}/camera" for scheme, port in (("rtsp", first), ("rtsps", first + 1))
    )
    rate, encoder = AUDIO[audio]
    publish = " ".join(
        (
            *("ffmpeg -v quiet -re -f lavfi -i testsrc2=size=320x180:rate=25",),
            *(f"-re -f lavfi -i anoisesrc=sample_rate={rate}:amplitude=0.1",),
            *(*VIDEO[codec], *encoder, "-ac 1 -f rtsp -rtsp_transport tcp", url),
        )
    )
    config = folder / "mediamtx.yml"
    ports = range(first, first + 6)
    config.write_text(CONFIG.format(*ports, files=files, publish=publish))
    async with until_listening(first, PROGRAM, str(config)):
        await until_described(url)
        yield url, secure_url
