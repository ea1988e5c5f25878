"""A clock that is turned by hand; asyncio's own timers go on by themselves."""

import asyncio
import heapq
import itertools

START_S = 1000.0
START_NS = 1_800_000_000_000_000_000
ROUNDS = 20
"Of the event loop until everything that a wake-up sets off has happened."


async def settle() -> None:
    """Lets every task that can go on do so."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


class FakeClock:
    """Implements Clock; `advance` wakes sleepers in the order of their times."""

    def __init__(self) -> None:
        self._now = START_S
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic_s(self) -> float:
        return self._now

    def utc_ns(self) -> int:
        return START_NS + round((self._now - START_S) * 1e9)

    async def sleep(self, delay_s: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + delay_s, next(self._numbers), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Goes on by `seconds`."""
        until = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                self._now = max(self._now, due)
                future.set_result(None)
                await settle()
        self._now = until
