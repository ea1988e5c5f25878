"""Rates of the stream."""

import pytest

from ingest.statistics import Statistics, StreamFigures

from .units import access_unit


def test_nothing_known_yet():
    assert Statistics().figures(5.0) == StreamFigures(None, None, None, None)


@pytest.mark.parametrize("seconds", [1, 4, 30])
def test_rates_are_right_from_the_first_second(seconds):
    statistics = Statistics()
    for index in range(seconds * 25 + 1):
        statistics.access_unit(access_unit(index, index % 50 == 0, size=20_000), 100 + index / 25)
    figures = statistics.figures(100.0 + seconds)
    assert figures.fps == pytest.approx(25, rel=0.01)
    assert figures.bitrate == pytest.approx(4_000_000, rel=0.01)
    assert figures.gop_s == (2.0 if seconds > 1 else None)
    assert figures.last_access_unit_age_s == pytest.approx(0)


def test_rates_fall_when_the_camera_falls_silent():
    statistics = Statistics()
    for index in range(250):
        statistics.access_unit(access_unit(index), index / 25)
    assert statistics.figures(12.0).fps == pytest.approx(15, rel=0.05)
    figures = statistics.figures(20.0)
    assert (figures.fps, figures.bitrate) == (0, 0)
    assert figures.last_access_unit_age_s == pytest.approx(10.04)


def test_restart_forgets_rates_and_keeps_the_age():
    statistics = Statistics()
    statistics.access_unit(access_unit(0, True), 1.0)
    statistics.access_unit(access_unit(1, True), 1.1)
    statistics.restart()
    assert statistics.figures(2.1) == StreamFigures(None, None, None, pytest.approx(1.0))
