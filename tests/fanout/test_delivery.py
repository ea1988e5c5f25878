"""A live unit to many viewers: small ones at once, large ones in portions, nothing between them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.backlog import BURST_PACKETS
from fanout.delivery import Delivery, portions
from fanout.packetizing.packetized import group
from fanout.sender import packets_per_s
from tests.fanout.outgoing import Wire

FRAME_S = 0.04


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def deliver(delivery: Delivery, wire: Wire, number: int, size: int, keyframe: bool = True) -> None:
    unit = wire.source.make(number, keyframe=keyframe, size=size)
    lane = wire.sender.ready(unit)
    assert lane is not None
    delivery.send(unit, [(wire.sender, lane)], True, packets_per_s(wire.source.bitrate), FRAME_S)


@given(
    st.lists(st.sampled_from([5, 9, 1150]), min_size=1, max_size=200),
    st.integers(1, 60),
    st.integers(1, 30),
)
def test_portions_are_the_same_packets(sizes: list[int], first: int, others: int) -> None:
    payloads = [bytes([number & 0xFF]) * size for number, size in enumerate(sizes)]
    cut = portions(group(payloads), first, others)
    assert [payload for runs in cut for run in runs for payload in run] == payloads
    counts = [sum(map(len, runs)) for runs in cut]
    assert counts[0] == min(first, len(payloads)) and max(counts[1:], default=0) <= others
    # Still runs: equal sizes, only the last one smaller.
    assert all(len(group(list(run))) == 1 for runs in cut for run in runs)


async def test_a_small_unit_goes_at_once(wire: Wire) -> None:
    delivery = Delivery(wire.egress)
    deliver(delivery, wire, 0, 20_000)
    packets = wire.received()
    assert len(packets) == wire.source.history.next_number and packets[-1].marker


async def test_a_large_unit_goes_in_portions_and_whole(wire: Wire) -> None:
    delivery = Delivery(wire.egress)
    deliver(delivery, wire, 0, 200_000)
    packets = wire.received()
    assert len(packets) == BURST_PACKETS and not any(packet.marker for packet in packets)
    async with asyncio.timeout(5):
        while len(packets) < wire.source.history.next_number:
            await asyncio.sleep(0.001)
            packets += wire.received()
    assert [packet.marker for packet in packets].count(True) == 1 and packets[-1].marker
    first = packets[0].sequence
    assert [packet.sequence for packet in packets] == list(range(first, first + len(packets)))
    for packet in packets:
        sent = wire.sender.sent.find(packet.sequence, wire.lane.index)
        assert sent is not None and sent.unit.payload(sent.position) == packet.payload


async def test_what_is_left_goes_before_the_next_unit(wire: Wire) -> None:
    delivery = Delivery(wire.egress)
    deliver(delivery, wire, 0, 400_000)
    delivery.finish()
    deliver(delivery, wire, 1, 3000, keyframe=False)
    packets = wire.received()
    assert [packet.payload for packet in packets] == [
        payload for unit in wire.source.history.gop() for run in unit.runs for payload in run
    ]


@pytest.mark.parametrize("what", ["skip", "follow", "close", "cached"])
async def test_who_goes_on_with_something_else_gets_no_rest(wire: Wire, what: str) -> None:
    delivery = Delivery(wire.egress)
    deliver(delivery, wire, 0, 200_000)
    match what:
        case "skip":
            wire.sender.skip()
        case "follow":
            wire.sender.follow(wire.source)
        case "close":
            wire.sender.close()
        case "cached":
            wire.sender.send_cached(wire.source.history.gop())
    assert len(wire.received()) == BURST_PACKETS
    delivery.finish()
    assert wire.received() == []


async def test_a_refusal_ends_the_unit_for_that_viewer(wire: Wire) -> None:
    delivery = Delivery(wire.egress)
    unit = wire.source.make(0, keyframe=True, size=200_000)
    lane = wire.sender.ready(unit)
    assert lane is not None
    never_aimed = wire.make_lane(1, 102)
    delivery.send(unit, [(wire.sender, never_aimed)], True, packets_per_s(0), FRAME_S)
    assert wire.sender.refused_frames == 1 and not wire.sender.is_owed(unit)
    delivery.finish()
    assert wire.sender.refused_frames == 1
