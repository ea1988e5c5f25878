"""Figures of a track as it arrives."""

import random

import pytest

from ingest.statistics import Drift, Statistics, StreamFigures

from .units import access_unit


def shown(statistics, seconds, fps=25, gop=50, size=20_000, begin=0, at=100.0):
    """Pictures at a steady rate; answers the index after the last."""
    for index in range(begin, begin + round(seconds * fps) + 1):
        unit = access_unit(index, index % gop == 0, size, index * 90_000 // fps)
        statistics.access_unit(unit, at + index / fps)
    return begin + round(seconds * fps) + 1


def test_nothing_known_yet():
    assert Statistics().figures(5.0) == StreamFigures()


@pytest.mark.parametrize("seconds", [1, 4, 30])
def test_rates_are_right_from_the_first_second(seconds):
    statistics = Statistics()
    shown(statistics, seconds)
    figures = statistics.figures(100.0 + seconds)
    assert figures.fps == pytest.approx(25, rel=0.01)
    assert figures.bitrate == pytest.approx(4_000_000, rel=0.01)
    assert figures.gop_s == (2.0 if seconds > 1 else None)
    assert figures.gop_frames == (50 if seconds > 1 else None)
    assert figures.last_access_unit_age_s == pytest.approx(0)


def test_rates_fall_when_the_camera_falls_silent():
    statistics = Statistics()
    shown(statistics, 10 - 1 / 25)
    assert statistics.figures(112.0).fps == pytest.approx(15, rel=0.05)
    figures = statistics.figures(120.0)
    assert (figures.fps, figures.bitrate) == (0, 0)
    assert figures.last_access_unit_age_s == pytest.approx(10.04)


def test_few_frames_are_counted_for_longer():
    statistics = Statistics()
    for index in range(40):
        statistics.access_unit(access_unit(index, True, timestamp=index * 4 * 90_000), 4.0 * index)
        if index > 6:
            assert statistics.figures(4.0 * index + 3.9).fps == pytest.approx(0.25)
    assert statistics.frame_interval_s == 4


def test_more_frames_than_are_kept():
    statistics = Statistics()
    for index in range(20_000):
        statistics.access_unit(access_unit(index, size=10), index / 4000)
    figures = statistics.figures(5.0)
    assert figures.fps == 300
    assert figures.bitrate == 300 * 80


def test_peak_is_the_busiest_second_of_the_last_minute():
    statistics = Statistics()
    for second in range(100):
        for part in range(10):
            size = 50_000 if second == 30 else 1000
            statistics.access_unit(access_unit(second * 10 + part, size=size), second + part / 10)
        peak = statistics.figures(second + 0.95).peak_bitrate
        if second in (31, 89):
            assert peak == 8 * 500_000
    assert peak == 8 * 10_000
    assert statistics.figures(1000).peak_bitrate is None


def test_a_gop_with_pictures_missing():
    statistics = Statistics()
    for index in (0, 1, 2, 4, 5):
        statistics.access_unit(access_unit(index, index == 0), index / 25)
    statistics.access_unit(access_unit(6, True), 6 / 25)
    figures = statistics.figures(1)
    # Better than nothing; the number of frames is not known.
    assert (figures.gop_s, figures.gop_frames) == (0.24, None)
    for index in range(7, 10):
        statistics.access_unit(access_unit(index, index == 9), index / 25)
    assert (statistics.figures(1).gop_s, statistics.figures(1).gop_frames) == (0.12, 3)
    for index in (11, 12, 13):
        statistics.access_unit(access_unit(index, index == 13), index / 25)
    assert statistics.figures(1).gop_s == 0.12


@pytest.mark.parametrize(
    ("gops", "varies"),
    [
        ([50] * 8, False),
        ([50, 50, 12, 50, 50], False),
        ([50, 50, 100, 50, 50], False),
        ([50, 250], False),
        ([50, 200, 250, 50, 100], True),
        ([250, 50, 90, 60, 240, 50, 50, 50], True),
    ],
)
def test_a_gop_that_varies(gops, varies):
    statistics = Statistics()
    index = 0
    for length in [*gops, 1]:
        for number in range(length):
            statistics.access_unit(access_unit(index, number == 0), index / 25)
            index += 1
    assert statistics.figures(index / 25).gop_varies is varies
    assert statistics.longest_gop_s == max(gops) / 25


@pytest.mark.parametrize(
    ("order", "b_frames"),
    [((0, 1, 2, 3), False), ((0, 2, 1, 3), True), ((0, 3, 1, 2), True), ((0, 4, 2, 1, 3), True)],
)
def test_b_frames_are_seen_by_the_order(order, b_frames):
    statistics = Statistics()
    assert statistics.figures(0).b_frames is None
    for index in range(200):
        group, place = divmod(index, len(order))
        timestamp = (group * len(order) + order[place]) * 3600
        statistics.access_unit(access_unit(index, timestamp=timestamp), index / 25)
        if index == 4:
            assert statistics.figures(1).b_frames is None
    assert statistics.figures(8).b_frames is b_frames


def test_a_timestamp_that_trembles_is_no_b_frame():
    statistics = Statistics()
    for index in range(300):
        stamp = index * 3600 - (4000 if index % 100 == 50 else 0)
        statistics.access_unit(access_unit(index, timestamp=stamp), index / 25)
    assert statistics.figures(12).b_frames is False


def test_b_frames_that_were_switched_off():
    statistics = Statistics()
    for index in range(400):
        swapped = index < 200 and index % 2
        statistics.access_unit(access_unit(index, timestamp=(index - 2 * swapped) * 3600), index / 25)
    assert statistics.figures(16).b_frames is False


def test_restart_forgets_rates_and_keeps_what_patience_needs():
    statistics = Statistics()
    shown(statistics, 4)
    statistics.restart()
    assert statistics.figures(106.0) == StreamFigures(last_access_unit_age_s=pytest.approx(2.0))
    assert statistics.longest_gop_s == 2
    assert statistics.frame_interval_s == pytest.approx(0.04)
    shown(statistics, 4, fps=10, gop=15, begin=4000)
    figures = statistics.figures(504.0)
    assert (figures.fps, figures.gop_s) == (pytest.approx(10), 1.5)
    assert statistics.longest_gop_s == 1.5


def test_what_lies_across_a_jump_is_not_measured():
    statistics = Statistics()
    begin = shown(statistics, 5)
    statistics.jumped()
    hours = 6 * 3600 * 25
    for index in range(begin, begin + 110):
        unit = access_unit(index, index % 50 == 0, 20_000, (index + hours) * 3600)
        statistics.access_unit(unit, 100.0 + index / 25)
    assert statistics.frame_interval_s == pytest.approx(0.04)
    assert statistics.longest_gop_s == 2
    figures = statistics.figures(100.0 + (begin + 109) / 25)
    assert (figures.fps, figures.gop_s, figures.gop_frames) == (pytest.approx(25, rel=0.02), 2, 50)


def test_one_interval_counts_a_minute_at_most():
    statistics = Statistics()
    begin = shown(statistics, 4)
    statistics.access_unit(access_unit(begin, timestamp=6 * 3600 * 90_000), 105.0)
    assert statistics.frame_interval_s < 0.04 + 60 / 8


@pytest.mark.parametrize("ppm", [-500, -30, 0, 30, 500])
def test_drift_by_the_smallest_transits(ppm):
    rng = random.Random(4)
    drift = Drift()
    for index in range(25 * 300):
        media_s = index / 25
        arrival_s = media_s / (1 + ppm / 1e6) + 0.1 + rng.expovariate(1 / 0.02)
        drift.add(round(media_s * 1e9), round(arrival_s * 1e9))
        if index == 25 * 100:
            assert drift.ppm is None
    assert drift.ppm == pytest.approx(ppm, abs=10)
    drift.restart()
    assert drift.ppm is None
