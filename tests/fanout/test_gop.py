"""The cached GOP and its compressed timestamps."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from fanout.gop import MAX_OCTETS, MAX_UNITS, GopCache, compressed_timestamps
from fanout.packetizer import PacketizedUnit


def unit(timestamp: int, keyframe: bool = False, octets: int = 1000) -> PacketizedUnit:
    return PacketizedUnit(timestamp, 0, keyframe, ((b"x",),), 1, octets)


def test_begins_at_the_last_keyframe() -> None:
    cache = GopCache()
    cache.add(unit(0))
    assert not cache.units()
    for timestamp in (1, 2, 3):
        cache.add(unit(timestamp, keyframe=timestamp != 2))
    cache.add(unit(4))
    assert [u.timestamp for u in cache.units()] == [3, 4]
    assert cache.octets == 2000


def test_is_bounded_and_recovers_at_the_next_keyframe() -> None:
    cache = GopCache()
    cache.add(unit(0, keyframe=True))
    for timestamp in range(1, MAX_UNITS + 5):
        cache.add(unit(timestamp))
    assert not cache.units() and cache.octets == 0
    cache.add(unit(1, keyframe=True, octets=MAX_OCTETS))
    cache.add(unit(2))
    assert not cache.units()
    cache.add(unit(3, keyframe=True))
    assert len(cache.units()) == 1


@given(st.integers(1, 1200), st.integers(1, 9000), st.integers(0, 1 << 40))
def test_timestamps_rise_and_end_at_the_last(count: int, span: int, last: int) -> None:
    timestamps = compressed_timestamps([unit(0)] * count, last, span)
    assert len(timestamps) == count and timestamps[-1] == last
    assert all(a < b for a, b in itertools.pairwise(timestamps))
    if count <= span:
        assert last - timestamps[0] < span
