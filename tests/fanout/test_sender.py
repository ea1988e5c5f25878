"""One viewer's stream on a real socket: what arrives, in which order, with which numbers."""

import itertools
from collections.abc import Iterator

import pytest

from common.rtp import SenderReport, parse_rtcp
from fanout.paths import Destination
from fanout.sender import BURST_PACKETS, MAX_PACE_BITS_PER_S, PACE_FACTOR
from tests.fanout.outgoing import PAYLOAD_TYPES, SSRC, FullPath, Source, Wire
from tests.fanout.units import FRAME_NS, FRAME_TICKS


@pytest.fixture(params=[True, False], ids=["gso", "one by one"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    wire = Wire(request.param)
    yield wire
    wire.close()


def test_nothing_before_a_keyframe_then_everything_in_order(wire: Wire) -> None:
    make = wire.source.make
    wire.send(make(0))
    assert wire.received() == [] and wire.sender.dropped_frames == 0
    units = [make(1, keyframe=True), make(2), make(3, size=20_000)]
    for each in units:
        wire.send(each)
    packets = wire.received()
    assert [p.payload for p in packets] == [payload for u in units for run in u.runs for payload in run]
    first = packets[0].sequence
    assert [p.sequence for p in packets] == list(range(first, first + len(packets)))
    assert [p.marker for p in packets] == [n == u.packets - 1 for u in units for n in range(u.packets)]
    offsets = [p.timestamp - packets[0].timestamp for p in packets]
    assert offsets == [n * FRAME_TICKS for n, u in enumerate(units) for _ in range(u.packets)]
    assert {p.ssrc for p in packets} == {SSRC} and {p.payload_type for p in packets} == {102}


def test_a_join_is_paced_by_a_multiple_of_the_streams_rate(wire: Wire) -> None:
    make = wire.source.make
    gop = [make(0, keyframe=True, size=200_000), *(make(n, size=20_000) for n in range(1, 20))]
    wire.sender.send_cached(gop)
    assert wire.paced and wire.received() == []
    started = wire.now
    wire.send(make(20))  # live waits behind the cached ones
    portions = wire.pump()
    assert portions[0] == BURST_PACKETS and max(portions[1:]) <= BURST_PACKETS
    octets = sum(unit.octets for unit in gop)
    pace = min(PACE_FACTOR * wire.source.bitrate, MAX_PACE_BITS_PER_S)
    assert wire.now - started == pytest.approx(octets * 8 / pace, rel=0.25)
    received = wire.received()
    assert len(received) == sum(portions) == sum(unit.packets for unit in gop) + 3


def test_a_slow_stream_has_a_slow_pace_and_a_known_slow_link_a_slower_one(wire: Wire) -> None:
    wire.source.bitrate = 600_000
    gop = [wire.source.make(0, keyframe=True, size=200_000)]
    wire.sender.send_cached(gop)
    wire.pump()
    usual = wire.now - 100.0
    wire.sender.max_bitrate = 1_000_000
    wire.now = started = 200.0
    wire.sender.send_cached(gop)
    wire.pump()
    assert usual < 0.25 and wire.now - started == pytest.approx(1.3, rel=0.3)


def test_a_large_live_keyframe_is_out_before_the_next_frame(wire: Wire) -> None:
    wire.source.bitrate = 100_000
    for number in range(3):
        started = wire.now
        wire.send(wire.source.make(number, keyframe=True, size=400_000))
        assert wire.pump()[0] <= BURST_PACKETS
        assert wire.now - started <= 0.041
        wire.now = started + 0.04
    packets = wire.received()
    assert [p.marker for p in packets].count(True) == 3
    steps = {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(packets)}
    assert steps == {1}


def test_join_timestamps_rise_to_the_live_one(wire: Wire) -> None:
    make = wire.source.make
    wire.sender.send_cached([make(0, keyframe=True), *(make(n) for n in range(1, 100))])
    wire.send(make(100))
    wire.pump()
    timestamps = [p.timestamp for p in wire.received() if p.marker]
    steps = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(timestamps)]
    assert len(timestamps) == 101 and min(steps) >= 1
    assert sum(steps[:-1]) < FRAME_TICKS and steps[-1] == FRAME_TICKS


def test_keyframe_request_repeats_the_gop_between_two_frames(wire: Wire) -> None:
    gop = [wire.source.make(0, keyframe=True), *(wire.source.make(n) for n in range(1, 50))]
    for each in gop:
        wire.send(each)
    before = wire.received()[-1]
    wire.sender.send_cached(gop)
    wire.send(wire.source.make(50))
    wire.pump()
    packets = wire.received()
    assert packets[0].sequence == (before.sequence + 1) & 0xFFFF
    timestamps = [(p.timestamp - before.timestamp) & 0xFFFFFFFF for p in packets if p.marker]
    assert timestamps == sorted(set(timestamps)) and timestamps[0] > 0
    assert timestamps[-1] == FRAME_TICKS and timestamps[-2] < FRAME_TICKS


def test_a_second_request_during_the_answer_changes_nothing(wire: Wire) -> None:
    gop = [wire.source.make(0, keyframe=True)]
    wire.sender.send_cached(gop)
    wire.sender.send_cached(gop)
    wire.pump()
    assert len(wire.received()) == gop[0].packets


def test_a_refused_packet_costs_the_frames_to_the_next_keyframe(wire: Wire) -> None:
    make = wire.source.make
    wire.send(make(0, keyframe=True))
    good = wire.path.destination
    assert good is not None
    wire.lane.aim(Destination(good.host, 0, ""))  # the kernel refuses port 0
    wire.send(make(1))
    wire.lane.aim(good)
    wire.send(make(2))
    assert wire.sender.dropped_frames == 2
    before = wire.received()
    keyframe = make(3, keyframe=True)
    wire.send(keyframe)
    after = wire.received()
    assert wire.sender.dropped_frames == 2 and len(after) == keyframe.packets
    # No index is used twice, and the gap tells the receiver.
    assert (after[0].sequence - before[-1].sequence) & 0xFFFF > 1


def test_keyframes_only_counts_nothing_as_dropped(wire: Wire) -> None:
    make = wire.source.make
    wire.sender.keyframes_only = True
    units = [make(n, keyframe=n % 3 == 0) for n in range(9)]
    for each in units:
        wire.send(each)
    shown = [p.payload for p in wire.received()]
    assert shown == [payload for u in units if u.keyframe for run in u.runs for payload in run]
    assert wire.sender.dropped_frames == 0
    wire.sender.send_cached(wire.source.history.gop())
    wire.pump()
    assert len(wire.received()) == units[6].packets


def test_a_held_stream_sends_nothing_and_goes_on_at_a_keyframe(wire: Wire) -> None:
    make = wire.source.make
    wire.send(make(0, keyframe=True))
    wire.received()
    wire.sender.held = True
    wire.sender.skip()
    wire.send(make(1))
    wire.send(make(2, keyframe=True))
    wire.sender.send_cached(wire.source.history.gop())
    assert wire.received() == [] and wire.sender.dropped_frames == 2
    wire.sender.held = False
    wire.send(make(3))
    assert wire.received() == []
    wire.send(make(4, keyframe=True))
    assert wire.received()


def test_another_source_goes_on_without_a_break(wire: Wire) -> None:
    for number in range(5):
        wire.send(wire.source.make(number, keyframe=number == 0))
    before = wire.received()[-1]
    sub = Source(600_000)
    # The same camera's clock says when; its own timestamps are somewhere else.
    gop = [sub.make(number, keyframe=number == 3) for number in range(3, 8)]
    wire.sender.follow(sub, gop[-1])
    wire.sender.send_cached(gop)
    wire.pump()
    wire.send(sub.make(8))
    packets = wire.received()
    assert packets[0].sequence == before.sequence + 1
    timestamps = [p.timestamp - before.timestamp for p in packets if p.marker]
    assert timestamps == sorted(set(timestamps)) and timestamps[0] > 0
    # Unit 4 was the last of the one source, 7 is the newest of the other, 8 follows.
    assert timestamps[-2:] == [3 * FRAME_TICKS, 4 * FRAME_TICKS]


def test_another_codec_has_its_payload_type_and_an_unknown_one_is_said_once(wire: Wire) -> None:
    wire.send(wire.source.make(0, keyframe=True))
    for codec, numbers in (("H265", (1, 2)), ("H264", (3, 4))):
        source = Source(codec=codec)
        units = [source.make(number, keyframe=True) for number in numbers]
        wire.sender.follow(source, units[0])
        for each in units:
            wire.send(each)
        assert wire.sender.codec == codec
    shown = [payload_type for payload_type, _ in itertools.groupby(p.payload_type for p in wire.received())]
    assert shown == [PAYLOAD_TYPES["H264"], PAYLOAD_TYPES["H265"], PAYLOAD_TYPES["H264"]]
    odd = Wire()
    odd.sender._payload_types = {"H265": 104}
    odd.send(odd.source.make(0, keyframe=True))
    odd.send(odd.source.make(1, keyframe=True))
    odd.sender.send_cached(odd.source.history.gop())
    assert odd.unusable == ["H264"] and odd.received() == []
    odd.close()


def test_a_path_of_its_own_gets_whole_packets_or_the_frame_is_dropped(wire: Wire) -> None:
    path = FullPath()
    wire.outlet.aim(path)
    wire.send(wire.source.make(0, keyframe=True, size=5000))
    wire.send(wire.source.make(1))
    sent = len(path.packets)
    assert sent == sum(unit.packets for unit in wire.source.history.gop()) and wire.received() == []
    path.full = True
    wire.send(wire.source.make(2))
    path.full = False
    wire.send(wire.source.make(3))
    assert len(path.packets) == sent and wire.sender.dropped_frames == 2
    wire.outlet.aim(wire.path)
    keyframe = wire.source.make(4, keyframe=True)
    wire.send(keyframe)
    assert len(wire.received()) == keyframe.packets


def test_sender_report_maps_capture_time(wire: Wire) -> None:
    assert wire.sender.report(0, "c") is None
    unit = wire.source.make(25, keyframe=True)
    wire.send(unit)
    packet = wire.received()[-1]
    report = wire.sender.report(25 * FRAME_NS + 1_000_000_000, "c")
    assert report is not None
    parsed = parse_rtcp(report)[0]
    assert isinstance(parsed, SenderReport)
    assert (parsed.rtp_timestamp - packet.timestamp) & 0xFFFFFFFF == 90_000
    assert (parsed.packet_count, parsed.octet_count) == (unit.packets, unit.octets)
