"""The reorder buffer: what is held, for how long, and what comes out."""

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from common.rtp import HEADER_SIZE, RtpPacket, serialize_rtp
from common.units import sequence_delta
from ingest.reorder import MAX_HELD, MAX_HOLD_S, RESTART_AFTER_S, ReorderBuffer
from tests.support.growth import assert_linear


def packet(sequence, ssrc=7, payload_type=96):
    return serialize_rtp(RtpPacket(payload_type, False, sequence & 0xFFFF, 0, ssrc, b"x"))


def sequences(packets):
    return [int.from_bytes(data[2:4], "big") for data in packets]


def push(buffer, *numbers, at=0.0):
    return sequences(buffer.push([packet(number) for number in numbers], at))


def test_nothing_is_held_while_nothing_is_missing():
    buffer = ReorderBuffer(96)
    assert push(buffer, 65_534, 65_535, 0, 1) == [65_534, 65_535, 0, 1]
    assert buffer.deadline is None
    assert (buffer.reordered, buffer.dropped) == (0, 0)


def test_late_packets_are_put_back():
    buffer = ReorderBuffer(96)
    assert push(buffer, 65_534, 0, 1, at=1.0) == [65_534]
    assert buffer.deadline == 1.0 + MAX_HOLD_S
    assert push(buffer, 65_535, at=1.05) == [65_535, 0, 1]
    assert buffer.deadline is None
    assert (buffer.reordered, buffer.dropped) == (1, 0)


def test_a_missing_packet_is_given_up_in_time():
    buffer = ReorderBuffer(96)
    push(buffer, 1, at=1.0)
    assert push(buffer, 3, at=1.0) == []
    assert push(buffer, 4, at=1.05) == []
    assert buffer.poll(1.09) == []
    assert sequences(buffer.poll(buffer.deadline)) == [3, 4]
    assert buffer.deadline is None
    # It comes after all.
    assert push(buffer, 2, at=1.2) == []
    assert (buffer.reordered, buffer.dropped) == (0, 1)


def test_every_gap_has_its_own_time():
    buffer = ReorderBuffer(96)
    push(buffer, 1, 3, at=1.0)
    push(buffer, 5, at=1.05)
    assert sequences(buffer.poll(1.0 + MAX_HOLD_S)) == [3]
    assert buffer.deadline == 1.05 + MAX_HOLD_S
    assert push(buffer, 4, at=1.12) == [4, 5]


def test_repetitions_are_dropped():
    buffer = ReorderBuffer(96)
    assert push(buffer, 1, 1, 3, 3, 2, 2, 3) == [1, 2, 3]
    assert buffer.dropped == 4


def test_memory_is_bounded():
    buffer = ReorderBuffer(96)
    push(buffer, 0)
    held = range(2, 2 + MAX_HELD)
    assert push(buffer, *held) == []
    assert push(buffer, 2 + MAX_HELD) == [*held, 2 + MAX_HELD]


def test_another_source_flushes():
    buffer = ReorderBuffer(96)
    push(buffer, 1, 3, 5)
    out = buffer.push([packet(900, ssrc=8), packet(901, ssrc=8)], 0.0)
    assert sequences(out) == [3, 5, 900, 901]
    assert buffer.deadline is None


def test_a_sequence_that_begins_anew_flushes():
    buffer = ReorderBuffer(96)
    push(buffer, 1, 3)
    assert push(buffer, 20_000, 20_001) == [3, 20_000, 20_001]
    # A little back: only when nothing else comes.
    assert push(buffer, 19_990, at=0.1) == []
    assert push(buffer, 19_991, 19_992, at=0.2 + RESTART_AFTER_S) == [19_991, 19_992]


def test_what_else_is_on_the_port_passes():
    buffer = ReorderBuffer(96)
    push(buffer, 1)
    strange = [b"", b"\x80" * (HEADER_SIZE - 1), packet(77, ssrc=9, payload_type=97)]
    assert buffer.push(strange, 0.0) == strange
    assert push(buffer, 2) == [2]
    # Of the same source: it has a place in the sequence.
    assert sequences(buffer.push([packet(4), packet(3, payload_type=97)], 0.0)) == [3, 4]


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(0, 65_535), st.sampled_from([0.0, 0.01, 0.05]))
def test_jitter_below_the_limit_changes_nothing_but_the_time(seed, first, loss):
    rng = random.Random(seed)
    sent = [(first + i) & 0xFFFF for i in range(300)]
    arriving = sorted(
        (i * 0.001 + rng.uniform(0, MAX_HOLD_S * 0.9), number)
        for i, number in enumerate(sent)
        if i == 0 or rng.random() >= loss
    )
    # The first one comes first, else the sequence would be taken to begin later.
    arriving.sort(key=lambda item: (item[1] != first, item[0]))
    buffer = ReorderBuffer(96)
    out = []
    for now, number in arriving:
        while buffer.deadline is not None and buffer.deadline <= now:
            out += sequences(buffer.poll(buffer.deadline))
        out += push(buffer, number, at=now)
        assert buffer.deadline is None or buffer.deadline <= now + MAX_HOLD_S
    while buffer.deadline is not None:
        out += sequences(buffer.poll(buffer.deadline))
    got = {number for _, number in arriving}
    assert out == [number for number in sent if number in got]
    assert buffer.dropped == 0


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.binary(max_size=20), st.builds(packet, st.integers(0, 65_535), st.integers(0, 2))),
            st.floats(0, 0.3),
        ),
        max_size=60,
    )
)
def test_fuzz_every_packet_comes_out_once_or_is_counted(steps):
    buffer = ReorderBuffer(96)
    now, out = 0.0, []
    for data, passed in steps:
        now += passed
        out += buffer.poll(now)
        out += buffer.push([data], now)
    out += buffer.poll(now + 1)
    assert len(out) + buffer.dropped == len(steps)
    assert buffer.deadline is None


def test_order_never_goes_back_within_one_source():
    rng = random.Random(5)
    buffer = ReorderBuffer(96)
    out = push(buffer, 0)
    now = 0.0
    for _ in range(2000):
        now += 0.001
        out += sequences(buffer.poll(now))
        out += push(buffer, int(now * 1000) + rng.randint(-150, 0) & 0xFFFF, at=now)
    assert all(sequence_delta(after, before) > 0 for before, after in pairwise(out))


def test_time_in_proportion_to_what_is_lost():
    def receive(packets):
        buffer = ReorderBuffer(96)
        out = buffer.push(packets, 0.0)
        out += buffer.poll(MAX_HOLD_S)
        assert out == packets

    assert_linear(receive, lambda size: [packet(number) for number in range(0, size // 12, 2)])


def test_wide_gaps_in_front_of_few_and_of_many():
    for held in (1, 16, 17, 500):
        buffer = ReorderBuffer(96)
        first = [65_000, 65_000 + 2000, 65_000 + 2000 + 2 * held]
        numbers = [*first[:1], *range(first[1], first[2], 2)]
        assert push(buffer, *numbers) == first[:1]
        assert sequences(buffer.poll(MAX_HOLD_S)) == [number & 0xFFFF for number in numbers[1:]]
