"""Sequence numbers back to packets, over joins, drops and changes of the source."""

from collections.abc import Iterator

import pytest

from fanout.sent import MAX_STRETCHES, SentLog
from tests.fanout.outgoing import Source, Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def found(wire: Wire) -> int:
    """Finds everything that was received since the last call; gives how many packets."""
    packets = wire.received()
    for packet in packets:
        sent = wire.sender.sent.find(packet.sequence, wire.lane.index)
        assert sent is not None
        assert sent.unit.payload(sent.position) == packet.payload
        assert sent.timestamp == packet.timestamp
        assert packet.marker == (sent.position == sent.unit.packets - 1)
    return len(packets)


def test_what_was_sent_is_found_octet_for_octet(wire: Wire) -> None:
    make = wire.source.make
    wire.sender.send_cached([make(0, keyframe=True, size=60_000), make(1), make(2)])
    wire.send(make(3))
    wire.pump()
    wire.send(make(4))
    first = wire.lane.index - wire.lane.packets
    assert found(wire) > 50
    wire.sender.skip()
    wire.send(make(5))
    wire.send(make(6, keyframe=True))
    assert found(wire) > 0
    other = Source()
    wire.sender.follow(other)
    wire.sender.send_cached([other.make(7, keyframe=True), other.make(8)])
    wire.pump()
    wire.send(other.make(9))
    assert found(wire) > 0
    for sequence in (wire.lane.index, first - 1, first):
        # Never sent, and sent before a keyframe that makes it useless.
        assert wire.sender.sent.find(sequence & 0xFFFF, wire.lane.index) is None


def test_plain_serving_remembers_nothing_more(wire: Wire) -> None:
    for number in range(500):
        wire.send(wire.source.make(number, keyframe=number % 10 == 0))
    assert len(wire.sender.sent._stretches) == 1


def test_what_is_remembered_is_bounded() -> None:
    log, source = SentLog(), Source()
    unit = source.make(0, keyframe=True)
    for index in range(3 * MAX_STRETCHES):
        log.note(2 * index, unit.number, 0, source.history)
    assert len(log._stretches) == MAX_STRETCHES
    assert log.find(0, 6 * MAX_STRETCHES) is None


def test_each_stretch_is_found_among_many() -> None:
    log, source = SentLog(), Source()
    units = [source.make(number, keyframe=number == 0) for number in range(50)]
    index = 0
    begins = []
    for offset in range(MAX_STRETCHES // len(units)):
        for unit in units:
            log.note(index, unit.number, offset, source.history)
            begins.append((index, offset, unit))
            index += unit.packets
    for begin, offset, unit in begins:
        found = log.find(begin & 0xFFFF, index)
        assert found is not None
        assert (found.index, found.unit, found.position) == (begin, unit, 0)
        assert found.timestamp == unit.timestamp + offset


def test_the_largest_of_the_last_packets(wire: Wire) -> None:
    make = wire.source.make
    for number, size in enumerate((60_000, 300, 300, 300)):
        wire.send(make(number, keyframe=not number, size=size))
    wire.pump()
    recent = wire.sender.sent.recent(wire.lane.index, 10)
    assert len(recent) == 10 and min(len(p.unit.payload(p.position)) for p in recent) > 1000
    assert SentLog().recent(5, 10) == []
