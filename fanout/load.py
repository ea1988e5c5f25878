"""A worker's measured load: CPU share of this process, lateness of its event loop, packets per second."""

import asyncio
import time

PROBE_INTERVAL_S = 0.1


class LoadMeter:
    """Measures since the last `take()`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wall = time.monotonic()
        self._cpu = time.process_time()
        self._packets = 0
        self._lag = 0.0

    async def run(self) -> None:
        """Probes how late the event loop is, for ever."""
        while True:
            due = self._loop.time() + PROBE_INTERVAL_S
            await asyncio.sleep(PROBE_INTERVAL_S)
            self._lag = max(self._lag, self._loop.time() - due)

    def take(self, packets: int) -> tuple[float, float, float]:
        """(CPU share, longest lateness in seconds, packets per second); `packets` is a running total."""
        wall, cpu = time.monotonic(), time.process_time()
        elapsed = max(wall - self._wall, 1e-6)
        taken = ((cpu - self._cpu) / elapsed, self._lag, (packets - self._packets) / elapsed)
        self._wall, self._cpu, self._packets, self._lag = wall, cpu, packets, 0.0
        return taken
