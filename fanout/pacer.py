"""Paces bursts: joins and large keyframes leave at a bounded rate, without a timer for each packet."""

import asyncio
import heapq
import itertools
import logging
from collections import deque
from typing import Protocol

log = logging.getLogger(__name__)

# Other viewers' live frames wait at most this long behind one slice.
SLICE_S = 0.004


class Paced(Protocol):
    """Something with a backlog and a rate of its own."""

    def pump(self, now: float) -> float | None:
        """Sends what its rate allows; gives the loop time of its next portion, None when nothing is left."""
        ...

    def failed(self) -> None:
        """`pump` raised; it is not called again before the next `Pacer.add`."""
        ...


class Pacer:
    """Calls each backlog when its next portion is due; one timer for all of them.

    Who has begun goes first: with many viewers at a keyframe, the first ones then have all of it early,
    instead of everybody late.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Each stay has a number: an entry of an earlier stay in the queues means nothing.
        self._active: dict[Paced, int] = {}
        self._stays = itertools.count()
        self._begun: list[tuple[float, int, Paced]] = []
        self._waiting: deque[tuple[int, Paced]] = deque()
        self._handle: asyncio.Handle | None = None
        self._wakes_at = 0.0

    def add(self, paced: Paced) -> None:
        """Starts pacing; no effect while it is paced already."""
        if paced in self._active:
            return
        stay = self._active[paced] = next(self._stays)
        self._waiting.append((stay, paced))
        self._wake(self._loop.time())

    def discard(self, paced: Paced) -> None:
        """Forgets it, whatever its backlog."""
        self._active.pop(paced, None)

    def _wake(self, at: float) -> None:
        if self._handle is not None:
            if self._wakes_at <= at:
                return
            self._handle.cancel()
        self._wakes_at = at
        self._handle = self._loop.call_at(at, self._slice)

    def _slice(self) -> None:
        self._handle = None
        now = self._loop.time()
        end = now + SLICE_S
        while now < end:
            if self._begun and self._begun[0][0] <= now:
                _, stay, paced = heapq.heappop(self._begun)
            elif self._waiting:
                stay, paced = self._waiting.popleft()
            else:
                break
            if self._active.get(paced) == stay:
                due = self._pump(paced, now)
                if due is not None:
                    heapq.heappush(self._begun, (due, stay, paced))
                elif self._active.get(paced) == stay:
                    del self._active[paced]
            now = self._loop.time()
        if self._waiting:
            self._wake(now)
        elif self._begun:
            self._wake(self._begun[0][0])

    def _pump(self, paced: Paced, now: float) -> float | None:
        try:
            return paced.pump(now)
        except Exception:
            # One viewer's fault must not stop the others.
            log.exception("! a backlog could not be sent and is given up")
            self._active.pop(paced, None)
            paced.failed()
            return None

    def close(self) -> None:
        """Stops; nothing more is pumped."""
        if self._handle is not None:
            self._handle.cancel()
        self._active.clear()
        self._begun.clear()
        self._waiting.clear()
