"""200 viewers who come within a second to four workers: how they spread, and what a slow worker gets."""

import asyncio
import os
import random
import signal

import aiohttp
import pytest

from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system
from tests.support.viewer import Viewer
from tests.support.viewer_carriers import whep

pytestmark = pytest.mark.soak

VIEWERS = 200
WORKERS = 4
CAMERAS = 4
AWAY_S = 1.0
SPREAD = 0.10


async def joined(system: System) -> list[int]:
    """Sessions of each worker, after 200 have joined within a second."""
    viewers = [Viewer() for _ in range(VIEWERS)]

    async def join(client: aiohttp.ClientSession, viewer: Viewer) -> None:
        await asyncio.sleep(random.random())
        await whep(client, f"{system.url}/whep/c{random.randrange(CAMERAS)}", viewer, 20)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(join(client, viewer) for viewer in viewers))
    listed = {worker["worker"]: worker["sessions"] for worker in await system.get("/api/v1/workers")}
    for viewer in viewers:
        viewer.close()
    return [listed[f"fanout-{number}"] for number in range(WORKERS)]


async def burst(capsys: pytest.CaptureFixture[str], stopped: int | None) -> list[int]:
    port = free_tcp_port()
    async with (
        simulated_camera(port, width=320, height=180, bitrate=200_000) as url,
        running_system({f"c{number}": {"url": url} for number in range(CAMERAS)}, workers=WORKERS) as system,
    ):
        for number in range(CAMERAS):
            await system.until_live(f"c{number}")
        await system.until(lambda: f"fanout-{WORKERS - 1} is up" in system.log_text())
        await asyncio.sleep(6)  # reports of quiet workers
        if stopped is not None:
            pid = system.pid(f"fanout-{stopped}")
            os.kill(pid, signal.SIGSTOP)
            asyncio.get_running_loop().call_later(AWAY_S, os.kill, pid, signal.SIGCONT)
        counts = await joined(system)
        with capsys.disabled():
            what = "all well" if stopped is None else f"fanout-{stopped} stopped for {AWAY_S:g} s"
            print(f"\n{VIEWERS} viewers in 1 s on {WORKERS} workers, {what}: {counts}")
        assert sum(counts) == VIEWERS
        return counts


async def test_they_spread(capsys: pytest.CaptureFixture[str]) -> None:
    counts = await burst(capsys, None)
    assert max(abs(count - VIEWERS / WORKERS) for count in counts) <= SPREAD * VIEWERS / WORKERS


async def test_a_worker_that_is_slow_gets_fewer(capsys: pytest.CaptureFixture[str]) -> None:
    counts = await burst(capsys, 2)
    assert counts[2] < min(count for number, count in enumerate(counts) if number != 2)
