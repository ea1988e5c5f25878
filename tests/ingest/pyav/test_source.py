import asyncio
import base64
import contextlib
import datetime
import itertools
import os
import ssl
import subprocess
import sys
import threading

import av
import pytest
from aiohttp import web
from av.bitstream import BitStreamFilterContext
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.clock import SystemClock
from common.errors import CameraError, CameraRefusal, LoginRefused
from common.h264 import split_annex_b
from common.urls import parse_camera_url
from ingest.codecs.frame import Frame
from ingest.pyav import reader as av_reader
from ingest.pyav import tracks as av_tracks
from ingest.pyav.reader import Handover, Pace
from ingest.pyav.source import AvSource, ffmpeg_url
from tests.support.ports import free_tcp_port

pytestmark = pytest.mark.peers

FRAMES, FPS, GOP = 10, 25, 5
SIZE = (160, 96)
FLV_HEADER_BYTES = 13
TS_PACKET_BYTES = 188
LOGIN = ("us er", "p@ss/:%w")


class Recorder:
    """A sink that keeps what it is told."""

    def __init__(self):
        self.tracks = ()
        self.via = None
        self.received = ([], [])
        self._changed = asyncio.Event()

    def playing(self, tracks, via, quirks=()):
        self.tracks, self.via = tracks, via

    def frames(self, track, frames):
        self.received[track].extend(frames)
        self._changed.set()

    def restarted(self, track):
        raise AssertionError("PyAV's sources do not restart")

    def sender_report(self, track, report, arrival_ns):
        raise AssertionError("PyAV's sources have no sender reports")

    @property
    def video(self):
        return self.received[0]

    @property
    def audio(self):
        return self.received[1]

    async def until(self, condition):
        while not condition():
            self._changed.clear()
            await self._changed.wait()


@contextlib.asynccontextmanager
async def playing(url, **options):
    """Plays while the block runs; gives the recorder and the task."""
    sink = Recorder()
    task = asyncio.ensure_future(AvSource(parse_camera_url(url), SystemClock(), **options).play(sink))
    try:
        async with asyncio.timeout(20):
            yield sink, task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def received(url, count, **options):
    """What came until there were `count` frames of each track."""
    async with playing(url, **options) as (sink, task):
        waiting = asyncio.ensure_future(
            sink.until(
                lambda: sink.tracks and all(len(sink.received[n]) >= count for n in range(len(sink.tracks)))
            )
        )
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            task.result()
        return sink


async def failure(url, **options):
    """What `play` raises."""
    async with playing(url, **options) as (_, task):
        with pytest.raises(CameraError) as caught:
            await task
    return caught.value


def encode(path, video, audio, *more):
    pictures = f"testsrc=size={SIZE[0]}x{SIZE[1]}:rate={FPS},format=yuv420p"
    command = ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", pictures]
    if audio:
        command += ["-f", "lavfi", "-i", "sine=sample_rate=48000", "-c:a", *audio.split()]
    command += ["-t", str(FRAMES / FPS), "-c:v", *video.split(), *more, str(path)]
    subprocess.run(command, check=True)
    return path


H264 = f"libx264 -bf 2 -g {GOP} -threads 1"
H265 = f"libx265 -x265-params log-level=none:keyint={GOP}:open-gop=0:pools=none"
CLIPS = {
    "h264.mp4": (H264, "aac -ac 2"),
    "h264.flv": (H264, "aac -ar 44100"),
    "h264.ts": (H264, "aac"),
    "h264.mkv": (H264, "libopus"),
    "h264.h264": (H264.replace("-bf 2", "-bf 0"), ""),
    "h265.ts": (H265, "aac"),
    "h265.mp4": (H265, ""),
    "mjpeg.mkv": ("mjpeg", "pcm_alaw -ar 8000"),
    "mulaw.flv": (H264, "pcm_mulaw -ar 8000"),
    "vp8.mkv": ("libvpx", ""),
    "mp2.ts": (H264, "mp2"),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name, (video, audio) in CLIPS.items():
        encode(folder / name, video, audio)
    return folder


def nals_of(path, codec):
    """What FFmpeg's own bitstream filter makes of the file, without AUD, SEI and parameter sets."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        annexb = BitStreamFilterContext(f"{codec}_mp4toannexb", stream)
        packets = [out for packet in container.demux(stream) if packet.size for out in annexb.filter(packet)]
        return [slices(split_annex_b(bytes(packet)), codec) for packet in packets]


def slices(nals, codec):
    if codec == "h264":
        return [nal for nal in nals if nal[0] & 0x1F <= 5]
    return [nal for nal in nals if nal[0] >> 1 < 32]


@pytest.mark.parametrize(
    ("name", "codec"),
    [(name, "hevc" if name.startswith("h265") else "h264") for name in CLIPS if name.startswith("h26")],
)
async def test_pictures_are_those_of_ffmpeg(clips, name, codec):
    sink = await received(f"file://{clips / name}", FRAMES)
    frames = sink.video[:FRAMES]
    assert [slices(frame.nals, codec) for frame in frames] == nals_of(clips / name, codec)
    assert [frame.keyframe for frame in frames] == [n % GOP == 0 for n in range(FRAMES)]
    assert [frame.gap for frame in frames] == [True] + [False] * (FRAMES - 1)
    kinds = [nal[0] & 0x1F if codec == "h264" else nal[0] >> 1 for nal in frames[GOP].nals]
    assert kinds[: 2 if codec == "h264" else 3] == ([7, 8] if codec == "h264" else [32, 33, 34])
    # Decoding order, with the times of presentation.
    times = [frame.timestamp for frame in frames]
    step = 90_000 // FPS
    first = min(times)
    assert sorted(times) == [first + n * step for n in range(FRAMES)]
    parameters = sink.tracks[0].parameters
    assert (parameters.width, parameters.height) == SIZE
    reorders = name not in ("h264.h264",)
    assert bool(parameters.max_reorder_frames) == reorders
    assert (times != sorted(times)) == reorders
    assert (sink.tracks[0].damaged, sink.tracks[0].malformed, sink.tracks[0].lost) == (0, 0, 0)


def aac_frames(path):
    """The clip's AAC without any header."""
    with av.open(str(path)) as container:
        raw = BitStreamFilterContext("aac_adtstoasc", container.streams.audio[0])
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        return [bytes(out) for packet in packets for out in raw.filter(packet)]


@pytest.mark.parametrize(
    ("name", "config", "rate", "channels"),
    [("h264.mp4", "1190", 48_000, 2), ("h264.flv", "1208", 44_100, 1), ("h264.ts", "1188", 48_000, 1)],
)
async def test_aac(clips, name, config, rate, channels):
    sink = await received(f"file://{clips / name}", 12)
    track = sink.tracks[1]
    assert (track.kind, track.codec, track.clock_rate, track.channels) == ("audio", "AAC", rate, channels)
    assert track.config.hex().startswith(config)
    assert track.parameters is None
    expected = aac_frames(clips / name)[:12]
    assert [frame.nals for frame in sink.audio[:12]] == [(data,) for data in expected]
    # FLV counts milliseconds.
    for one, other in itertools.pairwise(sink.audio[:12]):
        assert abs((other.timestamp - one.timestamp) % (1 << 32) - 1024) <= rate // 1000


async def test_other_codecs(clips):
    sink = await received(f"file://{clips / 'mjpeg.mkv'}", FRAMES)
    assert [track.codec for track in sink.tracks] == ["JPEG", "PCMA"]
    assert (sink.tracks[0].parameters.width, sink.tracks[0].parameters.height) == SIZE
    for frame in sink.video:
        assert frame.keyframe and len(frame.nals) == 1
        assert frame.nals[0][:2] == b"\xff\xd8" and frame.nals[0].rstrip(b"\0")[-2:] == b"\xff\xd9"
    assert sink.tracks[1].clock_rate == 8000
    sink = await received(f"file://{clips / 'mulaw.flv'}", 1)
    assert (sink.tracks[1].codec, sink.tracks[1].clock_rate) == ("PCMU", 8000)
    sink = await received(f"file://{clips / 'h264.mkv'}", 2)
    assert (sink.tracks[1].codec, sink.tracks[1].clock_rate) == ("OPUS", 48_000)
    assert sink.tracks[1].config == b""


async def test_file_plays_at_its_speed_and_goes_on(clips):
    async with playing(f"file://{clips / 'h264.mp4'}") as (sink, _):
        await sink.until(lambda: len(sink.video) > 2 * FRAMES and len(sink.audio) > 40)
    assert sink.via == "file (mov)"
    times = sorted(frame.timestamp for frame in sink.video[: 2 * FRAMES])
    assert all(other - one > 0 for one, other in itertools.pairwise(times))
    # Rounds follow each other within a frame or two: as long as the longer of the tracks.
    assert times[FRAMES] - times[FRAMES - 1] <= 3 * 3600
    assert sink.video[FRAMES].keyframe and not sink.video[FRAMES].gap
    sound = [frame.timestamp for frame in sink.audio if frame.timestamp < 1 << 31]
    assert sound == sorted(sound) and len(set(sound)) == len(sound)
    # The last of 20 pictures came when 19 had passed, as nearly as this machine keeps time.
    assert sink.video[2 * FRAMES - 1].arrival_ns - sink.video[0].arrival_ns >= 0.6e9
    assert sink.tracks[0].last_packet_at is not None


async def test_sound_that_nobody_wants(clips, caplog):
    sink = await received(f"file://{clips / 'h264.mp4'}", 2, audio=False)
    assert [track.codec for track in sink.tracks] == ["H264"]
    assert not caplog.text


async def test_no_sound_is_better_than_none(clips, caplog):
    sink = await received(f"file://{clips / 'mp2.ts'}", 1)
    assert [track.codec for track in sink.tracks] == ["H264"]
    assert "sends its sound as mp2, which is not read" in caplog.text


async def test_sound_that_is_declared_and_not_there(clips, caplog):
    """The program map of a transport stream names AAC, and no packet of it ever comes."""
    data = (clips / "h264.ts").read_bytes()
    packets = [data[at : at + TS_PACKET_BYTES] for at in range(0, len(data), TS_PACKET_BYTES)]
    sound = (1, 1)
    (clips / "silent.ts").write_bytes(b"".join(p for p in packets if (p[1] & 0x1F, p[2]) != sound))
    sink = await received(f"file://{clips / 'silent.ts'}", 1)
    assert [track.codec for track in sink.tracks] == ["H264"]
    assert "declares sound as aac and sends none, so it is left out" in caplog.text


@pytest.mark.parametrize("name", ["h264.mp4", "h264.flv", "h264.mkv"])
async def test_metadata_that_is_no_text(clips, tmp_path, name):
    """A title in Latin-1: UTF-8 is what the containers want."""
    camera = tmp_path / name
    copy = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(clips / name), "-c", "copy"]
    await asyncio.to_thread(subprocess.run, [*copy, "-metadata", "title=Haustor", str(camera)], check=True)
    data = camera.read_bytes()
    assert b"Haustor" in data
    camera.write_bytes(data.replace(b"Haustor", b"Haust\xfcr"))
    assert (await received(f"file://{camera}", 2)).video


async def test_what_the_library_raises_is_the_camera_s_fault(clips, monkeypatch, caplog):
    """It reads octets of strangers: nothing in there may end the process."""

    def split(*_):
        raise OverflowError("what nobody thought of")

    monkeypatch.setattr(av_tracks.AvTrack, "times", split)
    error = await failure(f"file://{clips / 'h264.mp4'}")
    assert type(error) is CameraError
    assert str(error) == f"file {clips / 'h264.mp4'} cannot be read (OverflowError)"
    assert "what nobody thought of" in caplog.text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist; check the path"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"no video" * 1000), "sends nothing that can be read as video"),
        (
            lambda path: encode(path, "libvpx", "", "-f", "matroska"),
            "sends its video as vp8; set it to H.264",
        ),
        (lambda path: encode_audio(path), "has no video"),
    ],
)
async def test_unusable_files(tmp_path, make, words):
    make(tmp_path / "camera")
    error = await failure(f"file://{tmp_path / 'camera'}")
    assert isinstance(error, CameraRefusal)
    assert words in str(error) and f"file {tmp_path / 'camera'}" in str(error)


def encode_audio(path):
    command = ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "sine", "-t", "1"]
    command += ["-c:a", "aac", "-f", "mpegts"]
    subprocess.run([*command, str(path)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_file_without_permission(tmp_path):
    (tmp_path / "camera").touch(mode=0)
    assert "may not be read" in str(await failure(f"file://{tmp_path / 'camera'}"))


async def test_names_are_percent_decoded(clips, tmp_path):
    name = "a b%20:#?.mp4"
    (tmp_path / name).write_bytes((clips / "h264.mp4").read_bytes())
    assert (await received(f"file://{tmp_path}/a%20b%2520:%23%3F.mp4", 1)).video


async def test_devices(monkeypatch, tmp_path):
    error = await failure(f"v4l2://{tmp_path}/video0")
    assert isinstance(error, CameraRefusal) and f"device {tmp_path}/video0 does not exist" in str(error)
    assert "device /dev/null cannot be reached: Inappropriate ioctl" in str(await failure("v4l2:///dev/null"))
    asked = []

    def raw_only(path, mode, format, options, timeout, metadata_errors):
        asked.append((path, format, options["input_format"]))
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr(av_reader.av, "open", raw_only)
    error = await failure("v4l2:///dev/video0")
    assert isinstance(error, CameraRefusal) and "gives raw pictures only" in str(error)
    assert asked == [("/dev/video0", "v4l2", name) for name in ("h264", "hevc", "mjpeg")]


class Web:
    """An HTTP camera; `/private` wants the login."""

    def __init__(self, folder):
        self.folder = folder
        self.paths = []
        self.port = 0
        self.redirect_to = ""
        self.runner = None
        self.live = asyncio.Event()

    async def file(self, request):
        name = request.match_info["name"]
        self.paths.append(name)
        if request.path.startswith("/private/"):
            expected = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()
            if request.headers.get("Authorization") != expected:
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="camera"'})
        if name.isdigit():
            return web.Response(status=int(name))
        if name == "redirect":
            raise web.HTTPFound(self.redirect_to)
        if name == "multipart":
            return await self.multipart(request)
        if name == "silent":
            await self.live.wait()
        path = self.folder / name
        return web.FileResponse(path) if path.exists() else web.Response(status=404)

    async def multipart(self, request):
        response = web.StreamResponse()
        response.content_type = "multipart/x-mixed-replace"
        response.headers["Content-Type"] = "multipart/x-mixed-replace; boundary=frame"
        await response.prepare(request)
        with av.open(str(self.folder / "mjpeg.mkv")) as container:
            pictures = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        with contextlib.suppress(ConnectionError):
            for picture in pictures:
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                await response.write(head.encode() + picture + b"\r\n")
        return response

    def url(self, path, login=False):
        user = "us%20er:p%40ss%2F%3A%25w@" if login else ""
        return f"http://{user}127.0.0.1:{self.port}/{path}"


@pytest.fixture
async def server(clips):
    camera = Web(clips)
    app = web.Application()
    app.router.add_get("/private/{name}", camera.file)
    app.router.add_get("/{name}", camera.file)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    camera.port = runner.addresses[0][1]
    camera.runner = runner
    yield camera
    camera.live.set()
    await runner.cleanup()


@pytest.fixture(scope="module")
def playlist(clips):
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", "h264.ts", "-c", "copy", "-f", "hls"]
    subprocess.run(
        [*command, "-hls_time", "0.2", "-hls_flags", "independent_segments", "a.m3u8"], cwd=clips, check=True
    )


@pytest.mark.parametrize(
    ("name", "via"),
    [("h264.ts", "MPEG-TS over HTTP"), ("h265.ts", "MPEG-TS over HTTP"), ("h264.flv", "FLV over HTTP")],
)
async def test_http(server, clips, name, via):
    codec = "hevc" if name.startswith("h265") else "h264"
    async with playing(server.url(name)) as (sink, task):
        with pytest.raises(CameraError, match=rf"^camera at 127.0.0.1:{server.port} ended the stream$"):
            await task
    assert sink.via == via
    assert [slices(frame.nals, codec) for frame in sink.video] == nals_of(clips / name, codec)[
        : len(sink.video)
    ]
    # The depacketizer gives the last picture away at the next one, should it not know markers yet.
    assert len(sink.video) >= FRAMES - 1


@pytest.mark.usefixtures("playlist")
async def test_hls_with_login(server, clips):
    async with playing(server.url("private/a.m3u8", login=True)) as (sink, task):
        with pytest.raises(CameraError, match="ended the stream"):
            await task
    assert sink.via == "HLS over HTTP"
    assert [slices(frame.nals, "h264") for frame in sink.video] == nals_of(clips / "h264.ts", "h264")
    # A segment comes at once and is played at the speed of its timestamps.
    assert sink.video[-1].arrival_ns - sink.video[0].arrival_ns >= 0.25e9
    assert {"a.m3u8", "a0.ts", "a1.ts"} <= set(server.paths)


async def test_multipart_jpeg_is_timed_by_arrival(server):
    async with playing(server.url("multipart")) as (sink, task):
        with pytest.raises(CameraError):
            await task
    assert sink.via == "MJPEG over HTTP"
    for frame in sink.video:
        arrival_ticks = frame.arrival_ns * 90_000 // 10**9
        assert (arrival_ticks - frame.timestamp) % (1 << 32) <= 90_000


async def test_new_parameter_sets_in_flv(server, clips):
    """A camera that changes its resolution sends a new decoder configuration record."""
    await asyncio.to_thread(encode, clips / "large.flv", H264, "", "-s", "320x192")
    small, large = (clips / "h264.flv").read_bytes(), (clips / "large.flv").read_bytes()
    (clips / "changing.flv").write_bytes(small + large[FLV_HEADER_BYTES:])
    async with playing(server.url("changing.flv")) as (sink, task):
        with pytest.raises(CameraError):
            await task
    assert (sink.tracks[0].parameters.width, sink.tracks[0].parameters.height) == (320, 192)
    keyframes = [frame for frame in sink.video if frame.keyframe]
    assert len(keyframes) == 4
    assert keyframes[1].nals[0] != keyframes[2].nals[0] == keyframes[3].nals[0]
    assert [nal[0] & 0x1F for nal in keyframes[2].nals[:2]] == [7, 8]
    expected = [*nals_of(clips / "h264.flv", "h264"), *nals_of(clips / "large.flv", "h264")]
    taken = [slices(frame.nals, "h264") for frame in sink.video]
    assert taken == expected[: len(taken)] and len(taken) >= 2 * FRAMES - 1


async def test_lost_ts_packets(server, clips):
    """What is left of a picture is not shown, nor what refers to it."""
    data = (clips / "h264.ts").read_bytes()
    packets = [data[at : at + TS_PACKET_BYTES] for at in range(0, len(data), TS_PACKET_BYTES)]
    video = [n for n, packet in enumerate(packets) if packet[1] & 0x1F == 1 and not packet[2]]
    starts = [n for n in video if packets[n][1] & 0x40]
    # The second packet of the second keyframe.
    del packets[video[video.index(starts[GOP]) + 1]]
    (clips / "lossy.ts").write_bytes(b"".join(packets) + data)
    async with playing(server.url("lossy.ts")) as (sink, task):
        with pytest.raises(CameraError):
            await task
    # The picture before it is lost too; so are the last two, as packets miss where the clip begins again.
    assert sink.tracks[0].malformed == 4
    expected = nals_of(clips / "h264.ts", "h264")
    taken = [slices(frame.nals, "h264") for frame in sink.video]
    assert taken[: GOP - 1] == expected[: GOP - 1]
    again = sink.video[GOP - 1]
    assert (again.keyframe, again.gap) == (True, True)
    assert taken[GOP - 1 :] == expected


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("private/h264.ts", LoginRefused, "wants another login (HTTP 401)"),
        ("403", CameraRefusal, "forbids this (HTTP 403)"),
        ("404", CameraRefusal, "has nothing at this path (HTTP 404)"),
        ("410", CameraRefusal, "refuses the request"),
        ("429", CameraError, "is asked too often (HTTP 429)"),
        ("503", CameraError, "Server returned 5XX"),
    ],
)
async def test_http_refusals(server, path, kind, words):
    error = await failure(server.url(path))
    assert type(error) is kind
    assert words in str(error) and f"camera at 127.0.0.1:{server.port}" in str(error)


def self_signed(folder):
    """A server's TLS context with a certificate that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(1))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "pem").write_bytes(private + certificate.public_bytes(encoding))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "pem")
    return context


async def test_certificate_that_nobody_trusts(server, tmp_path):
    site = web.TCPSite(server.runner, "127.0.0.1", 0, ssl_context=self_signed(tmp_path))
    await site.start()
    port = server.runner.addresses[-1][1]
    error = await failure(f"https://127.0.0.1:{port}/h264.ts")
    assert "cannot be reached" in str(error) and "certificate" in str(error)
    assert not server.paths
    sink = await received(f"https://127.0.0.1:{port}/h264.ts", 2, verify_tls=False)
    assert sink.via == "MPEG-TS over HTTPS"


async def test_dead_port_and_silence(server, monkeypatch):
    port = free_tcp_port()
    for scheme in ("http", "rtmp", "rtmps", "https"):
        error = await failure(f"{scheme}://127.0.0.1:{port}/live/x")
        assert str(error) == f"camera at 127.0.0.1:{port} refuses connections; check the port"
    monkeypatch.setattr(av_reader, "OPEN_DEADLINE_S", 0.2)
    assert "does not answer in time" in str(await failure(server.url("silent")))


async def test_cancelled_while_ffmpeg_waits(server):
    async with playing(server.url("silent")) as (sink, task):
        while not server.paths:
            await asyncio.sleep(0.01)
        reader = next(thread for thread in threading.enumerate() if thread.name == "av-reader")
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait({task})
        assert reader.daemon
    server.live.set()
    await asyncio.to_thread(reader.join)
    assert not sink.tracks


async def test_no_thread_is_left_behind(clips):
    await received(f"file://{clips / 'h264.mp4'}", 1)
    for thread in threading.enumerate():
        if thread.name == "av-reader":
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()


HOSTILE = {
    "local file": "{path}/h264.ts",
    "file URL": "file://{path}/h264.ts",
    "file protocol": "file:{path}/h264.ts",
    "concat": "concat:{path}/h264.ts|{path}/h264.ts",
    "subfile": "subfile,,start,0,end,0,,:{path}/h264.ts",
    "crypto over a file": "crypto:{path}/h264.ts",
    "pipe": "pipe:0",
    "data": "data:video/mp2t;base64,AAAA",
    "other protocol": "rtmp://127.0.0.1:{port}/x.ts",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_playlist_reaches_nothing_but_http(server, clips, name):
    entry = HOSTILE[name].format(path=clips, port=server.port)
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\n{entry}\n#EXT-X-ENDLIST\n"
    (clips / "hostile.m3u8").write_text(text)
    async with playing(server.url("hostile.m3u8")) as (sink, task):
        with pytest.raises(CameraError) as caught:
            await task
    assert not sink.tracks and not sink.video
    assert str(clips) not in str(caught.value)
    assert "h264.ts" not in server.paths or name == "local file"


async def test_redirection_reaches_no_local_file(server, clips):
    server.redirect_to = f"file://{clips}/h264.ts"
    async with playing(server.url("redirect")) as (sink, task):
        with pytest.raises(CameraError):
            await task
    assert not sink.tracks
    server.redirect_to = server.url("h264.ts")
    assert (await received(server.url("redirect"), 2)).video


async def test_playlist_of_a_local_file_is_not_read(clips):
    (clips / "local.m3u8").write_text(f"#EXTM3U\n#EXTINF:0.4,\n{clips}/h264.ts\n#EXT-X-ENDLIST\n")
    (clips / "script").write_text(f"ffconcat version 1.0\nfile {clips}/h264.ts\n")
    for name in ("local.m3u8", "script"):
        assert isinstance(await failure(f"file://{clips / name}"), CameraRefusal)


async def test_scripts_from_the_network_are_not_read(server, clips):
    (clips / "script").write_text("ffconcat version 1.0\nfile h264.ts\n")
    assert isinstance(await failure(server.url("script")), CameraRefusal)
    assert "h264.ts" not in server.paths


@contextlib.asynccontextmanager
async def rtmp_camera(clip):
    port = free_tcp_port()
    url = f"rtmp://127.0.0.1:{port}/live/camera"
    process = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-v", "quiet", "-nostdin", "-re", "-stream_loop", "-1", "-i", str(clip)),
        *("-c", "copy", "-f", "flv", "-listen", "1", url),
    )
    try:
        yield url
    finally:
        process.kill()
        await process.wait()


async def test_rtmp(clips):
    async with rtmp_camera(clips / "h264.mp4") as url:
        async with asyncio.timeout(20):
            while True:
                # FFmpeg listens a while after its start.
                try:
                    sink = await received(url, 2 * FRAMES)
                    break
                except CameraError as exc:
                    assert "refuses connections" in str(exc)
                    await asyncio.sleep(0.05)
    assert sink.via == "RTMP"
    assert [(track.codec, track.channels) for track in sink.tracks] == [("H264", 0), ("AAC", 2)]
    expected = nals_of(clips / "h264.mp4", "h264")
    assert [slices(frame.nals, "h264") for frame in sink.video[:FRAMES]] == expected
    assert sink.video[0].keyframe and len(sink.video[0].nals) > 2


async def test_login_is_in_no_error_and_no_log(server):
    """Neither what is raised nor what FFmpeg says itself shows the password, in any spelling."""
    program = (
        "import asyncio, logging, sys, traceback\n"
        "from common.clock import SystemClock\n"
        "from common.urls import parse_camera_url\n"
        "from ingest.pyav.source import AvSource\n"
        "logging.basicConfig(level=1)\n"
        "for url in sys.stdin.read().split():\n"
        "    try:\n"
        "        asyncio.run(AvSource(parse_camera_url(url), SystemClock()).play(None))\n"
        "    except Exception:\n"
        "        traceback.print_exc()\n"
    )
    port = free_tcp_port()
    urls = [f"{scheme}://admin:s%40cret@127.0.0.1:{port}/x/y" for scheme in ("http", "rtmp", "rtmps")]
    urls += [
        server.url(path).replace("//", "//admin:s%40cret@") for path in ("404", "private/h264.ts", "503")
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate("\n".join(urls).encode())
    assert output.count(b"Traceback") == len(urls)
    assert b"cret" not in output and b"admin" not in output


def test_rtsp_needs_no_pyav():
    program = "import sys, ingest.pyav.source; sys.exit('av' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/p?q=1", "http://h/p?q=1"),
        ("http://us%20er:p%40ss%2F%3A%25w@h:8080/p", "http://us%20er:p%40ss%2F%3A%25w@h:8080/p"),
        ("rtmp://a:p@ss@h/live/x", "rtmp://a:p%40ss@h/live/x"),
        ("https://a@[::1]/", "https://a:@[::1]/"),
        ("file:///a%20b", "file:/a b"),
        ("v4l2:///dev/video0", "/dev/video0"),
    ],
)
def test_url_for_ffmpeg(url, expected):
    assert ffmpeg_url(parse_camera_url(url)) == expected


async def test_what_the_sink_raises_ends_the_play(clips):
    class Full(Recorder):
        def frames(self, track, frames):
            raise CameraError("no room")

    with pytest.raises(CameraError, match="no room"):
        await AvSource(parse_camera_url(f"file://{clips / 'h264.mp4'}"), SystemClock()).play(Full())


async def test_file_that_changes(clips, tmp_path):
    camera = tmp_path / "camera"
    camera.write_bytes((clips / "h264.mkv").read_bytes())
    async with playing(f"file://{camera}") as (sink, task):
        await sink.until(lambda: sink.video)
        (tmp_path / "other").write_bytes((clips / "h265.ts").read_bytes())
        (tmp_path / "other").rename(camera)
        with pytest.raises(CameraError, match="holds other tracks than before"):
            await task


def frame(keyframe, size=10):
    return Frame(0, 0, keyframe, False, (bytes(size),))


async def test_full_queue_drops_up_to_the_next_keyframe(monkeypatch):
    monkeypatch.setattr(av_reader, "MAX_QUEUED_BYTES", 25)
    got = []
    handover = Handover(asyncio.get_running_loop(), lambda track, frames: got.append((track, frames)))
    assert [handover.put(0, frame(key)) for key in (True, False, False, False)] == [True, True, False, False]
    # Room is there again, but what comes refers to what is missing.
    await asyncio.sleep(0)
    assert not handover.put(0, frame(False))
    assert handover.put(1, frame(True))
    assert handover.put(0, frame(True))
    assert not handover.put(0, frame(True))
    await asyncio.sleep(0)
    assert handover.put(0, frame(True))
    await asyncio.sleep(0)
    assert [(track, [(one.keyframe, one.gap) for one in frames]) for track, frames in got] == [
        (0, [(True, False), (False, False)]),
        (1, [(True, False)]),
        (0, [(True, True)]),
        (0, [(True, True)]),
    ]
    monkeypatch.setattr(av_reader, "MAX_QUEUED_FRAMES", 1)
    assert [handover.put(0, frame(True, size=1)) for _ in range(2)] == [True, False]


class Waits:
    """A clock and a stop event in one: waiting turns the clock."""

    now = 100.0

    def monotonic_s(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


def test_pace():
    time = Waits()
    pace = Pace(time, time)
    passed = []

    def at(stream_s, late_s=0.0):
        time.now += late_s
        pace.wait(stream_s)
        passed.append(round(time.now - 100, 3))

    at(5.0)
    at(5.5)
    at(5.4)  # another track, loosely interleaved
    at(6.0, late_s=0.8)  # late, but not by so much that it could not hurry
    at(6.2)
    at(7.0, late_s=3.0)  # stalled: goes on from here
    at(7.1)
    at(3600.0)  # the timestamps jump ahead
    at(3600.5)
    at(1.0)  # and back
    at(1.5)
    assert passed == [0, 0.5, 0.5, 1.3, 1.3, 4.3, 4.4, 4.4, 4.9, 4.9, 5.4]


@pytest.mark.parametrize("slow", [0.0, 100e-6])
def test_a_live_stream_in_segments_gets_no_older(slow):
    """Segments of 4 s that are fetched late now and then, of a camera whose clock may be slow."""
    time = Waits()
    pace = Pace(time, time, live=True)
    ages, bursts = [], 0
    for segment in range(5000):
        made_s = 100 + (segment + 1) * 4 * (1 + slow)
        time.now = max(time.now, made_s + (3 if segment % 100 == 50 else 0))
        for picture in range(20):
            before = time.now
            pace.wait(segment * 4 + picture / 5)
            bursts += time.now == before
            ages.append(time.now - 100 - (segment * 4 + picture / 5) * (1 + slow))
    # The three seconds of each stall are made good.
    assert max(ages[-2000:]) < 8 and sorted(ages)[len(ages) // 2] < 6.5
    assert bursts < len(ages) * 0.08
