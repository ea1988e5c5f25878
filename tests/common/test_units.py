"""Wrapping numbers: deltas, unwrapping, NTP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.units import (
    Unwrapper,
    ntp_to_unix_ns,
    sequence_delta,
    timestamp_delta,
    unix_ns_to_ntp,
)


@pytest.mark.parametrize(
    ("later", "earlier", "delta"),
    [(1, 0, 1), (0, 1, -1), (0, 65_535, 1), (65_535, 0, -1), (32_767, 0, 32_767), (32_768, 0, -32_768)],
)
def test_sequence_delta_takes_the_shorter_way(later: int, earlier: int, delta: int) -> None:
    assert sequence_delta(later, earlier) == delta


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1))
def test_timestamp_delta_inverts_addition(start: int, step: int) -> None:
    assert timestamp_delta((start + step) & 0xFFFF_FFFF, start) == step


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20))
def test_unwrapper_follows_steps_over_the_wrap(start: int, steps: list[int]) -> None:
    unwrapper = Unwrapper()
    expected = start
    assert unwrapper.unwrap(start) == start
    for step in steps:
        expected += step
        assert unwrapper.unwrap(expected & 0xFFFF_FFFF) == expected


def test_ntp_of_the_unix_epoch() -> None:
    assert unix_ns_to_ntp(0) == 2_208_988_800 << 32
    assert ntp_to_unix_ns(2_208_988_800 << 32) == 0


@given(st.integers(0, 2_085_978_495_000_000_000))  # up to the end of NTP's era 0 in 2036
def test_ntp_round_trip_is_exact_to_a_nanosecond(unix_ns: int) -> None:
    ntp = unix_ns_to_ntp(unix_ns)
    assert 0 <= ntp < 1 << 64
    assert 0 <= unix_ns - ntp_to_unix_ns(ntp) <= 1
