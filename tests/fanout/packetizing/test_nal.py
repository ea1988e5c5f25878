"""How NAL units are shared out over payloads, whatever the codec."""

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.packetizing.nal import aggregated, fragments, payloads
from fanout.packetizing.packetized import MAX_PAYLOAD, group


def shared_out(sizes: list[int], header: int) -> list[bytes]:
    """Aggregates begin with zeros, NAL units with their header of ones; fragments keep what they hold."""
    nals = [b"\x01" * header + os.urandom(size - header) for size in sizes]
    return payloads(
        nals,
        header,
        lambda small: aggregated(bytes(header), small),
        lambda large: fragments(large, b"\x02" * header, 5),
    )


@given(st.lists(st.integers(2, 3 * MAX_PAYLOAD), max_size=12), st.integers(1, 2))
def test_no_payload_is_too_large_and_none_could_take_its_neighbour(sizes: list[int], header: int) -> None:
    made = shared_out(sizes, header)
    assert all(len(payload) <= MAX_PAYLOAD for payload in made)
    whole = [payload for payload in made if payload[0] != 2]
    small = [size for size in sizes if size <= MAX_PAYLOAD]
    assert len(whole) <= len(small)
    if len(small) == len(sizes):
        # Two neighbours always fill more than one payload.
        for one, other in itertools.pairwise(made):
            assert len(one) + len(other) + 4 + header > MAX_PAYLOAD


@pytest.mark.parametrize("header", [1, 2])
@pytest.mark.parametrize("size", [1151, 1152, 1153, 2296, 2297, 2298, 20_000, 150_000, 1_000_000])
def test_fragments_have_one_size_but_the_last(size: int, header: int) -> None:
    nal = os.urandom(size)
    made = fragments(nal, b"\xaa\xbb"[:header], 21)
    assert {len(payload) for payload in made[:-1]} == {len(made[0])}
    assert header + 1 < len(made[-1]) <= len(made[0]) <= MAX_PAYLOAD
    assert [payload[header] for payload in made] == [0x80 | 21, *[21] * (len(made) - 2), 0x40 | 21]
    assert {payload[:header] for payload in made} == {b"\xaa\xbb"[:header]}
    assert b"".join(payload[header + 1 :] for payload in made) == nal[header:]
    assert len(made) == -(-(size - header) // (MAX_PAYLOAD - header - 1))


def test_the_largest_single_payload_is_not_cut_and_shares_with_none() -> None:
    made = shared_out([5, MAX_PAYLOAD, 5], 1)
    assert [len(payload) for payload in made] == [5, MAX_PAYLOAD, 5]


def test_an_aggregate_is_filled_to_the_last_octet() -> None:
    sizes = [100, MAX_PAYLOAD - 1 - 2 - 100 - 2]
    assert [len(payload) for payload in shared_out(sizes, 1)] == [MAX_PAYLOAD]
    assert len(shared_out([*sizes[:1], sizes[1] + 1], 1)) == 2


def test_fragments_of_one_nal_unit_are_one_run() -> None:
    assert len(group(fragments(os.urandom(20_000), b"\x02", 5))) == 1
