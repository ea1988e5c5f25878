import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from common.messages import AudioReport
from common.urls import parse_camera_url
from ingest import probe
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, gst_camera
from tests.support.reports import VIDEO as WELL_VIDEO
from tests.support.reports import WELL

PASSWORD = "s@cret/:%"
LOGIN = "viewer:s%40cret%2F%3A%25@"

VIDEO = replace(WELL_VIDEO, fps=25.04, bitrate=4_012_345, peak_bitrate=5_500_000)
REPORT = replace(
    WELL,
    via="RTSP over UDP",
    video=VIDEO,
    access_units=125,
    lost_packets=3,
    reordered_packets=2,
    damaged=1,
    jitter_s=0.0031,
    clock_offset_s=-1.25,
    clock_drift_ppm=12.4,
    first_frame_s=0.415,
    quirks=("marker on every NAL unit",),
)
URL = parse_camera_url("rtsp://viewer:secret@camera/path?token=hush")


def test_readable():
    assert probe.readable(URL, REPORT, 100).splitlines() == [
        "rtsp://camera/path?token=***",
        "  carried by        RTSP over UDP",
        "  first picture     after 0.41 s",
        "  video             H264, High, 1920 x 1080",
        "  frame rate        25.0 per second",
        "  bit rate          4.0 Mbit/s, at most 5.5 Mbit/s in a second",
        "  keyframes         every 2.0 s (50 frames)",
        "  B-frames          no",
        "  audio             PCMA, 8 kHz, mono, 64 kbit/s",
        "  jitter            3 ms",
        "  camera's clock    1.2 s behind this machine's",
        "  packets           3 lost, 2 out of order, 0 unreadable, 1 pictures damaged",
        "  clock drift       +12 ppm",
        "  quirks            marker on every NAL unit",
        "",
        "Nothing to set.",
    ]


def test_advice_is_wrapped():
    report = replace(REPORT, advice=("Set the one thing and the other thing in the camera.", "Then rest."))
    assert probe.readable(URL, report, 40).splitlines()[-5:] == [
        "",
        "What to set:",
        "  - Set the one thing and the other",
        "    thing in the camera.",
        "  - Then rest.",
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"audio": None}, "audio             none that is read"),
        ({"audio": AudioReport("OPUS", 48_000, 2, None)}, "audio             OPUS, 48 kHz, stereo, unknown"),
        ({"clock_offset_s": None}, "camera's clock    unknown: it sends no sender reports"),
        (
            {"clock_offset_s": 7.0, "clock_jumps": 4},
            "camera's clock    7.0 s ahead of this machine's, 4 jumps",
        ),
        ({"via": "file (mov)"}, "packets           0 unreadable, 1 pictures damaged"),
        ({"video": replace(VIDEO, gop_s=None)}, "keyframes         only one was seen; a longer --seconds"),
        ({"video": replace(VIDEO, width=None, profile=None)}, "video             H264, size unknown"),
        ({"video": replace(VIDEO, bitrate=None, peak_bitrate=None)}, "bit rate          unknown"),
        ({"video": replace(VIDEO, b_frames=True)}, "B-frames          yes"),
        ({"video": replace(VIDEO, gop_frames=None)}, "keyframes         every 2.0 s\n"),
    ],
)
def test_what_is_unknown_or_unusual(change, line):
    assert f"  {line}" in probe.readable(URL, replace(REPORT, **change), 100)


def test_jpeg_has_no_keyframes_and_files_no_network():
    text = probe.readable(URL, replace(REPORT, via="file (mov)", video=replace(VIDEO, codec="JPEG")), 100)
    assert "keyframes" not in text and "jitter" not in text and "clock  " not in text


async def cctv3_probe(*arguments, **environment):
    """Exit status, stdout and stderr of the command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "common.command", "probe", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, **environment},
    )
    try:
        async with asyncio.timeout(60):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    output, errors = output.decode(), errors.decode()
    for secret in ("s@cret", "s%40cret", "wr0ng", "Traceback"):
        assert secret not in output + errors
    return process.returncode, output, errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "required: URL"),
        (("ftp://viewer:s@cret@camera/",), "URL must be a URL of the form rtsp://"),
        (("rtsp://viewer:s@cret@camera:99999/",), "has port 99999"),
        (("rtsp://camera/", "--transport", "pigeon"), "invalid choice: 'pigeon'"),
        (("rtsp://camera/", "--seconds", "0"), "argument --seconds"),
        (("rtsp://camera/", "--seconds", "nan"), "argument --seconds"),
    ],
)
async def test_usage(arguments, words):
    status, output, errors = await cctv3_probe(*arguments)
    assert (status, output) == (2, "")
    assert words in errors


async def test_help():
    status, output, _ = await cctv3_probe("--help")
    assert status == 0
    for option in ("--json", "--seconds", "--transport", "--insecure", "CCTV3_PASSWORD"):
        assert option in output


@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtmp"])
async def test_dead_port(scheme):
    port = free_tcp_port()
    status, output, errors = await cctv3_probe(f"{scheme}://{LOGIN}127.0.0.1:{port}/camera")
    assert (status, output) == (1, "")
    assert errors.startswith(f"cctv3 probe: camera at 127.0.0.1:{port} refuses connections; check the port")
    # What to do stands below, as in the camera's report.
    assert "\n  - Check the port" in errors


async def test_failure_as_json():
    status, output, errors = await cctv3_probe("--json", "file:///no/such/file")
    assert status == 1
    assert errors == "cctv3 probe: file /no/such/file does not exist; check the path\n"
    report = json.loads(output)
    assert report["error"] == "file /no/such/file does not exist; check the path"
    assert (report["url"], report["state"], report["video"]) == ("file:///no/such/file", "failed", None)


@pytest.mark.peers
async def test_camera_with_login():
    async with gst_camera(user="viewer", password=PASSWORD, auth="digest", gop=10, audio="aac") as camera:
        url = camera.ready.replace("//", f"//{LOGIN}")
        unnamed = camera.ready.replace("//", "//viewer@")
        # One after the other: GStreamer's server ends itself by an assertion when many come at once.
        shown = await cctv3_probe(url, "--seconds", "2")
        as_json = await cctv3_probe(url, "--seconds", "1", "--json")
        by_udp = await cctv3_probe(url, "--seconds", "0.5", "--transport", "udp")
        by_variable = await cctv3_probe(unnamed, "--seconds", "0.5", CCTV3_PASSWORD=PASSWORD)
        wrong = await cctv3_probe(camera.ready.replace("//", "//viewer:wr0ng@"))
    status, output, errors = shown
    assert (status, errors) == (0, "")
    assert output.startswith(camera.ready + "\n")
    assert "  carried by        RTSP over TCP\n" in output
    assert "  video             H264, High, 640 x 360\n" in output
    assert "  keyframes         every 0.4 s (10 frames)\n" in output
    assert "  audio             AAC" in output
    assert "What to set:\n  - WebRTC has no AAC" in output
    assert "\x1b" not in output

    status, output, errors = as_json
    assert (status, errors) == (0, "")
    report = json.loads(output)
    assert (report["url"], report["state"], report["via"]) == (camera.ready, "live", "RTSP over TCP")
    assert (report["video"]["width"], report["video"]["gop_frames"]) == (640, 10)
    assert report["audio"]["codec"] == "AAC"

    status, output, _ = by_udp
    assert status == 0
    assert "  carried by        RTSP over UDP\n" in output
    assert by_variable[0] == 0

    status, output, errors = wrong
    assert (status, output) == (1, "")
    assert "401" in errors and "\n  - Check the user name and password" in errors


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    source = "-f lavfi -i testsrc=size=160x96:rate=25:duration=1 -pix_fmt yuv420p"
    command = f"ffmpeg -v error -nostdin {source} -c:v libx264 -g 5"
    subprocess.run([*command.split(), str(path)], check=True)
    return path


@pytest.mark.peers
async def test_camera_that_is_not_rtsp(clip):
    status, output, errors = await cctv3_probe(f"file://{clip}", "--seconds", "1.5")
    assert (status, errors) == (0, "")
    assert "  carried by        file (mov)\n" in output
    assert "  video             H264, High, 160 x 96\n" in output
    assert "  B-frames          yes\n" in output
    assert "B-frames to 0" in output


@contextlib.asynccontextmanager
async def probing(url):
    """The command, while it measures for a minute."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "common.command", "probe", url, "--seconds", "60"),
        stderr=asyncio.subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, "CCTV3_LOG": "INFO"},
    )
    try:
        async with asyncio.timeout(30):
            while b"= camera probe: live" not in await process.stderr.readline():
                assert not process.stderr.at_eof()
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.peers
async def test_camera_that_ends_while_it_is_measured():
    async with gst_camera() as camera, probing(camera.ready) as process:
        await camera.kill()
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"cctv3 probe: camera " in errors and b"Traceback" not in errors


@pytest.mark.peers
async def test_interrupted(clip):
    async with probing(f"file://{clip}") as process:
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in errors
