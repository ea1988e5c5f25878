"""One viewer's stream on a real socket: what arrives, in which order, with which numbers."""

import dataclasses
import itertools
from collections.abc import Iterator

import pytest

from common.rtp import SenderReport, parse_rtcp
from fanout.backlog import BURST_PACKETS, MAX_AGE_S
from fanout.ice.paths import Destination
from fanout.sender import MAX_PACE_BITS_PER_S, PACE_FACTOR, RtpSender
from fanout.track import Track
from tests.fanout.outgoing import PAYLOAD_TYPES, SSRC, FullPath, Source, Wire
from tests.fanout.units import FRAME_NS, FRAME_TICKS, audio_unit


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
    wire.sender.follow(sub)
    wire.sender.send_cached(gop)
    wire.pump()
    wire.send(sub.make(8))
    packets = wire.received()
    assert packets[0].sequence == before.sequence + 1
    timestamps = [p.timestamp - before.timestamp for p in packets if p.marker]
    assert timestamps == sorted(set(timestamps)) and timestamps[0] > 0
    # Unit 4 was the last of the one source, 7 is the newest of the other, 8 follows.
    assert timestamps[-2:] == [3 * FRAME_TICKS, 4 * FRAME_TICKS]


@pytest.mark.parametrize(
    ("first", "step"), [(8, 4), (4, 1 / FRAME_TICKS), (2, 1 / FRAME_TICKS), (5 + 11 * 25, 1 / FRAME_TICKS)]
)
def test_another_source_is_placed_by_the_unit_that_is_sent_first(wire: Wire, first: int, step: float) -> None:
    """As far on as the captures are apart; never back, and not by what a clock that is set makes of it."""
    for number in range(5):
        wire.send(wire.source.make(number, keyframe=number == 0))
    before = wire.received()[-1]
    sub = Source()
    wire.sender.follow(sub)
    for number in range(max(first - 3, 0), first):  # no keyframe was cached, and none comes yet
        unit = sub.make(number)
        wire.send(dataclasses.replace(unit, timestamp=unit.timestamp + 5_000_000))
    assert wire.received() == []
    for number in (first, first + 1):
        unit = sub.make(number, keyframe=number == first)
        wire.send(dataclasses.replace(unit, timestamp=unit.timestamp + 5_000_000))
    timestamps = [(p.timestamp - before.timestamp) & 0xFFFFFFFF for p in wire.received() if p.marker]
    assert timestamps == [round(step * FRAME_TICKS), round((step + 1) * FRAME_TICKS)]


@pytest.mark.parametrize(
    ("codec", "rate", "other", "silent", "steps"),
    [
        ("OPUS", 48_000, True, 0, [960] * 5),  # the other rendition's sound
        ("OPUS", 48_000, True, 50, [51 * 960, *[960] * 4]),  # it has none for a second
        ("PCMA", 8_000, True, 0, [160] * 5),
        ("PCMA", 8_000, False, 0, [160] * 5),  # the camera is set to another codec
    ],
    ids=["switch", "switch after silence", "switch to another codec", "another codec"],
)
def test_sound_goes_on_when_it_was_captured(
    wire: Wire, codec: str, rate: int, other: bool, silent: int, steps: list[int]
) -> None:
    sender = RtpSender(
        wire.outlet, wire, wire.make_lane(9, 111), {"OPUS": 111, "PCMA": 8}, print, marks_units=False
    )
    main, sub = (Track(name, wire.egress, 48_000) for name in ("main", "sub"))

    def give(track: Track, codec: str, rate: int, number: int) -> None:
        # 20 ms each, of one camera's clock.
        template = audio_unit(codec, bytes(160), clock_rate=rate, capture_ns=number * 20_000_000)
        for unit in track.audio(dataclasses.replace(template, timestamp=number * rate // 50)):
            track.give(unit, (sender,), marker=False)

    sender.follow(main)
    for number in range(500):
        give(main, "OPUS", 48_000, number)
    (*_, before) = wire.received()
    if other:
        sender.follow(sub)
    for number in range(500 + silent, 505 + silent):
        give(sub if other else main, codec, rate, number)
    packets = wire.received()
    assert {packet.payload_type for packet in packets} == {8 if codec == "PCMA" else 111}
    assert [packet.sequence for packet in packets] == [before.sequence + n for n in range(1, 6)]
    timestamps = [before.timestamp, *(packet.timestamp for packet in packets)]
    assert [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(timestamps)] == steps


def test_another_codec_while_something_waits_leaves_that_out(wire: Wire) -> None:
    first = wire.source.make(0, keyframe=True, size=200_000)
    wire.sender.send_cached([first])
    wire.sender.pump(wire.now)
    assert 0 < len(wire.received()) < first.packets
    source = Source(codec="H265")
    units = [source.make(number, keyframe=number == 1) for number in (1, 2)]
    for each in units:
        wire.send(each)
    wire.pump()
    packets = wire.received()
    assert {p.payload_type for p in packets} == {PAYLOAD_TYPES["H265"]}
    assert [p.payload for p in packets] == [payload for u in units for run in u.runs for payload in run]
    assert wire.sender.dropped_frames == 1 and wire.sender.refused_frames == 0


def test_a_cached_gop_that_would_fill_a_slow_link_is_left_out(wire: Wire) -> None:
    gop = [wire.source.make(0, keyframe=True, size=60_000), wire.source.make(1, size=30_000)]
    wire.sender.max_bitrate = 300_000
    wire.sender.send_cached(gop)
    assert not wire.paced
    wire.send(wire.source.make(2))
    assert wire.received() == []
    wire.sender.send_cached(gop[:1])
    wire.pump()
    assert len(wire.received()) == gop[0].packets


@pytest.mark.parametrize("bitrate", [0, 500_000])
@pytest.mark.parametrize("carries", [0, 1, 300_000, 600_000])
def test_a_backlog_on_a_slow_link_ends(wire: Wire, bitrate: int, carries: int) -> None:
    """A stream of 500 kbit/s is joined with 4 s of it; the link is taken to be slow for a second."""
    make, interval_s = wire.source.make, 1 / 15
    wire.source.bitrate = bitrate
    wire.sender.send_cached([make(n, keyframe=n == 0, size=4166) for n in range(60)])
    wire.sender.max_bitrate = carries
    began, due = wire.now, wire.sender.pump(wire.now)
    for number in range(60, 60 + 15 * 10):
        at = began + (number - 59) * interval_s
        while due is not None and due <= at:
            wire.now = due
            due = wire.sender.pump(wire.now)
        if at - began > 1:
            wire.sender.max_bitrate = None
        unit = make(number, keyframe=number % 60 == 0, size=4166)
        before = wire.lane.packets
        wire.send(unit)
        if due is None and wire.lane.packets == before:
            due = wire.sender.pump(at)
    wire.received()
    # It is live again: a unit goes at once.
    last = make(number + 1, size=4166)
    wire.send(last)
    assert len(wire.received()) == last.packets


def test_a_backlog_that_gets_too_old_is_dropped_to_the_next_keyframe(wire: Wire) -> None:
    gop = [wire.source.make(0, keyframe=True, size=500_000)]
    wire.source.bitrate = 0
    wire.sender.send_cached(gop)
    wire.sender.max_bitrate = 1000
    wire.sender.pump(wire.now)
    sent = len(wire.received())
    assert sent == BURST_PACKETS
    wire.send(wire.source.make(1))
    assert wire.sender.pump(wire.now + MAX_AGE_S) is not None
    wire.received()
    assert wire.sender.pump(wire.now + MAX_AGE_S + 0.1) is None
    assert wire.sender.dropped_frames == 2 and wire.sender.refused_frames == 0
    wire.send(wire.source.make(2))
    assert wire.received() == []
    keyframe = wire.source.make(3, keyframe=True)
    wire.send(keyframe)
    assert len(wire.received()) == keyframe.packets


def test_a_failure_is_a_problem_of_the_session(wire: Wire) -> None:
    wire.sender.failed()
    assert len(wire.problems) == 1


def test_another_codec_has_its_payload_type_and_an_unknown_one_is_said_once(wire: Wire) -> None:
    wire.send(wire.source.make(0, keyframe=True))
    for codec, numbers in (("H265", (1, 2)), ("H264", (3, 4))):
        source = Source(codec=codec)
        units = [source.make(number, keyframe=True) for number in numbers]
        wire.sender.follow(source)
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
    assert ["H264" in problem for problem in odd.problems] == [True] and odd.received() == []
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


def test_sender_reports_go_on_over_a_repeated_keyframe(wire: Wire) -> None:
    """What is repeated late was not captured late: else sound and picture come apart."""
    wire.send(wire.source.make(0, keyframe=True))
    wire.sender.keyframes_only = True
    for number in range(1, 200):
        wire.send(wire.source.make(number))
    now_ns = 200 * FRAME_NS

    def report() -> SenderReport:
        data = wire.sender.report(now_ns, "c")
        assert data is not None
        found = parse_rtcp(data)[0]
        assert isinstance(found, SenderReport)
        return found

    before = report()
    wire.sender.send_cached(wire.source.history.gop())
    wire.pump()
    shown = wire.received()[-1].timestamp
    assert abs(report().rtp_timestamp - before.rtp_timestamp) <= 1
    wire.sender.send_cached(wire.source.history.gop())
    wire.pump()
    assert 0 < wire.received()[-1].timestamp - shown <= FRAME_TICKS
    assert abs(report().rtp_timestamp - before.rtp_timestamp) <= 1
    # The next keyframe stands where its capture is, as if nothing had been repeated.
    wire.send(wire.source.make(201, keyframe=True))
    assert abs(wire.received()[-1].timestamp - shown - 201 * FRAME_TICKS) <= FRAME_TICKS
    assert abs(report().rtp_timestamp - before.rtp_timestamp) <= 1
