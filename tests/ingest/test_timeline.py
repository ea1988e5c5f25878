"""One timeline over everything that a camera does to its timestamps and its clock."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rtp import SenderReport
from common.units import unix_ns_to_ntp
from ingest.timeline import SECOND_NS, CameraClock, Timeline

NOW = 1_800_000_000 * SECOND_NS
VIDEO = 90_000
AUDIO = 8000
HOUR = 3600.0


def at(seconds):
    return NOW + round(seconds * SECOND_NS)


def timeline(rate=VIDEO):
    return Timeline(rate, CameraClock())


def report(rtp, unix_ns):
    return SenderReport(1, unix_ns_to_ntp(unix_ns), rtp & 0xFFFF_FFFF, 0, 0)


class Track:
    """A track of a simulated camera; times are true seconds, `clock(t)` is the camera's wall clock at `t`."""

    def __init__(self, clock, rate=VIDEO, clock_of=lambda t: t, base=0xFFFF_0000):
        self.timeline = Timeline(rate, clock)
        self.rate = rate
        self.clock_of = clock_of
        self.base = base

    def rtp(self, t):
        return (self.base + round(t * self.rate)) & 0xFFFF_FFFF

    def frame(self, t, transit=0.1):
        return self.timeline.place(self.rtp(t), at(t + transit))

    def report(self, t, transit=0.01):
        self.timeline.sender_report(report(self.rtp(t), at(self.clock_of(t))), at(t + transit))


def play(tracks, begin, end, transit=lambda t: 0.1, report_every=5.0):
    """Frames of all tracks with sender reports; answers (track, true time, placed)."""
    placed = []
    for index in range(round(begin * 25), round(end * 25)):
        t = index / 25
        for track in tracks:
            if index % round(report_every * 25) == 0:
                track.report(t)
            placed.append((track, t, track.frame(t, transit(t))))
    return placed


def error(t, placed):
    """Seconds by which the capture time is later than true."""
    return (placed.capture_ns - at(t)) / SECOND_NS


def test_timestamps_unwrap():
    stamps = [0xFFFF_F000, 0xFFFF_FE10, 0xC20, 0x1A30]
    line = timeline()
    placed = [line.place(stamp, at(0.04 * index))[0] for index, stamp in enumerate(stamps)]
    assert placed == [0xFFFF_F000 + 3600 * index for index in range(4)]


def test_reordered_pictures_may_go_back():
    line = timeline()
    placed = [line.place(stamp, at(0.04 * index))[0] for index, stamp in enumerate((0, 10_800, 3600))]
    assert placed == [0, 10_800, 3600]
    assert line.beginnings == 0


def test_goes_on_after_a_reconnection_by_the_time_that_passed():
    line = timeline()
    line.restart(VIDEO)
    line.place(1000, at(0))
    line.place(4600, at(0.04))
    line.restart(VIDEO)
    assert line.place(4_000_000_000, at(5.04))[0] == 4600 + 5 * 90_000
    assert line.place(4_000_003_600, at(5.08))[0] == 4600 + 5 * 90_000 + 3600


def test_goes_on_in_seconds_when_the_clock_rate_changes():
    line = timeline(16_000)
    line.place(0, at(0))
    line.place(16_000, at(1))
    line.restart(8000)
    placed = line.place(77, at(3))
    assert placed.timestamp == 3 * 8000
    assert placed.capture_ns == at(3)


def test_another_clock_rate_before_the_first_frame():
    line = timeline(16_000)
    line.restart(8000)
    assert [line.place(index * 8000, at(index)).timestamp for index in range(3)] == [0, 8000, 16_000]


@pytest.mark.parametrize("jump_s", [-33_000, -60, -5, 5, 60, 20_000])
def test_a_jump_is_a_new_beginning(jump_s):
    line = timeline()
    for index in range(50):
        line.place(index * 3600, at(0.04 * index))
    base = round(jump_s * VIDEO)
    stamps = [line.place((base + index * 3600) & 0xFFFF_FFFF, at(0.04 * index)) for index in range(50, 100)]
    assert [placed.timestamp for placed in stamps] == [index * 3600 for index in range(50, 100)]
    assert line.beginnings == 1


def test_a_pause_is_no_jump():
    line = timeline()
    line.place(0, at(0))
    assert line.place(60 * VIDEO, at(60.1))[0] == 60 * VIDEO


def test_a_jammed_network_is_no_jump():
    """8 s without a packet, then what the camera kept, a leap over what it dropped, and in time again."""
    line = timeline()
    for index in range(25):
        line.place(index * 3600, at(0.04 * index))
    held = [*range(25, 50), *range(200, 226)]
    placed = [line.place(index * 3600, at(9 + 0.001 * number)) for number, index in enumerate(held)]
    assert [item.timestamp for item in placed] == [index * 3600 for index in held]
    assert line.beginnings == 0


def test_time_never_stands_still_at_a_new_beginning():
    line = timeline()
    line.place(0, at(0))
    line.restart()
    assert line.place(77, at(-3))[0] == 1


def test_without_reports_the_arrival_counts():
    line = timeline()
    line.sender_report(SenderReport(1, 0, 0, 0, 0), at(0))
    assert line.place(0, at(0)) == (0, at(0), False)
    assert line.place(3600, at(0.2)) == (3600, at(0.2), False)


def test_a_report_of_ntp_0_takes_back_those_before():
    line = timeline()
    line.sender_report(report(0, at(-0.1)), at(0))
    assert line.place(0, at(0)).camera_clock
    line.sender_report(SenderReport(1, 0, 0, 0, 0), at(0))
    assert not line.place(3600, at(0.04)).camera_clock


def test_a_right_clock_is_taken_as_it_is():
    clock = CameraClock()
    rng = random.Random(1)
    track = Track(clock)
    for _, t, placed in play([track], 0, 60, lambda t: 0.3 + rng.random() * 0.2):
        assert placed.camera_clock
        assert abs(error(t, placed)) < 1e-4
    assert clock.offset_s == pytest.approx(-0.3, abs=0.01)
    assert clock.jumps == 0


def test_the_first_report_moves_the_capture_time_without_going_back():
    track = Track(CameraClock())
    before = [track.frame(index / 25, 0.4) for index in range(50)]
    assert all(placed.capture_ns - at(index / 25 + 0.4) == 0 for index, placed in enumerate(before))
    captures = [placed.capture_ns for _, _, placed in play([track], 2, 4, lambda _: 0.4, report_every=1.0)]
    steps = [b - a for a, b in zip([before[-1].capture_ns, *captures], captures, strict=False)]
    assert min(steps) >= 0.019 * SECOND_NS
    assert abs(captures[-1] - at(4 - 0.04)) < 1e6


@pytest.mark.parametrize("wrong_s", [-HOUR * 24 * 365 * 50, -90.0, -3.0, 2.0, 90.0, HOUR])
def test_a_wrong_clock_is_moved_for_both_tracks_alike(wrong_s):
    clock = CameraClock()
    video = Track(clock, clock_of=lambda t: t + wrong_s)
    audio = Track(clock, AUDIO, clock_of=lambda t: t + wrong_s)
    rng = random.Random(2)
    offsets = {video: 0.25, audio: 0.05}
    for index in range(25 * 30):
        t = index / 25
        for track in (video, audio):
            if index % 125 == 0:
                track.report(t)
            placed = track.frame(t, offsets[track] + rng.random() * 0.05)
            if t > 5:
                # Captured together is told together, and not after it arrived.
                assert error(t, placed) == pytest.approx(0.05, abs=0.01)
                assert placed.camera_clock
    assert clock.offset_s == pytest.approx(wrong_s - 0.05, abs=0.01)


@pytest.mark.parametrize("jump_s", [-HOUR, -1.0, 1.0, HOUR])
@pytest.mark.parametrize("begin_s", [0.0, 5 * HOUR])
def test_a_jump_of_the_clock_is_counted_once_and_bounded(jump_s, begin_s):
    clock = CameraClock()

    def wall(t):
        return t + begin_s + (jump_s if t >= 31 else 0)

    video, audio = Track(clock, clock_of=wall), Track(clock, AUDIO, clock_of=wall)
    last = {}
    for track, t, placed in play([video, audio], 0, 90):
        assert abs(error(t, placed)) < 2.2
        if track in last:
            assert 0.019 * SECOND_NS <= placed.capture_ns - last[track] <= 0.081 * SECOND_NS
        last[track] = placed.capture_ns
    assert clock.jumps == 1
    assert abs(last[video] - last[audio]) < 1e6


def test_a_clock_that_ntp_sets_right_is_believed():
    clock = CameraClock()
    track = Track(clock, clock_of=lambda t: t if t >= 30 else t - HOUR)
    placed = play([track], 0, 60, lambda _: 0.3)
    assert error(*placed[25 * 29][1:]) == pytest.approx(0.3, abs=0.001)
    assert error(*placed[-1][1:]) == pytest.approx(0, abs=0.001)
    assert clock.jumps == 1


def test_reports_about_another_stream_are_not_believed():
    track = Track(CameraClock())
    track.frame(0)
    track.timeline.sender_report(report(track.rtp(20), at(0.04)), at(0.05))
    assert not track.frame(0.04).camera_clock


def test_a_report_long_before_the_first_frame_counts():
    """Video begins with a keyframe; the report came with the pictures before it."""
    track = Track(CameraClock())
    track.report(0)
    assert track.frame(25, 0.2) == (track.rtp(25), pytest.approx(at(25), abs=2e4), True)


def test_tracks_whose_reports_disagree_stay_in_step():
    clock = CameraClock()
    video = Track(clock)
    audio = Track(clock, AUDIO, clock_of=lambda t: t - HOUR)
    for _, t, placed in play([video, audio], 0, 20, lambda _: 0.2):
        assert abs(error(t, placed)) < 0.4
    assert clock.offset_s == pytest.approx(-0.2, abs=0.01)


def test_a_report_that_is_nonsense_each_time_moves_nothing():
    clock = CameraClock()
    rng = random.Random(3)
    track = Track(clock, clock_of=lambda t: rng.uniform(-1e9, 1e9))
    for _, t, placed in play([track], 0, 60):
        assert abs(error(t, placed)) < 0.5
    assert clock.jumps == 11


def test_a_unit_that_was_held_up_keeps_its_time():
    track = Track(CameraClock())
    track.report(0)
    track.frame(0, 0.1)
    assert error(0.04, track.frame(0.04, 5)) == pytest.approx(0, abs=1e-4)
    # Longer than any network holds data: the arrival is surer.
    assert not track.frame(0.08, 11).camera_clock


def test_our_own_clock_is_followed():
    """Set by an hour: what the camera says is an hour off from then on."""
    for step_s in (HOUR, -HOUR):
        line = Track(CameraClock())
        play([line], 0, 10)
        placed = [line.timeline.place(line.rtp(t / 25), at(t / 25 + step_s + 0.1)) for t in range(250, 1500)]
        assert all(abs(item.capture_ns - at(t / 25 + 10 + step_s)) < 1e9 for t, item in enumerate(placed))


def test_sender_reports_of_the_old_source_are_forgotten():
    line = timeline()
    line.sender_report(report(0, at(-1)), at(-1))
    line.place(0, at(0))
    line.restart()
    assert line.place(3600, at(0.04))[1:] == (at(0.04), False)


def test_a_new_connection_is_a_new_clock():
    clock = CameraClock()
    track = Track(clock, clock_of=lambda t: t + HOUR)
    play([track], 0, 10)
    clock.restart()
    assert clock.offset_s is None
    track.timeline.restart(VIDEO)
    track.clock_of = lambda t: t
    assert abs(error(*play([track], 12, 16)[-1][1:])) < 1e-4
    assert clock.jumps == 0


FRAME = st.tuples(
    st.integers(0, 2**32 - 1) | st.integers(-3600, 7200),
    st.integers(0, 3 * SECOND_NS),
    st.none() | st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)),
)


@given(st.lists(FRAME, max_size=60))
def test_capture_goes_with_the_timeline_whatever_the_camera_says(frames):
    line = timeline()
    rtp = arrival_ns = 0
    highest = None
    for step, passed_ns, said in frames:
        rtp = (rtp + step) & 0xFFFF_FFFF
        arrival_ns += passed_ns
        if said is not None:
            line.sender_report(SenderReport(1, said[0], said[1], 0, 0), NOW + arrival_ns)
        placed = line.place(rtp, NOW + arrival_ns)
        if highest is not None and placed.timestamp >= highest[0]:
            assert placed.capture_ns >= highest[1]
        if highest is None or placed.timestamp >= highest[0]:
            highest = (placed.timestamp, placed.capture_ns)
        assert -21 * SECOND_NS <= placed.capture_ns - NOW - arrival_ns <= 21 * SECOND_NS
