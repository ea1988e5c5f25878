"""Snapshots: from the real bus, of what cameras send."""

import asyncio
import io
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from common.access_unit import AccessUnit
from common.errors import LocalError
from ingest.snapshot import to_jpeg
from tests.support.ingest_process import ingest
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, simulated_camera


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cctv3-") as name:
        yield Path(name)


async def snapshot(folder: Path, width: int = 0) -> tuple[int, bytes, str]:
    """Exit status, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ingest.snapshot", "cam", str(folder), str(width)),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out, err.decode()


def size_of(jpeg: bytes) -> tuple[int, int]:
    with av.open(io.BytesIO(jpeg), format="image2pipe") as container:
        frame = next(container.decode(video=0))
        return frame.width, frame.height


@pytest.mark.parametrize("codec", ["h264", "h265", "jpeg"])
async def test_a_camera_that_nobody_watches(folder: Path, codec: str) -> None:
    """It is on demand: the snapshot connects it."""
    async with simulated_camera(free_tcp_port(), codec=codec) as url:
        with ingest(folder, url, on_demand=True) as running:
            await running.state("idle")
            status, out, err = await snapshot(folder, 320)
    assert status == 0, err
    captured, _, jpeg = out.partition(b"\n")
    assert abs(int(captured) / 1e9 - time.time()) < 10
    assert size_of(jpeg) == (320, 180)


async def test_its_own_size(folder: Path) -> None:
    async with simulated_camera(free_tcp_port()) as url:
        with ingest(folder, url) as running:
            await running.state("live")
            status, out, _ = await snapshot(folder)
    assert status == 0
    width, height = size_of(out.partition(b"\n")[2])
    assert width * 9 == height * 16 and width >= 640


def unit(codec: str, *nals: bytes) -> AccessUnit:
    return AccessUnit(1, 0, "video", codec, 0, 0, 0, True, nals)


@pytest.mark.parametrize(
    "bad", [unit("H264", b"\x65\x88" * 50), unit("VP8", b"x"), unit("H265", b"\x26\x01")]
)
def test_pictures_that_cannot_be_decoded(bad: AccessUnit) -> None:
    with pytest.raises(LocalError, match="decoded"):
        to_jpeg(bad, 0)
