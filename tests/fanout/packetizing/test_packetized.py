"""Runs as the kernel takes them, and packets found in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.packetizing.packetized import MAX_DATAGRAM, MAX_RUN_PACKETS, group
from tests.fanout.units import packetized_unit


@given(st.lists(st.integers(1, 4), max_size=200), st.integers(1, 54))
def test_runs_are_what_segmentation_offload_takes(sizes: list[int], longest: int) -> None:
    payloads = [bytes(size) for size in sizes]
    runs = group(payloads, longest)
    assert [payload for run in runs for payload in run] == payloads
    for run in runs:
        assert len(run) <= longest
        assert all(len(payload) == len(run[0]) for payload in run[:-1])
        assert len(run[-1]) <= len(run[0])


def test_a_run_fits_one_datagram_train() -> None:
    assert MAX_RUN_PACKETS * MAX_DATAGRAM <= 65_507


def test_a_packet_is_found_by_its_position() -> None:
    unit = packetized_unit(100, 0, packets=2 * MAX_RUN_PACKETS + 1)
    payloads = [payload for run in unit.runs for payload in run]
    assert [unit.payload(position) for position in range(unit.packets)] == payloads
    with pytest.raises(IndexError):
        unit.payload(unit.packets)
