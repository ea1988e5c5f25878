"""200 viewers who come within a second to four workers: how they spread, and what a slow worker gets."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

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
SLOW = 2
"The worker that is harmed."
AWAY_S = 1.0
BURNERS = 2
WATCHING = 40
BURN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.setpriority(os.PRIO_PROCESS, 0, -10)
while True:
    pass
"""
REPORTS_S = 6.0
"As many as are looked at, and one more."
SPREAD = 0.10


@contextlib.asynccontextmanager
async def joined(system: System, count: int) -> AsyncIterator[list[int]]:
    """Sessions of each worker, after so many have joined within a second; they stay for the block."""
    viewers = [Viewer() for _ in range(count)]

    async def join(client: aiohttp.ClientSession, viewer: Viewer) -> None:
        await asyncio.sleep(random.random())
        await whep(client, f"{system.url}/whep/c{random.randrange(CAMERAS)}", viewer, 20)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(join(client, viewer) for viewer in viewers))
    listed = {worker["worker"]: worker["sessions"] for worker in await system.get("/api/v1/workers")}
    try:
        yield [listed[f"fanout-{number}"] for number in range(WORKERS)]
    finally:
        for viewer in viewers:
            viewer.close()


@contextlib.asynccontextmanager
async def well(_pid: int) -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def stopped(pid: int) -> AsyncIterator[None]:
    os.kill(pid, signal.SIGSTOP)
    asyncio.get_running_loop().call_later(AWAY_S, os.kill, pid, signal.SIGCONT)
    yield


@contextlib.asynccontextmanager
async def beside_burners(pid: int) -> AsyncIterator[None]:
    """The process has to share one CPU with programs that want all of it, and go first.

    By programs as important as itself a worker that needs little is not slowed down.
    """
    cpu = max(os.sched_getaffinity(pid))
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {cpu})
    burners = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", BURN, str(cpu)) for _ in range(BURNERS)
    ]
    try:
        await asyncio.sleep(REPORTS_S)
        yield
    finally:
        for burner in burners:
            burner.kill()
            await burner.wait()


async def burst(
    capsys: pytest.CaptureFixture[str],
    what: str,
    harmed: Callable[[int], contextlib.AbstractAsyncContextManager[None]],
    before: int = 0,
) -> list[int]:
    """What each worker gets of 200, beside the `before` that watch already."""
    port = free_tcp_port()
    async with (
        simulated_camera(port, width=320, height=180, bitrate=200_000) as url,
        running_system({f"c{number}": {"url": url} for number in range(CAMERAS)}, workers=WORKERS) as system,
    ):
        for number in range(CAMERAS):
            await system.until_live(f"c{number}")
        await system.until(lambda: f"fanout-{WORKERS - 1} is up" in system.log_text())
        await asyncio.sleep(REPORTS_S)
        async with (
            joined(system, before) as had,
            harmed(system.pid(f"fanout-{SLOW}")),
            joined(system, VIEWERS) as has,
        ):
            counts = [now - then for now, then in zip(has, had, strict=True)]
        with capsys.disabled():
            print(f"\n{VIEWERS} viewers in 1 s on {WORKERS} workers, {what}: {counts}")
        assert sum(counts) == VIEWERS
        return counts


async def test_they_spread(capsys: pytest.CaptureFixture[str]) -> None:
    counts = await burst(capsys, "all well", well)
    assert max(abs(count - VIEWERS / WORKERS) for count in counts) <= SPREAD * VIEWERS / WORKERS


async def test_a_worker_that_stood_still_gets_fewer(capsys: pytest.CaptureFixture[str]) -> None:
    counts = await burst(capsys, f"fanout-{SLOW} stopped for {AWAY_S:g} s", stopped)
    assert counts.pop(SLOW) < min(counts)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may put a program before others")
async def test_a_worker_beside_burners_gets_fewer(capsys: pytest.CaptureFixture[str]) -> None:
    # One that has nothing to do waits for nothing.
    what = f"fanout-{SLOW} on one CPU with {BURNERS} burners, {WATCHING} there"
    counts = await burst(capsys, what, beside_burners, WATCHING)
    assert counts.pop(SLOW) < min(counts)
