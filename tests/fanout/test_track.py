"""A track: one continuous timeline, announcements, the measured rate, and giving units out."""

import dataclasses

import pytest

from common.units import ntp_to_unix_ns
from fanout.egress import Egress, Lane
from fanout.packetizing.packetized import PacketizedUnit
from fanout.track import ContinuousTimeline, Track
from tests.fanout.outgoing import Wire
from tests.fanout.units import FRAME_NS, access_unit, audio_unit


def test_timeline_follows_a_camera_whose_clock_jumps() -> None:
    timeline = ContinuousTimeline(90_000)
    placed = [timeline.place(access_unit(n)) for n in range(3)]
    placed.append(timeline.place(access_unit(3, timestamp=5_000_000_000)))
    placed.append(timeline.place(access_unit(4, timestamp=5_000_003_600)))
    placed.append(timeline.place(access_unit(5, timestamp=7)))
    assert placed == [0, 3600, 7200, 10_800, 14_400, 18_000]
    assert timeline.frame_ticks == 3600 and FRAME_NS == 40_000_000


def test_timeline_never_stands_still() -> None:
    timeline = ContinuousTimeline(90_000)
    placed = [timeline.place(access_unit(n, timestamp=100)) for n in range(3)]
    assert placed == [0, 1, 2]


@pytest.mark.parametrize("steps", [(7195, 5), (3600, 3600, 3599, 3601)])
def test_pictures_close_together_do_not_make_the_next_one_due_sooner(steps: tuple[int, ...]) -> None:
    timeline = ContinuousTimeline(90_000)
    timestamp, least = 0, 3600
    for number in range(100):
        unit = dataclasses.replace(
            access_unit(number, timestamp=timestamp), arrival_ns=timestamp * 100_000 // 9
        )
        timeline.place(unit)
        timestamp += steps[number % len(steps)]
        least = min(least, timeline.frame_ticks)
    assert least > 2400
    # Another frame rate is learned all the same.
    for number in range(100, 130):
        timestamp += 9000
        unit = dataclasses.replace(
            access_unit(number, timestamp=timestamp), arrival_ns=timestamp * 100_000 // 9
        )
        timeline.place(unit)
    assert timeline.frame_ticks == pytest.approx(9000, rel=0.01)


def test_another_clock_rate_goes_on_in_its_ticks() -> None:
    timeline = ContinuousTimeline(48_000)
    opus = dataclasses.replace(audio_unit("OPUS", b"x", clock_rate=48_000), timestamp=960)
    later = dataclasses.replace(opus, timestamp=48_960, arrival_ns=1_000_000_000)
    law = dataclasses.replace(audio_unit("PCMA", b"x", capture_ns=1_020_000_000), timestamp=5)
    assert [timeline.place(unit) for unit in (opus, later)] == [0, 48_000]
    first = timeline.place(law)
    second = timeline.place(dataclasses.replace(law, timestamp=165, arrival_ns=1_040_000_000))
    assert first == 8_000 + 320 and second == first + 160


def test_a_clock_of_the_server_that_is_set_moves_nothing() -> None:
    now_s = 100.0
    timeline = ContinuousTimeline(90_000, lambda: now_s)
    placed = []
    for number in range(100):
        now_s += 0.04
        unit = access_unit(number)
        if number >= 50:
            unit = dataclasses.replace(unit, arrival_ns=unit.arrival_ns + 3600 * 1_000_000_000)
        placed.append(timeline.place(unit))
    assert placed == [3600 * number for number in range(100)]
    # A camera that begins anew after a minute goes on a minute later, all the same.
    now_s += 60
    anew = dataclasses.replace(access_unit(0, epoch=2), arrival_ns=(3600 + 60 + 4) * 1_000_000_000)
    assert timeline.place(anew) - placed[-1] == pytest.approx(60 * 90_000, rel=0.01)


def test_keyframes_and_two_units_a_second_tell_their_capture_time() -> None:
    track = Track("gate", Egress(-1, -1, False), 90_000)
    units = []
    for number in range(50):
        unit = track.video(access_unit(number + 1000, keyframe=number in (0, 20)))
        assert unit is not None
        units.append(unit)
    told = [number for number, unit in enumerate(units) if unit.capture_ntp]
    assert told == [0, 20, 45]
    assert abs(ntp_to_unix_ns(units[20].capture_ntp) - 1020 * FRAME_NS) < 10
    assert [unit.number for unit in units[:3]] == [0, units[0].packets, units[0].packets + units[1].packets]


def test_the_rate_is_measured() -> None:
    track = Track("gate", Egress(-1, -1, False), 90_000)
    for number in range(125):
        track.video(access_unit(number, keyframe=not number, size=20_000))
        if number == 6:  # not after the whole window only
            assert track.bitrate == pytest.approx(4_000_000, rel=0.05)
    assert track.bitrate == pytest.approx(4_000_000, rel=0.05)


class Direct:
    """A receiver that always gives its lane."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.refusals = self.failures = 0

    def follow(self, source: object) -> None:
        raise AssertionError

    def is_owed(self, unit: PacketizedUnit) -> bool:
        return True

    def failed(self) -> None:
        self.failures += 1

    def send_cached(self, units: object) -> None:
        raise AssertionError

    def ready(self, unit: PacketizedUnit) -> Lane | None:
        return self.lane

    def refused(self) -> None:
        self.refusals += 1


class Broken(Direct):
    def ready(self, unit: PacketizedUnit) -> Lane | None:
        raise OverflowError


def test_a_refusal_reaches_its_receiver_and_a_broken_one_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Wire()
    track = Track("gate", wire.egress, 90_000)
    good = Direct(wire.lane)
    never_aimed = Direct(wire.make_lane(1, 102))
    broken = Broken(wire.lane)
    track.receivers |= {good, never_aimed, broken}
    for number in range(2):
        unit = track.video(access_unit(number, keyframe=not number))
        assert unit is not None
        track.give(unit, tuple(track.receivers), marker=True)
    assert (good.refusals, never_aimed.refusals) == (0, 2)
    assert (good.failures, never_aimed.failures, broken.failures) == (0, 0, 1)
    assert broken not in track.receivers
    assert len(wire.received()) == track.history.next_number
    assert sum("left out" in record.getMessage() for record in caplog.records) == 1
    wire.close()
