"""Thousands of failed and broken connections leave no memory, file descriptors, tasks or threads behind."""

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from common.access_unit import AccessUnit
from common.clock import SystemClock
from common.messages import RenditionState
from common.urls import parse_camera_url
from ingest.camera import Camera, Hooks
from ingest.output import Output
from ingest.playback import Timing
from ingest.rtsp_source import RtspOptions, RtspSource
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera

QUICK = Timing(tick_s=0.05, first_backoff_s=0.0005, max_backoff_s=0.001)
DEADLINE_S = 900.0
# The interpreter's own caches settle within the first tenth of a run.
GROWTH_KB = 3000
# What connections that begin and end hold for a moment; a leak shows as one for each cycle.
UNDER_WAY = 10


@dataclass(frozen=True)
class Held:
    """What this process holds."""

    descriptors: int
    tasks: int
    threads: int
    resident_kb: int


async def held() -> Held:
    """The least of several looks: a connection under way holds sockets and tasks of its own."""
    looks = []
    for _ in range(30):
        looks.append(_look())
        await asyncio.sleep(0.01)
    return Held(*(min(getattr(look, item.name) for look in looks) for item in fields(Held)))


def _look() -> Held:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return Held(descriptors, len(asyncio.all_tasks()), threading.active_count(), int(resident.split()[1]))


class Life:
    """A camera that is dialled at once again and again."""

    def __init__(self, url: str, transport: str) -> None:
        self.failures = 0
        self.units = 0
        clock = SystemClock()
        source = RtspSource(parse_camera_url(url), RtspOptions((transport,)), clock)
        hooks = Hooks(self._shown, self._changed)
        self.camera = Camera("cam", source, False, Output(1), clock, hooks, QUICK, seed=1)

    def _shown(self, unit: AccessUnit) -> None:
        self.units += 1

    def _changed(self, state: RenditionState, error: str | None, at_ns: int) -> None:
        self.failures += state in ("backing_off", "failed")

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not reached():
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def living(url: str, transport: str) -> AsyncIterator[Life]:
    life = Life(url, transport)
    task = asyncio.create_task(life.camera.run())
    try:
        yield life
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def flat(life: Life, cycles: int, what: str) -> None:
    """Runs `cycles` failures and compares what is held with what was after the first tenth."""
    await life.until(lambda: life.failures >= max(10, cycles // 10))
    before, began, first = await held(), time.monotonic(), life.failures
    await life.until(lambda: life.failures >= cycles)
    after = await held()
    print(
        f"\n{what}: {life.failures - first} cycles in {time.monotonic() - began:.1f} s; descriptors "
        f"{before.descriptors} -> {after.descriptors}, tasks {before.tasks} -> {after.tasks}, threads "
        f"{before.threads} -> {after.threads}, resident {before.resident_kb} -> {after.resident_kb} kB"
    )
    assert after.descriptors <= before.descriptors + UNDER_WAY and after.tasks <= before.tasks + UNDER_WAY
    assert after.threads == before.threads
    assert after.resident_kb - before.resident_kb < GROWTH_KB


async def refused(cycles: int) -> None:
    async with living(f"rtsp://127.0.0.1:{free_tcp_port()}/x", "tcp") as life:
        await flat(life, cycles, "connect refused")


async def cut(cycles: int, transport: str) -> None:
    """A proxy that cuts the RTSP connection soon after the first pictures."""
    port, proxy_port = free_tcp_port(), free_tcp_port()
    life: Life

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        before = life.units
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        tasks = [
            asyncio.ensure_future(pass_on(reader, far_writer)),
            asyncio.ensure_future(pass_on(far_reader, writer)),
        ]
        try:
            await life.until(lambda: life.units > before + 1 or any(task.done() for task in tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.transport.abort()
            far_writer.transport.abort()

    async with (
        simulated_camera(port, width=320, height=180, fps=25, gop=1),
        await asyncio.start_server(serve, "127.0.0.1", proxy_port),
        living(f"rtsp://127.0.0.1:{proxy_port}/simulated", transport) as life,
    ):
        await flat(life, cycles, f"cut while playing by {transport.upper()}")


async def test_refused_many_times() -> None:
    await refused(1000)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_cut_while_playing(transport: str) -> None:
    await cut(30, transport)


@pytest.mark.soak
async def test_refused_ten_thousand_times() -> None:
    await refused(10_000)


@pytest.mark.soak
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_cut_while_playing_a_thousand_times(transport: str) -> None:
    await cut(1000, transport)
