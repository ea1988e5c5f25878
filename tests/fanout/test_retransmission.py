"""NACKs answered from the shared history: by RTX, plainly, and within bounds."""

from collections.abc import Iterator

import pytest

from fanout.retransmission import BURST_OCTETS, STRAINED_BURST_OCTETS, Retransmitter
from tests.fanout.outgoing import RTX_PAYLOAD_TYPES, RTX_SSRC, SSRC, Wire

RTT_S = 0.08
BITRATE = 4_000_000


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    for number in range(10):
        wire.send(wire.source.make(number, keyframe=number == 0))
    yield wire
    wire.close()


def retransmitter(wire: Wire, rtx: bool) -> Retransmitter:
    return Retransmitter(
        wire.outlet,
        wire.lane,
        wire.sender.sent,
        wire.rtx if rtx else None,
        RTX_PAYLOAD_TYPES if rtx else {},
    )


def test_rtx_has_the_original_sequence_number_in_front(wire: Wire) -> None:
    sent = wire.received()
    lost = sent[3:8]
    retransmitter(wire, rtx=True).answer([p.sequence for p in lost], wire.now, RTT_S, BITRATE)
    again = wire.received()
    assert [p.payload for p in again] == [p.sequence.to_bytes(2, "big") + p.payload for p in lost]
    assert [(p.timestamp, p.marker) for p in again] == [(p.timestamp, p.marker) for p in lost]
    assert {(p.ssrc, p.payload_type) for p in again} == {(RTX_SSRC, RTX_PAYLOAD_TYPES["H264"])}
    assert [p.sequence for p in again] == list(range(again[0].sequence, again[0].sequence + 5))


def test_plain_retransmission_is_the_same_packet_octet_for_octet() -> None:
    wire = Wire()
    # Not decrypted before: libsrtp takes each packet once.
    wire.send(wire.source.make(0, keyframe=True, size=5000))
    first = [wire.receiver.recv(2048) for _ in range(wire.lane.packets)]
    sequences = [int.from_bytes(packet[2:4], "big") for packet in first]
    retransmitter(wire, rtx=False).answer(sequences[1:3], wire.now, RTT_S, BITRATE)
    assert [wire.receiver.recv(2048) for _ in range(2)] == first[1:3]
    assert all(packet[8:12] == SSRC.to_bytes(4, "big") for packet in first)
    wire.close()


def test_a_packet_is_sent_again_once_per_round_trip(wire: Wire) -> None:
    sequence = wire.received()[4].sequence
    answers = retransmitter(wire, rtx=True)
    for now in (0.0, 0.01, 0.07, 0.09, 0.1, 0.18):
        answers.answer([sequence], wire.now + now, RTT_S, BITRATE)
    assert (answers.packets, answers.unanswered) == (3, 3) and len(wire.received()) == 3


def test_on_a_lossy_link_each_is_sent_twice(wire: Wire) -> None:
    lost = wire.received()[3:8]
    answers = retransmitter(wire, rtx=True)
    answers.answer([p.sequence for p in lost], wire.now, RTT_S, BITRATE, twice=True)
    again = wire.received()
    assert [p.payload[2:] for p in again] == [p.payload for p in lost for _ in range(2)]
    assert len({p.sequence for p in again}) == 10 and answers.packets == 10


def test_a_full_link_gets_little(wire: Wire) -> None:
    for number in range(10, 50):
        wire.send(wire.source.make(number, size=20_000))
    sequences = [p.sequence for p in wire.received()]
    answers = retransmitter(wire, rtx=True)
    answers.answer(sequences, wire.now, RTT_S, BITRATE, strained=True)
    assert sum(len(p.payload) for p in wire.received()) <= STRAINED_BURST_OCTETS


def test_who_asks_for_everything_gets_a_share(wire: Wire) -> None:
    make = wire.source.make
    answers = retransmitter(wire, rtx=True)
    octets = 0
    for number in range(10, 110):  # 4 s at 4 Mbit/s
        wire.send(make(number, size=20_000))
        wire.now += 0.04
        packets = [p for p in wire.received() if p.ssrc == SSRC]
        answers.answer([p.sequence for p in packets], wire.now, RTT_S, BITRATE)
        octets += sum(len(p.payload) for p in wire.received())
    sent = 100 * 20_000
    assert octets < BURST_OCTETS + sent * 0.55 and answers.unanswered > answers.packets / 2


def test_what_was_never_sent_or_is_long_gone_is_not_answered(wire: Wire) -> None:
    answers = retransmitter(wire, rtx=True)
    nexts = wire.lane.index
    answers.answer([nexts & 0xFFFF, (nexts + 5) & 0xFFFF, (nexts - 9000) & 0xFFFF], wire.now, None, BITRATE)
    assert (answers.packets, answers.unanswered) == (0, 3)
    sequences = [p.sequence for p in wire.received()]
    for number in range(20, 80):
        wire.send(wire.source.make(number, keyframe=number % 10 == 0))
    wire.received()
    answers.answer(sequences, wire.now, None, BITRATE)
    assert answers.packets == 0 and wire.received() == []


def test_thousands_of_packets_that_were_never_sent_cost_as_if_they_were(wire: Wire) -> None:
    answers = retransmitter(wire, rtx=True)
    sequence = wire.received()[4].sequence
    never = [(wire.lane.index + 5) & 0xFFFF] * 8000
    answers.answer([*never, sequence], wire.now, RTT_S, BITRATE)
    assert (answers.packets, answers.unanswered) == (0, 8001)
    answers.answer([sequence], wire.now + 0.1, RTT_S, BITRATE)
    assert (answers.packets, answers.unanswered) == (1, 8001)
