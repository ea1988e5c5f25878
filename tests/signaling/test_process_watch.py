"""The end of a worker's process is noticed without waiting."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from signaling_support import eventually

from signaling.process_watch import ProcessWatch


@asynccontextmanager
async def process(program: str = "fanout") -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that sleeps, with this word among its arguments."""
    sleeping = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; print(flush=True); time.sleep(60)", program,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert sleeping.stdout is not None
    await sleeping.stdout.readline()
    try:
        yield sleeping
    finally:
        if sleeping.returncode is None:
            sleeping.kill()
        await sleeping.wait()


async def test_the_end_is_told_once() -> None:
    told: list[tuple[str, int]] = []
    watch = ProcessWatch(lambda identity, pid: told.append((identity, pid)))
    async with process() as worker:
        watch.watch("fanout-0", worker.pid)
        watch.watch("fanout-0", worker.pid)
        os.kill(worker.pid, signal.SIGSTOP)
        await asyncio.sleep(0)
        assert told == []
        os.kill(worker.pid, signal.SIGKILL)
        await eventually(lambda: told)
    assert told == [("fanout-0", worker.pid)]
    watch.close()


async def test_another_process_takes_the_identity_over() -> None:
    told: list[tuple[str, int]] = []
    watch = ProcessWatch(lambda identity, pid: told.append((identity, pid)))
    async with process() as first, process() as second:
        watch.watch("fanout-0", first.pid)
        watch.watch("fanout-0", second.pid)
        first.kill()
        await first.wait()
        second.kill()
        await eventually(lambda: told)
        assert told == [("fanout-0", second.pid)]
    watch.close()


async def test_what_is_not_watched_any_more_is_not_told() -> None:
    told: list[tuple[str, int]] = []
    watch = ProcessWatch(lambda identity, pid: told.append((identity, pid)))
    async with process() as forgotten, process() as closed, process() as marker:
        watch.watch("fanout-0", forgotten.pid)
        watch.watch("fanout-1", closed.pid)
        watch.forget("fanout-0")
        watch.forget("fanout-0")
        watch.watch("fanout-2", marker.pid)
        forgotten.kill()
        await forgotten.wait()
        marker.kill()
        await eventually(lambda: told)
        watch.close()
        closed.kill()
        await closed.wait()
        await asyncio.sleep(0)
        assert told == [("fanout-2", marker.pid)]


async def test_a_number_of_somebody_else_is_left_alone() -> None:
    """In another PID namespace the worker's number means another process here, or none."""
    told: list[tuple[str, int]] = []
    watch = ProcessWatch(lambda identity, pid: told.append((identity, pid)))
    async with process("something") as other, process() as marker:
        for pid in (other.pid, 0, -1, 1 << 22, 1 << 70):
            watch.watch("fanout-0", pid)
        other.kill()
        await other.wait()
        watch.watch("fanout-1", marker.pid)
        marker.kill()
        await eventually(lambda: told)
        assert told == [("fanout-1", marker.pid)]
    watch.close()


async def test_waiting_for_a_cpu_is_measured() -> None:
    """Two that count on one CPU: each of them waits while the other one runs."""
    watch = ProcessWatch(lambda identity, pid: None)
    cpu = min(os.sched_getaffinity(0))
    count = f"import os; os.sched_setaffinity(0, {{{cpu}}}); print(flush=True)\nwhile True: pass"
    pair = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", count, "fanout", stdout=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    try:
        for busy in pair:
            assert busy.stdout is not None
            await busy.stdout.readline()
        watch.watch("fanout-0", pair[0].pid)
        await asyncio.sleep(0.2)
        assert 0.1 < watch.wait("fanout-0") <= 1.0
        assert watch.wait("fanout-1") == 0.0
        watch.close()
    finally:
        for busy in pair:
            busy.kill()
            await busy.wait()
