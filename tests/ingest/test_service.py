"""The ingest process as supervisord runs it, with GStreamer's RTSP server as its camera."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time

import pytest

from common import bus, config, wire
from common.access_unit import AccessUnit
from common.h264 import split_annex_b
from common.messages import CameraReport, IngestHello
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, gst_camera

DEADLINE_S = 20


class Ingest:
    """A started ingest, its control messages and a subscriber of its media."""

    def __init__(self, folder, url, on_demand):
        camera = config.CameraConfig("cam", url, on_demand)
        config.store_resolved(config.Config((camera,)), folder)
        self.messages = []
        self.media = []
        self._folder = folder
        self._server = bus.ControlServer(
            bus.ipc_endpoint(folder, "control"), lambda identity, message: self.messages.append(message)
        )
        self._subscriber = None
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingest", "cam"],
                cwd=PROJECT,
                env={**os.environ, "CCTV3_RUN": str(folder)},
                stderr=log,
            )

    def subscribe(self, topic):
        if self._subscriber is None:
            hello = next(message for message in self.messages if isinstance(message, IngestHello))
            self._subscriber = bus.MediaSubscriber(hello.media_endpoint, self.media.append)
        self._subscriber.subscribe(topic)

    def decoded(self, topic):
        return [wire.decode_media(frames) for frames in list(self.media) if frames[0] == topic]

    @property
    def report(self):
        reports = [message for message in self.messages if isinstance(message, CameraReport)]
        return reports[-1] if reports else None

    async def until(self, reached):
        async with asyncio.timeout(DEADLINE_S):
            while not reached():
                await asyncio.sleep(0.02)

    async def state(self, name):
        await self.until(lambda: self.report is not None and self.report.state == name)

    def stop(self):
        """Exit status and seconds that it took to stop."""
        began = time.monotonic()
        self.process.terminate()
        status = self.process.wait(10)
        return status, time.monotonic() - began

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._subscriber is not None:
            self._subscriber.close()
        self._server.close()


@contextlib.contextmanager
def ingest(folder, url, on_demand=False):
    running = Ingest(folder, url, on_demand)
    try:
        yield running
    finally:
        running.close()


def login(url, user="us%20er", password="p%40%2Fs%22"):
    return url.replace("rtsp://", f"rtsp://{user}:{password}@")


@pytest.mark.peers
async def test_live_join_report_and_stop(tmp_path):
    options = {"user": "us er", "password": 'p@/s"', "auth": "digest", "gop": 10, "width": 320, "height": 240}
    async with gst_camera(**options) as camera:
        with ingest(tmp_path, login(camera.ready)) as running:
            await running.state("live")
            running.subscribe(wire.LIVE_TOPIC)
            await running.until(lambda: len(running.decoded(wire.LIVE_TOPIC)) > 30)
            topic = wire.join_topic("w", 1)
            running.subscribe(topic)
            await running.until(
                lambda: any(isinstance(item, wire.JoinEnd) for item in running.decoded(topic))
            )
            await running.until(lambda: running.report.fps and running.report.gop_s)
            last = running.report
            status, seconds = running.stop()
            log = running.log.read_text()
    units = running.decoded(wire.LIVE_TOPIC)
    assert [unit.sequence for unit in units] == list(range(units[0].sequence, units[0].sequence + len(units)))
    keyframes = [unit for unit in units if unit.keyframe]
    assert all([nal[0] & 0x1F for nal in unit.nals[:2]] == [7, 8] for unit in keyframes)
    *joined, end = running.decoded(topic)
    assert joined[0].keyframe and all(isinstance(unit, AccessUnit) for unit in joined)
    assert end == wire.JoinEnd(units[0].epoch, joined[-1].sequence + 1)
    live = {unit.sequence: unit for unit in units}
    assert all(live.get(unit.sequence, unit) == unit for unit in joined)
    assert (last.codec, last.width, last.height, last.lost_packets) == ("H264", 320, 240, 0)
    assert last.fps == pytest.approx(25, rel=0.3) and last.gop_s == pytest.approx(0.4, abs=0.05)
    assert status == 0 and seconds < 2
    assert not (tmp_path / "camera-cam.sock").exists()
    assert "p@/s" not in log and "p%40" not in log


@pytest.mark.peers
async def test_on_demand_by_subscription(tmp_path):
    async with gst_camera(gop=10) as camera:
        with ingest(tmp_path, camera.ready, on_demand=True) as running:
            await running.state("idle")
            running.subscribe(wire.LIVE_TOPIC)
            await running.until(lambda: len(running.decoded(wire.LIVE_TOPIC)) > 5)
            assert running.report.state == "live"


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
            await running.until(lambda: running.report is not None and running.report.reconnects >= 2)
            assert "refuses the user name or password" in running.report.error
            assert running.log.read_text().count("! camera") == 1


@pytest.mark.peers
async def test_same_pictures_as_ffmpeg_reads(tmp_path):
    async with gst_camera(gop=10, width=320, height=240) as camera:
        with ingest(tmp_path, camera.ready) as running:
            await running.until(lambda: running.report is not None)
            running.subscribe(wire.LIVE_TOPIC)
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
    ours = [nal.rstrip(b"\0") for unit in running.decoded(wire.LIVE_TOPIC) for nal in slices(unit.nals)]
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
