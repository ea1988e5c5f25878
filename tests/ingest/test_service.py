"""The ingest process as supervisord runs it, with GStreamer's RTSP server as its camera."""

import asyncio
import os
import subprocess
import sys

import pytest

from common import wire
from common.access_unit import AccessUnit
from common.h264 import split_annex_b
from tests.support.ingest_process import DEADLINE_S, LIVE, ingest
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, gst_camera, simulated_camera


def login(url, user="us%20er", password="p%40%2Fs%22"):
    return url.replace("rtsp://", f"rtsp://{user}:{password}@")


@pytest.mark.peers
async def test_live_join_report_and_stop(tmp_path):
    options = {"user": "us er", "password": 'p@/s"', "auth": "digest", "gop": 10, "width": 320, "height": 240}
    async with gst_camera(**options) as camera:
        with ingest(tmp_path, login(camera.ready)) as running:
            await running.state("live")
            running.subscribe(LIVE)
            await running.until(lambda: len(running.decoded(LIVE)) > 30)
            topic = wire.join_topic("main", "w", 1)
            running.subscribe(topic)
            await running.until(
                lambda: any(isinstance(item, wire.JoinEnd) for item in running.decoded(topic))
            )
            await running.until(lambda: running.report.video.fps and running.report.video.gop_s)
            last = running.report
            status, seconds = running.stop()
            log = running.log.read_text()
    units = running.decoded(LIVE)
    assert [unit.sequence for unit in units] == list(range(units[0].sequence, units[0].sequence + len(units)))
    keyframes = [unit for unit in units if unit.keyframe]
    assert all([nal[0] & 0x1F for nal in unit.nals[:2]] == [7, 8] for unit in keyframes)
    *joined, end = running.decoded(topic)
    assert joined[0].keyframe and all(isinstance(unit, AccessUnit) for unit in joined)
    assert end == wire.JoinEnd(units[0].epoch, joined[-1].sequence + 1)
    live = {unit.sequence: unit for unit in units}
    assert all(live.get(unit.sequence, unit) == unit for unit in joined)
    video = last.video
    assert (video.codec, video.width, video.height, last.lost_packets) == ("H264", 320, 240, 0)
    assert video.fps == pytest.approx(25, rel=0.3) and video.gop_s == pytest.approx(0.4, abs=0.05)
    assert status == 0 and seconds < 2
    assert not (tmp_path / "camera-cam.sock").exists()
    assert "p@/s" not in log and "p%40" not in log


@pytest.mark.peers
async def test_on_demand_by_subscription(tmp_path):
    async with gst_camera(gop=10) as camera:
        with ingest(tmp_path, camera.ready, on_demand=True) as running:
            await running.state("idle")
            running.subscribe(LIVE)
            await running.until(lambda: len(running.decoded(LIVE)) > 5)
            assert running.report.state == "live"


@pytest.mark.peers
async def test_main_and_sub_stream_each_on_demand_with_sound(tmp_path):
    port = free_tcp_port()
    async with simulated_camera(port, audio="opus") as url:
        with ingest(tmp_path, url, on_demand=True, sub=f"{url}-sub") as running:
            await running.state("idle", "main")
            await running.state("idle", "sub")
            topics = {track: wire.live_topic("sub", track) for track in ("video", "audio")}
            for topic in topics.values():
                running.subscribe(topic)
            await running.state("live", "sub")
            await running.until(lambda: all(len(running.decoded(topic)) > 20 for topic in topics.values()))
            join = wire.join_topic("sub", "w", 1)
            running.subscribe(join)
            await running.until(lambda: any(isinstance(item, wire.JoinEnd) for item in running.decoded(join)))
            assert running.report.state == "idle"
            report = running.rendition("sub")
            video, audio = (running.decoded(topic) for topic in topics.values())
            assert running.events("sub") == ["connecting", "live"]
    assert (report.video.width, report.audio.codec, report.via) == (640, "OPUS", "RTSP over TCP")
    for units, codec in ((video, "H264"), (audio, "OPUS")):
        numbers = [unit.sequence for unit in units]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert {unit.codec for unit in units} == {codec}
    assert {(unit.clock_rate, unit.channels) for unit in audio} == {(48_000, 2)}
    assert running.decoded(join)[0].keyframe


@pytest.mark.peers
async def test_killed_camera_comes_back(tmp_path):
    port = free_tcp_port()
    url = f"rtsp://127.0.0.1:{port}/camera"
    with ingest(tmp_path, url) as running:
        await running.state("backing_off")
        assert "refuses connections" in running.report.error
        async with gst_camera(port=port) as camera:
            await running.state("live")
            await camera.kill()
            await running.state("backing_off")
        async with gst_camera(port=port):
            await running.state("live")
        assert running.log.read_text().count("refuses connections") <= 2


@pytest.mark.peers
async def test_wrong_password(tmp_path):
    async with gst_camera(user="us er", password="other", auth="basic") as camera:
        with ingest(tmp_path, login(camera.ready)) as running:
            await running.state("failed")
            assert "refuses the user name or password" in running.report.error
            assert running.events() == ["connecting", "failed"]
            assert running.log.read_text().count("! camera") == 1


@pytest.mark.peers
async def test_same_pictures_as_ffmpeg_reads(tmp_path):
    async with gst_camera(gop=10, width=320, height=240) as camera:
        with ingest(tmp_path, camera.ready) as running:
            await running.until(lambda: running.report is not None)
            running.subscribe(LIVE)
            await running.state("live")
            ffmpeg = await asyncio.create_subprocess_exec(
                *("ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", camera.ready, "-c", "copy"),
                *("-frames:v", "40", "-f", "h264", "-"),
                stdout=subprocess.PIPE,
            )
            async with asyncio.timeout(DEADLINE_S):
                data, _ = await ffmpeg.communicate()

    def slices(nals):
        return [nal for nal in nals if nal[0] & 0x1F in (1, 5)]

    theirs = slices(split_annex_b(data))
    # Annex B lets go of zeros at the end of a NAL unit, so ours are compared without them.
    ours = [nal.rstrip(b"\0") for unit in running.decoded(LIVE) for nal in slices(unit.nals)]
    assert len(theirs) >= 30
    start = ours.index(theirs[0])
    assert ours[start : start + len(theirs)] == theirs


def test_imports_stay_small():
    program = "import sys, ingest.service; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, check=True, timeout=30
    )
    loaded = {name.split(".")[0] for name in output.stdout.decode().split()}
    assert not loaded & {"av", "aiohttp", "aiortc", "yaml", "cryptography", "numpy"}


def test_usage_and_missing_configuration(tmp_path):
    command = [sys.executable, "-m", "ingest"]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=30)
    assert run.returncode == 1 and b"usage" in run.stderr
    env = {**os.environ, "CCTV3_RUN": str(tmp_path)}
    run = subprocess.run([*command, "cam"], cwd=PROJECT, capture_output=True, timeout=30, env=env)
    assert run.returncode == 1 and b"make run" in run.stderr
