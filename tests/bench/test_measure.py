"""Matching arrivals to publications: RTP timestamps and sizes are all that SRTP shows."""

import random

from tests.bench import clip, pacing
from tests.bench.measure import delays, percentile
from tests.support.viewer_rtp import Arrival

OVERHEAD = 16
UNITS: list[clip.Unit] = [(bytes(size),) for size in random.Random(1).choices(range(5000, 40_000), k=75)]
PERIOD_NS = 1_000_000_000 // clip.FPS


def arrivals(first: int, count: int, delay_ns: int) -> list[Arrival]:
    return [
        Arrival(
            timestamp=(0xFFFF_F000 + number * pacing.TICKS) & 0xFFFF_FFFF,
            received_ns=number * PERIOD_NS + delay_ns,
            octets=len(UNITS[number % len(UNITS)][0]) + 5 * (OVERHEAD + 2),
            packets=5,
        )
        for number in range(first, first + count)
    ]


def test_delays_longer_than_the_frame_interval_are_still_told_apart() -> None:
    published = {number: number * PERIOD_NS for number in range(1000)}
    for delay_ns in (3_000_000, 250_000_000):
        found = delays(arrivals(333, 100, delay_ns), OVERHEAD, UNITS, published)
        assert sorted(found) == list(range(333, 433))
        assert all(round(delay, 3) == delay_ns / 1e6 for delay in found.values())


def test_a_lost_unit_shifts_no_other() -> None:
    published = {number: number * PERIOD_NS for number in range(1000)}
    received = arrivals(10, 100, 1_000_000)
    del received[60]
    found = delays(received, OVERHEAD, UNITS, published)
    assert sorted(found) == [number for number in range(10, 110) if number != 70]
    assert max(found.values()) == 1.0


def test_a_stream_that_is_not_the_clip_gives_nothing() -> None:
    published = {number: number * PERIOD_NS for number in range(1000)}
    strange = [
        Arrival(number * pacing.TICKS, number * PERIOD_NS, 999 * (number % 2 + 1), 1) for number in range(50)
    ]
    assert delays(strange, OVERHEAD, UNITS, published) == {}


def test_percentile_takes_the_nearest_rank() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2
    assert percentile([1.0, 2.0, 3.0], 0.99) == 3
