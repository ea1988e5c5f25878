"""The cached GOP."""

from dataclasses import replace

from ingest import gop
from ingest.gop import GopCache

from .units import access_unit


def sequences(cache):
    return [unit.sequence for unit in cache.units()]


def filled(*units):
    cache = GopCache()
    for unit in units:
        cache.add(unit)
    return cache


def test_begins_at_the_last_keyframe():
    assert sequences(filled(access_unit(0), access_unit(1))) == []
    assert sequences(filled(access_unit(0, True), access_unit(1), access_unit(2, True), access_unit(3))) == [
        2,
        3,
    ]


def test_a_gap_ends_it():
    units = [access_unit(0, True), access_unit(1), access_unit(3), access_unit(4)]
    assert sequences(filled(*units)) == []
    assert sequences(filled(*units, access_unit(5, True))) == [5]


def test_bounds(monkeypatch):
    units = [access_unit(0, True), access_unit(1), access_unit(2), access_unit(3)]
    monkeypatch.setattr(gop, "MAX_BYTES", 30)
    assert sequences(filled(*units[:3])) == [0, 1, 2]
    assert sequences(filled(*units)) == []
    monkeypatch.undo()
    monkeypatch.setattr(gop, "MAX_ACCESS_UNITS", 2)
    cache = filled(*units)
    assert sequences(cache) == []
    cache.add(access_unit(4, True))
    assert sequences(cache) == [4]


def test_sound_is_not_kept():
    sound = replace(access_unit(7, True), track="audio")
    assert sequences(filled(access_unit(0, True), sound, access_unit(1))) == [0, 1]
