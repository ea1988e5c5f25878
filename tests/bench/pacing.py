"""Plays the clip in a loop in real time and writes down when each access unit was published."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from struct import Struct

from tests.bench import clip

RECORD = Struct("=QQ")
TICKS = 90_000 // clip.FPS


async def play(units: list[clip.Unit], publish: Callable[[int, clip.Unit, int], None], log: Path) -> None:
    """Calls `publish(number, unit, utc_ns)` at 25 per second for ever; `log` gets number and time of each."""
    start = time.monotonic()
    number = 0
    with log.open("ab", buffering=0) as file:
        while True:
            await asyncio.sleep(max(0.0, start + number / clip.FPS - time.monotonic()))
            now_ns = time.time_ns()
            publish(number, units[number % len(units)], now_ns)
            file.write(RECORD.pack(number, now_ns))
            number += 1


def records(log: Path) -> list[tuple[int, int]]:
    """Everything in a log: a number and UTC nanoseconds each."""
    data = log.read_bytes()
    return list(RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size]))


def published(log: Path) -> dict[int, int]:
    """UTC nanoseconds of publication by number, as `play` wrote them."""
    return dict(records(log))
