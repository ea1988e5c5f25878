"""The launcher and supervisord: refusals that start nothing, restarts, and an end that leaves nothing."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from common import supervision
from common.config import CameraConfig, Config
from common.errors import LocalError
from common.lifecycle import EXIT_CONFIG, EXIT_FAILED
from common.urls import ALLOWED
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, simulated_camera
from tests.support.system import running_system

CAMERAS = (CameraConfig("door", "rtsp://u:s3cret@cam/a"), CameraConfig("yard", "rtsp://cam/b"))


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cctv3-") as name:
        yield Path(name) / "run"


def launch(run: Path, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "common.supervision", "--config", str(config)],
        env={**os.environ, "CCTV3_RUN": str(run)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_program_files_hold_no_url(folder: Path) -> None:
    supervision.prepare(folder, Config(cameras=CAMERAS), None)
    files = sorted(path.name for path in (folder / "programs").iterdir())
    assert files == ["ingest-door.conf", "ingest-yard.conf"]
    for name in files:
        text = (folder / "programs" / name).read_text()
        assert "rtsp" not in text
        assert "s3cret" not in text
    assert folder.stat().st_mode & 0o777 == 0o700


def test_files_of_an_earlier_run_go(folder: Path) -> None:
    supervision.prepare(folder, Config(cameras=CAMERAS), None)
    for stale in ("control.sock", "camera-door.sock", "supervisor.sock.77", "supervisord.pid"):
        (folder / stale).touch()
    (folder / "kept.txt").touch()
    (folder / "state").mkdir()
    (folder / "state" / "links.json").touch()
    supervision.prepare(folder, Config(cameras=CAMERAS[1:]), 8554)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert left == [
        "cameras/yard.json",
        "fanout.json",
        "kept.txt",
        "programs/ingest-yard.conf",
        "programs/simulated-camera.conf",
        "signaling.json",
        "state/links.json",
        "system.json",
    ]


def test_run_folder_has_to_be_private(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(LocalError, match="chmod 700"):
        supervision.prepare(folder, Config(cameras=CAMERAS), None)
    assert not list(folder.iterdir())


def test_run_folder_has_to_have_a_short_path(folder: Path) -> None:
    with pytest.raises(LocalError, match="CCTV3_RUN"):
        supervision.prepare(folder / ("x" * 80), Config(cameras=CAMERAS), None)


def test_run_folder_that_cannot_be_made(folder: Path) -> None:
    folder.touch()
    with pytest.raises(LocalError, match="not usable"):
        supervision.prepare(folder, Config(cameras=CAMERAS), None)


def test_without_a_file_there_is_a_simulated_camera(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    chosen, port = supervision.choose(None)
    (camera,) = chosen.cameras
    assert camera.url == f"rtsp://127.0.0.1:{port}/simulated"
    assert camera.sub == f"rtsp://127.0.0.1:{port}/simulated-sub"
    (tmp_path / "config.yaml").write_text("cameras: {door: {url: 'rtsp://cam'}}")
    chosen, port = supervision.choose(None)
    assert ([camera.name for camera in chosen.cameras], port) == (["door"], None)


def test_nothing_runs_there(folder: Path) -> None:
    with pytest.raises(LocalError, match="no system answers"):
        supervision.status(folder)


def test_wrong_configuration_starts_nothing(folder: Path) -> None:
    config = folder.with_name("wrong.yaml")
    config.write_text("cameras:\n  door:\n    url: ftp://u:s3cret@cam/\n")
    ended = launch(folder, config)
    assert ended.returncode == EXIT_CONFIG
    assert ended.stderr.splitlines() == [
        f"{config}:3: cameras.door.url must be a URL of the form {ALLOWED}; allowed: {ALLOWED}"
    ]
    assert ended.stdout == ""
    assert not folder.exists()


async def test_twenty_programs_stop_together_and_an_idle_supervisor_costs_nothing() -> None:
    cameras = {f"cam{n}": {"url": "rtsp://127.0.0.1:1/", "on_demand": True} for n in range(20)}
    async with running_system(cameras) as system:
        supervisor = psutil.Process(system.pid("signaling")).parent()
        assert supervisor is not None
        before = sum(supervisor.cpu_times()[:2])
        await asyncio.sleep(1)
        assert sum(supervisor.cpu_times()[:2]) - before < 0.3
        killed = system.kill("ingest-cam7")
        await system.until(lambda: system.pid("ingest-cam7") != killed and len(system.pids()) == 23)
        # supervisord by itself takes most of a second for each of its groups.
        asked = time.monotonic()
        await system.stop()
        assert time.monotonic() - asked < 11


async def test_the_whole_system_starts_mends_itself_and_leaves_nothing() -> None:
    """The end of the block asserts that no process and no socket file is left."""
    port = free_tcp_port()
    async with simulated_camera(port) as url:
        cameras = {"door": {"url": url}, "gone": {"url": "rtsp://u:s3cret@127.0.0.1:1/"}}
        async with running_system(cameras, workers=2) as system:
            cameras_programs = {"ingest-door", "ingest-gone"}
            assert set(system.pids()) == {"signaling", "keeper", "fanout-0", "fanout-1"} | cameras_programs
            await system.until_live("door")
            status, said = await system.command("status")
            assert status == 1, "one camera is in trouble"
            assert all(name in said for name in ("door", "gone", "fanout-0", "fanout-1")), said

            # A second start in the same run folder is refused, and harms nobody.
            config = system.run_folder.with_name("config.yaml")
            second = await asyncio.to_thread(launch, system.run_folder, config)
            assert second.returncode == EXIT_FAILED
            assert "runs in" in second.stderr
            before = system.pids()
            assert (await system.camera("door"))["state"] == "live"

            for program in before:
                system.kill(program)
            await system.until(
                lambda: (
                    system.pids().keys() == before.keys()
                    and all(system.pids()[program] != before[program] for program in before)
                )
            )
            await system.until_up()
            await system.until_live("door")
            log = system.log_text()
            assert "s3cret" not in log
            assert "u@127" not in log
