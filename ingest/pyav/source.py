"""Everything that is not RTSP, through PyAV: files, RTMP, FLV, MPEG-TS and HLS over HTTP, V4L2 devices.

PyAV is imported when such a source is played, and not before.
"""

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from common.clock import Clock
from common.urls import CameraUrl, redact
from ingest.source import Sink

if TYPE_CHECKING:
    from ingest.pyav.reader import Opening

LEAVE_DEADLINE_S = 0.5
# From the network, what a camera or streaming server may send and nothing that reads scripts of other
# formats; a playlist is read from there only, as one on disk could name any file.
_FILES = "flv,mpegts,mov,matroska,avi,mpeg,h264,hevc,mjpeg"
_STREAMS = f"{_FILES},live_flv,mpjpeg,aac,hls"
# What a source may open in turn: redirects and playlists never reach local files, pipes or commands.
_PROTOCOLS = {
    "file": "file",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "http": "http,https,tls,tcp,crypto",
    "https": "https,tls,tcp,crypto",
}
# Enough for a keyframe of a 4K camera. Packets read meanwhile are played, so `nobuffer` would gain nothing
# and lose the first keyframe.
_QUICK = (("probesize", str(2 << 20)), ("analyzeduration", "1000000"))


def ffmpeg_url(url: CameraUrl) -> str:
    """The URL as FFmpeg wants it, with the login; never to be shown."""
    if url.scheme == "v4l2":
        return url.path
    if url.scheme == "file":
        return f"file:{url.path}"
    if url.username is None:
        return url.public
    login = f"{quote(url.username, safe='')}:{quote(url.password or '', safe='')}"
    scheme, rest = url.public.split("://", 1)
    return f"{scheme}://{login}@{rest}"


def _trusted_certificates() -> str | None:
    """The file of root certificates; FFmpeg's own build may look where this system has none."""
    paths = ssl.get_default_verify_paths()
    known = (paths.cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    return next((path for path in known if path and Path(path).exists()), None)


def _opening(url: CameraUrl, verify_tls: bool, audio: bool) -> "Opening":
    from ingest.pyav.reader import Opening

    if url.scheme == "v4l2":
        return Opening(f"device {url.path}", url.path, (), "that it is a camera", device=True)
    options = {"protocol_whitelist": _PROTOCOLS[url.scheme]}
    if url.scheme == "file":
        options["format_whitelist"] = _FILES
        what = redact(f"file {url.path}")
        return Opening(what, ffmpeg_url(url), tuple(options.items()), "the path", audio, looped=True)
    options["format_whitelist"] = _STREAMS
    options |= _QUICK
    # Of a live playlist, the newest segment but one: it plays while the next is made.
    options["live_start_index"] = "-2"
    options["tls_verify"] = str(int(verify_tls))
    if verify_tls and (certificates := _trusted_certificates()):
        options["ca_file"] = certificates
    check = "its address and path" + (", and its certificate" if url.scheme == "https" else "")
    return Opening(f"camera at {url.host}:{url.port}", ffmpeg_url(url), tuple(options.items()), check, audio)


_CONTAINERS = {"flv": "FLV", "live_flv": "FLV", "mpegts": "MPEG-TS", "hls": "HLS", "mpjpeg": "MJPEG"}


def _via(url: CameraUrl, container: str) -> str:
    """How it is carried, in words."""
    if url.scheme == "v4l2":
        return "V4L2"
    name = _CONTAINERS.get(container, container.split(",", 1)[0])
    if url.scheme == "file":
        return f"file ({name})"
    if url.scheme in ("rtmp", "rtmps"):
        return url.scheme.upper()
    return f"{name} over {url.scheme.upper()}"


class AvSource:
    """Implements Source: one attempt is one thread that reads (reader.py).

    `verify_tls` is for https; FFmpeg checks no certificates of rtmps, nor of the segments that a playlist
    names.
    """

    def __init__(self, url: CameraUrl, clock: Clock, verify_tls: bool = True, audio: bool = True) -> None:
        self._url = url
        self._clock = clock
        self._verify_tls = verify_tls
        self._audio = audio

    async def play(self, sink: Sink) -> None:
        """See `ingest.source.Source.play`. A file plays round after round, its time going on."""
        from ingest.pyav.reader import AvReader

        loop = asyncio.get_running_loop()
        failed: asyncio.Future[None] = loop.create_future()
        left: asyncio.Future[None] = loop.create_future()

        def tell(call: Callable[[], None]) -> None:
            # What was on its way when the play ended is of no interest.
            if not failed.done():
                try:
                    call()
                except Exception as exc:
                    failed.set_exception(exc)

        def end(error: Exception) -> None:
            left.set_result(None)
            if not failed.done():
                failed.set_exception(error)

        reader = AvReader(
            _opening(self._url, self._verify_tls, self._audio),
            self._clock,
            on_playing=lambda tracks, form: tell(partial(sink.playing, tracks, _via(self._url, form))),
            on_frames=lambda track, frames: tell(partial(sink.frames, track, frames)),
            on_end=end,
        )
        reader.start()
        try:
            await failed
        finally:
            reader.stop()
            await asyncio.wait({left}, timeout=LEAVE_DEADLINE_S)
