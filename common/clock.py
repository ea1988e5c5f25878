"""Time as a thing that is passed in, so that tests can turn it by hand."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What services ask for the time."""

    def monotonic_s(self) -> float:
        """Seconds that never jump; only differences mean something."""
        ...

    def utc_ns(self) -> int:
        """UTC nanoseconds since 1970."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Waits `delay_s` seconds."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def utc_ns(self) -> int:
        return time.time_ns()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
