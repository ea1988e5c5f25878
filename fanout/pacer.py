"""Paces bursts: joins and large keyframes leave in equal portions, without a timer for each packet."""

import asyncio
import logging
from collections import deque
from typing import Protocol

log = logging.getLogger(__name__)

TICK_S = 0.005
# 40 packets of 1200 octets every 5 ms are 77 Mbit/s; Chromium's socket buffer of 64 KiB holds about 40.
PACKETS_PER_TICK = 40
# Other viewers' live frames wait at most this long behind one slice of a round.
SLICE_S = 0.004


class Paced(Protocol):
    """Something with a backlog."""

    def pump(self, packets: int) -> bool:
        """Sends at most that many packets of the backlog; False when nothing is left."""
        ...


class Pacer:
    """Gives each backlog its portion once a tick; long rounds are cut into slices."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._active: dict[Paced, None] = {}
        self._round: deque[Paced] = deque()
        self._next_round_at = 0.0
        self._handle: asyncio.Handle | None = None

    def add(self, paced: Paced) -> None:
        """Starts pacing; no effect while it is paced already."""
        self._active[paced] = None
        if self._handle is None:
            self._handle = self._loop.call_soon(self._slice)

    def discard(self, paced: Paced) -> None:
        """Forgets it, whatever its backlog."""
        self._active.pop(paced, None)

    def _slice(self) -> None:
        started = self._loop.time()
        if not self._round:
            self._round.extend(self._active)
            self._next_round_at = started + TICK_S
        while self._round:
            paced = self._round.popleft()
            if paced in self._active and not self._pump(paced):
                self._active.pop(paced, None)
            if self._loop.time() - started > SLICE_S:
                break
        if self._round:
            self._handle = self._loop.call_soon(self._slice)
        elif self._active:
            self._handle = self._loop.call_at(self._next_round_at, self._slice)
        else:
            self._handle = None

    def _pump(self, paced: Paced) -> bool:
        try:
            return paced.pump(PACKETS_PER_TICK)
        except Exception:
            # One viewer's fault must not stop the others.
            log.exception("! a backlog could not be sent and is given up")
            return False

    def close(self) -> None:
        """Stops; nothing more is pumped."""
        if self._handle is not None:
            self._handle.cancel()
        self._active.clear()
        self._round.clear()
