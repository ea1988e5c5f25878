"""Processes of the benchmark: starting, stopping, and what /proc says they cost (proc(5))."""

import asyncio
import contextlib
import os
import platform
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STOP_DEADLINE_S = 5.0
LINE_LIMIT = 1 << 20

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PACKAGES = ("aiortc", "aioice", "cryptography", "pyzmq", "msgpack", "pylibsrtp", "av")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process had used at some time."""

    cpu_s: float
    "User and system time since it started; steps of 10 ms."
    pss_kb: int
    "Memory, shared pages counted in parts."


def usage(pid: int) -> Usage:
    """Reads /proc."""
    # Field 2 is the name in brackets and may hold spaces; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pss = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            pss = int(line.split()[1])
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS_PER_S, pss)


def machine_busy_s() -> float:
    """CPU seconds that all processes of the machine have used, and that its host took (steal, proc(5))."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S


def datagrams_dropped() -> int:
    """Datagrams of the whole machine that found their reader's socket full (RcvbufErrors, snmp_counter)."""
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")
    )
    return int(dict(zip(names, values, strict=True))["RcvbufErrors"])


def descriptors(pid: int) -> int:
    """Open file descriptors."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def threads(pid: int) -> int:
    """Threads."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


@contextlib.asynccontextmanager
async def running(
    *arguments: str, environment: dict[str, str] | None = None, talks: bool = False
) -> AsyncIterator[Process]:
    """`python -m …` for as long as the block runs; `talks` opens its stdin and stdout."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        stdin=PIPE if talks else asyncio.subprocess.DEVNULL,
        stdout=PIPE if talks else None,
        env={**os.environ, "CCTV3_LOG": "WARNING", **(environment or {}), "PYTHONPATH": ":".join(paths)},
        limit=LINE_LIMIT,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_DEADLINE_S)
        except TimeoutError:
            print(f"bench: {arguments[0]} (pid {process.pid}) ignored SIGTERM, killed", file=sys.stderr)
            process.kill()
            await process.wait()


def machine() -> dict[str, str]:
    """Facts that a figure means nothing without."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    facts = {
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            facts[package] = version(package)
    return facts
