"""One timeline over everything that a camera does to its timestamps."""

from common.rtp import SenderReport
from common.units import unix_ns_to_ntp
from ingest.timeline import SECOND_NS, Timeline

NOW = 1_800_000_000 * SECOND_NS


def at(seconds):
    return NOW + round(seconds * SECOND_NS)


def test_timestamps_unwrap():
    timeline = Timeline()
    stamps = [0xFFFF_F000, 0xFFFF_FE10, 0xC20, 0x1A30]
    placed = [timeline.place(stamp, at(0.04 * index))[0] for index, stamp in enumerate(stamps)]
    assert placed == [0xFFFF_F000 + 3600 * index for index in range(4)]


def test_reordered_pictures_may_go_back():
    timeline = Timeline()
    placed = [timeline.place(stamp, at(0.04 * index))[0] for index, stamp in enumerate((0, 10_800, 3600))]
    assert placed == [0, 10_800, 3600]


def test_goes_on_after_a_reconnection_by_the_time_that_passed():
    timeline = Timeline()
    timeline.place(1000, at(0))
    timeline.restart()
    assert timeline.place(4_000_000_000, at(5))[0] == 1000 + 5 * 90_000
    assert timeline.place(4_000_003_600, at(5.04))[0] == 1000 + 5 * 90_000 + 3600


def test_a_jump_is_a_new_beginning():
    timeline = Timeline()
    timeline.place(0, at(0))
    assert timeline.place(3_000_000_000, at(0.04))[0] == 3600
    assert timeline.place(3_000_003_600, at(0.08))[0] == 7200
    # A pause of the camera is no jump.
    assert timeline.place(3_000_003_600 + 60 * 90_000, at(60.08))[0] == 7200 + 60 * 90_000


def test_time_never_stands_still_at_a_new_beginning():
    timeline = Timeline()
    timeline.place(0, at(0))
    timeline.restart()
    assert timeline.place(77, at(-3))[0] == 1


def report(rtp, unix_ns):
    return SenderReport(1, unix_ns_to_ntp(unix_ns), rtp, 0, 0)


def test_capture_time_by_sender_report():
    timeline = Timeline()
    assert timeline.place(0, at(0))[1] == at(0)
    timeline.sender_report(report(0xFFFF_FFFF - 89_999, at(9.8)))
    assert abs(timeline.place(900, at(11))[1] - at(10.81)) < 1000
    assert abs(timeline.place(0xFFFF_FFFF - 89_999 - 9000, at(11.04))[1] - at(9.7)) < 1000


def test_a_wrong_clock_of_the_camera_is_not_believed():
    timeline = Timeline()
    for wrong in (at(-11), at(11), 0):
        timeline.sender_report(report(0, wrong))
        assert timeline.place(0, at(0))[1] == at(0)
    timeline.sender_report(SenderReport(1, 0, 0, 0, 0))
    assert timeline.place(0, at(0))[1] == at(0)


def test_sender_reports_of_the_old_source_are_forgotten():
    timeline = Timeline()
    timeline.sender_report(report(0, at(-1)))
    timeline.restart()
    assert timeline.place(0, at(0))[1] == at(0)
