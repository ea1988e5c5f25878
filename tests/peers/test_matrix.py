"""Every server by every transport and codec: our reading against what FFmpeg reads, NAL unit by NAL unit.

The table of what was compared is printed at the end. CCTV3_TEST_MEDIAMTX=/path/to/mediamtx adds MediaMTX.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Literal

import pytest

from common.clock import SystemClock
from common.errors import CameraRefusal
from common.rtp import SenderReport
from common.urls import parse_camera_url
from ingest.codecs.frame import Frame
from ingest.rtsp_source import RtspOptions, RtspSource
from ingest.source import Remarks, SourceTrack
from tests.support import mediamtx
from tests.support.certificates import CertificateFiles, self_signed
from tests.support.ffmpeg_reference import Recording, Reference, differences
from tests.support.mediamtx import mediamtx_camera
from tests.support.netns import namespace
from tests.support.ports import free_tcp_port
from tests.support.processes import gst_camera, simulated_camera
from tests.support.table import Row, printed
from tests.support.vlc_rtsp_server import vlc_camera

pytestmark = pytest.mark.peers

UNITS = 40
DEADLINE_S = 20.0
SMALL = {"width": 320, "height": 176, "gop": 10}

Transport = Literal["tcp", "udp", "multicast", "http", "rtsps"]


class Recorder:
    """A sink that keeps what does not depend on who reads."""

    def __init__(self) -> None:
        self.recording = Recording()
        self.tracks: tuple[SourceTrack, ...] = ()
        self.sender_reports = 0

    def playing(self, tracks: tuple[SourceTrack, ...], via: str, remarks: Remarks | None = None) -> None:
        assert not self.tracks, f"{via}: a second attempt"
        self.tracks = tracks
        for track in tracks:
            if track.kind == "video":
                self.recording.video_codec = track.codec
            else:
                self.recording.audio_codec = track.codec

    def frames(self, track: int, frames: list[Frame]) -> None:
        recording = self.recording
        for frame in frames:
            if self.tracks[track].kind == "video":
                assert not (frame.gap and recording.video)
                recording.add_video(frame.nals)
            else:
                assert not (frame.gap and recording.audio)
                recording.audio += frame.nals

    def restarted(self, track: int) -> None:
        raise AssertionError(f"track {track} is another source")

    def sender_report(self, track: int, report: SenderReport, arrival_ns: int) -> None:
        self.sender_reports += 1


async def read(url: str, transport: Transport, units: int = UNITS) -> Recorder:
    """Plays a camera as ingest does, until that many access units have come."""
    transports = ("tcp",) if transport == "rtsps" else (transport,)
    options = RtspOptions(transports=transports, verify_tls=False)
    sink = Recorder()
    playing = asyncio.create_task(RtspSource(parse_camera_url(url), options, SystemClock()).play(sink))
    try:
        async with asyncio.timeout(DEADLINE_S):
            while len(sink.recording.video) < units:
                if playing.done():
                    await playing
                await asyncio.sleep(0.02)
    finally:
        playing.cancel()
        await asyncio.wait((playing,))
    assert not any(track.malformed for track in sink.tracks)
    return sink


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    heads = ("server", "by", "video units", "audio frames or octets", "against FFmpeg")
    with printed(request, *heads) as rows:
        yield rows


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return self_signed(tmp_path_factory.mktemp("tls"))


async def compare(table: list[Row], server: str, urls: Mapping[Transport, str]) -> None:
    """Reads by all transports at once, while FFmpeg reads each distinct URL."""
    references: dict[str, Reference] = {}
    for transport, url in urls.items():
        if url not in references:
            references[url] = Reference(url, "tcp" if transport == "rtsps" else transport)
    failures: list[str] = []
    try:
        for reference in references.values():
            await reference.until(video=2)
        sinks = await asyncio.gather(*(read(url, transport) for transport, url in urls.items()))
        # So that FFmpeg, which waits for the start of the next unit, has all that ours have.
        for reference in references.values():
            await reference.until(video=len(reference.recording.video) + 3)
    finally:
        recordings = {url: await reference.stop() for url, reference in references.items()}
    for (transport, url), sink in zip(urls.items(), sinks, strict=True):
        theirs = recordings[url]
        overlap, found = differences(sink.recording, theirs)
        audio = f"{overlap.audio} {theirs.audio_codec}" if theirs.audio_codec else "-"
        video = f"{overlap.video} {theirs.video_codec}"
        table.append((server, transport, video, audio, "; ".join(found) or "equal"))
        failures += [f"{transport}: {difference}" for difference in found]
        if overlap.video < UNITS // 2 or (theirs.audio_codec and overlap.audio < UNITS // 4):
            failures.append(f"{transport}: only {overlap} in common")
    assert not failures


@pytest.mark.parametrize(
    ("codec", "audio", "tls"),
    [
        ("h264", "aac", True),
        ("h265", "opus", True),
        ("h264", "pcma", False),
        ("jpeg", "pcmu", False),
        ("h264", "g722", False),
        ("h265", "l16", False),
    ],
)
async def test_gstreamer(
    table: list[Row], files: CertificateFiles, codec: str, audio: str, tls: bool
) -> None:
    keys = {"tls_cert": files.certificate, "tls_key": files.key} if tls else {}
    async with gst_camera(codec=codec, audio=audio, **keys, **SMALL) as camera:
        url, *secure = camera.ready.split()
        urls: dict[Transport, str] = {"tcp": url, "udp": url, "http": url}
        if secure:
            urls["rtsps"] = secure[0]
        await compare(table, "GStreamer", urls)


async def test_gstreamer_with_login(table: list[Row]) -> None:
    login = {"user": "us er", "password": 'p@/s"', "auth": "digest"}
    async with gst_camera(**login, **SMALL) as camera:
        url = camera.ready.replace("://", "://us%20er:p%40%2Fs%22@")
        await compare(table, "GStreamer, Digest", {"tcp": url, "udp": url, "http": url})


async def test_gstreamer_sessions_outlive_their_timeout() -> None:
    timeout_s, grace_s = 3, 5  # GStreamer ends a silent client's media after the sum
    units = (timeout_s + grace_s + 1) * 25
    async with gst_camera(session_timeout=timeout_s, audio="pcma", **SMALL) as camera:
        await asyncio.gather(*(read(camera.ready, transport, units) for transport in ("tcp", "udp", "http")))


async def test_gstreamer_by_multicast(table: list[Row]) -> None:
    with namespace() as far:
        options = {"host": far.address, "protocols": "tcp,multicast", "audio": "opus", **SMALL}
        async with gst_camera(inside=far, **options) as camera:
            await compare(table, "GStreamer", {"tcp": camera.ready, "multicast": camera.ready})


@pytest.mark.parametrize(("codec", "audio"), [("h264", "aac"), ("h265", "opus"), ("h264", "pcma")])
async def test_vlc(table: list[Row], codec: str, audio: str) -> None:
    async with vlc_camera(codec, audio) as url:
        await compare(table, "VLC", {"udp": url})


@contextlib.asynccontextmanager
async def simulated(**options: object) -> AsyncIterator[str]:
    async with simulated_camera(free_tcp_port(), **SMALL, **options) as url:
        yield url


@pytest.mark.parametrize(
    ("codec", "audio"),
    [("h264", "aac"), ("h265", "opus"), ("jpeg", "pcma"), ("h264", "g722"), ("h264", "l16")],
)
async def test_simulated_camera(table: list[Row], codec: str, audio: str) -> None:
    async with simulated(codec=codec, audio=audio) as url:
        await compare(table, "simulated", {"tcp": url, "udp": url, "http": url})


async def test_simulated_camera_with_tls(table: list[Row], files: CertificateFiles) -> None:
    async with simulated(audio="pcmu", tls_cert=files.certificate, tls_key=files.key) as url:
        await compare(table, "simulated", {"rtsps": url})


async def test_a_certificate_that_nobody_signed_is_refused(files: CertificateFiles) -> None:
    async with gst_camera(tls_cert=files.certificate, tls_key=files.key, **SMALL) as camera:
        url = parse_camera_url(camera.ready.split()[1])
        with pytest.raises(CameraRefusal, match="certificate"):
            await RtspSource(url, RtspOptions(("tcp",)), SystemClock()).play(Recorder())


async def test_a_server_without_tcp_is_asked_for_udp() -> None:
    async with vlc_camera() as url:
        sink = Recorder()
        source = RtspSource(parse_camera_url(url), RtspOptions(("tcp", "udp")), SystemClock())
        playing = asyncio.create_task(source.play(sink))
        async with asyncio.timeout(DEADLINE_S):
            while not sink.recording.video and not playing.done():
                await asyncio.sleep(0.02)
        playing.cancel()
        await asyncio.wait((playing,))
        assert sink.recording.video


@pytest.mark.skipif(mediamtx.PROGRAM is None, reason="CCTV3_TEST_MEDIAMTX does not name a MediaMTX")
@pytest.mark.parametrize(("codec", "audio"), [("h264", "aac"), ("h265", "opus"), ("h264", "pcma")])
async def test_mediamtx(
    table: list[Row],
    files: CertificateFiles,
    tmp_path_factory: pytest.TempPathFactory,
    codec: str,
    audio: str,
) -> None:
    folder = tmp_path_factory.mktemp("mediamtx")
    async with mediamtx_camera(folder, files, codec, audio) as (url, secure_url):
        await compare(table, "MediaMTX", {"tcp": url, "udp": url, "http": url, "rtsps": secure_url})
