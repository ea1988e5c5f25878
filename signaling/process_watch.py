"""What the kernel knows of the workers' processes: at once when one ends, and how long it waits for a CPU.

The end by a pidfd (pidfd_open(2)), so that nobody waits for a missing heartbeat; the waiting by the second
number of /proc/PID/schedstat (the kernel's Documentation/scheduler/sched-stats.rst), of the main thread,
which does the work.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

PROGRAM = b"fanout"
SHORTEST_S = 0.1
"Reports that come together after a pause are not measured each."


@dataclass(slots=True)
class _Process:
    pid: int
    descriptor: int
    looked_s: float
    waited_s: float


class ProcessWatch:
    """Calls `on_end(identity, pid)` once when the process that `identity` runs in has ended.

    What it cannot watch (another PID namespace, a sandbox without pidfd) it leaves to the heartbeats.
    """

    def __init__(self, on_end: Callable[[str, int], None]) -> None:
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._watched: dict[str, _Process] = {}

    def watch(self, identity: str, pid: int) -> None:
        """Watches this process, in place of the one that the identity had before."""
        known = self._watched.get(identity)
        if known is not None and known.pid == pid:
            return
        self.forget(identity)
        try:
            descriptor = os.pidfd_open(pid)
        except (OSError, OverflowError, ValueError) as exc:
            log.debug("= process %d of %s cannot be watched: %s", pid, identity, exc)
            return
        if not _is_worker(pid):
            # The number counts in another PID namespace: here it is somebody else.
            os.close(descriptor)
            return
        self._watched[identity] = _Process(pid, descriptor, self._loop.time(), _waited_s(pid))
        self._loop.add_reader(descriptor, self._ended, identity, pid)

    def forget(self, identity: str) -> None:
        """Watches it no more."""
        process = self._watched.pop(identity, None)
        if process is not None:
            self._loop.remove_reader(process.descriptor)
            os.close(process.descriptor)

    def wait(self, identity: str) -> float:
        """Share of the time since the last call in which it wanted a CPU and had none; 0 if not known."""
        process = self._watched.get(identity)
        if process is None:
            return 0.0
        now_s, waited_s = self._loop.time(), _waited_s(process.pid)
        share = (waited_s - process.waited_s) / max(now_s - process.looked_s, SHORTEST_S)
        process.looked_s, process.waited_s = now_s, waited_s
        return min(max(share, 0.0), 1.0)

    def close(self) -> None:
        """Watches nothing any more."""
        for identity in list(self._watched):
            self.forget(identity)

    def _ended(self, identity: str, pid: int) -> None:
        self.forget(identity)
        self._on_end(identity, pid)


def _waited_s(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # the process has just ended, or a kernel without it
        return 0.0


def _is_worker(pid: int) -> bool:
    try:
        return PROGRAM in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
