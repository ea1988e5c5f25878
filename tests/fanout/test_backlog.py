"""A backlog: portions by a token bucket, each packet once and in order, and an end to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout import backlog as backlog_module
from fanout.backlog import BURST_PACKETS, MAX_AGE_S, PORTION_PACKETS, Backlog
from fanout.packetizing.packetized import PacketizedUnit, Runs
from tests.fanout.units import packetized_unit


class Way:
    """Takes what a backlog emits until it is full."""

    def __init__(self) -> None:
        self.full = False
        self.portions: list[tuple[int, int]] = []
        "First packet number, packets."
        self.ends: list[tuple[int, int]] = []
        "Timestamp of each unit that was ended, and the number of its last packet."

    def emit(self, unit: PacketizedUnit, runs: Runs, timestamp: int, ends: bool, number: int) -> bool:
        if self.full:
            return False
        payloads = [payload for run in runs for payload in run]
        # packetized_unit writes each packet's number into it.
        assert [int.from_bytes(payload, "big") for payload in payloads] == [
            number + position for position in range(len(payloads))
        ]
        self.portions.append((number, len(payloads)))
        if ends:
            self.ends.append((timestamp, number + len(payloads) - 1))
        return True

    @property
    def packets(self) -> int:
        return sum(count for _, count in self.portions)


def units_of(*sizes: int) -> list[PacketizedUnit]:
    """Units of so many packets each."""
    units, number = [], 0
    for position, packets in enumerate(sizes):
        units.append(packetized_unit(number, position * 3600, packets=packets))
        number += packets
    return units


def filled(way: Way, *sizes: int) -> Backlog:
    backlog = Backlog()
    for position, unit in enumerate(units_of(*sizes)):
        assert backlog.add(unit, 1000 + position)
    return backlog


def test_a_burst_then_portions_at_the_rate() -> None:
    way = Way()
    backlog = filled(way, 100)
    assert backlog.pump(50.0, 1000, way.emit) and way.packets == BURST_PACKETS
    assert backlog.pump(50.0, 1000, way.emit) and way.packets == BURST_PACKETS
    due = backlog.due(50.0, 1000)
    assert due == pytest.approx(50.0 + PORTION_PACKETS / 1000)
    assert backlog.pump(due, 1000, way.emit) and way.packets == BURST_PACKETS + PORTION_PACKETS
    # However long nobody came, no more than a burst at once.
    assert backlog.pump(due + 60, 1000, way.emit) and way.packets == 2 * BURST_PACKETS + PORTION_PACKETS
    assert way.ends == [] and len(backlog) == 1


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=8),
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(5, 50_000)), max_size=60),
)
def test_each_packet_once_in_order_and_never_faster(
    sizes: list[int], pumps: list[tuple[float, float]]
) -> None:
    way = Way()
    backlog = filled(way, *sizes)
    now, allowed = 100.0, float(BURST_PACKETS)
    for elapsed_s, rate in pumps:
        now += elapsed_s
        allowed += elapsed_s * rate
        assert backlog.pump(now, rate, way.emit)
        assert way.packets <= allowed + 1
        if backlog:
            assert backlog.due(now, rate) > now
    while backlog:
        now += 1
        assert backlog.pump(now, 100, way.emit)
    numbers = [number + n for number, count in way.portions for n in range(count)]
    assert numbers == list(range(sum(sizes)))
    lasts = [sum(sizes[: n + 1]) - 1 for n in range(len(sizes))]
    assert way.ends == [(1000 + n, last) for n, last in enumerate(lasts)]


def test_a_whole_run_is_handed_on_as_it_is() -> None:
    handed: list[Runs] = []

    def emit(unit: PacketizedUnit, runs: Runs, timestamp: int, ends: bool, number: int) -> bool:
        handed.append(runs)
        return True

    backlog = Backlog()
    (unit,) = units_of(30)
    backlog.add(unit, 0)
    backlog.pump(1.0, 1000, emit)
    assert [len(runs) for runs in handed] == [1, 1]
    assert all(given[0] is run for given, run in zip(handed, unit.runs, strict=True))


def test_a_way_that_is_full_is_told_of() -> None:
    way = Way()
    backlog = filled(way, 10, 10)
    way.full = True
    assert not backlog.pump(1.0, 1000, way.emit)
    backlog.clear()
    assert not backlog and backlog.pump(2.0, 1000, way.emit) and way.portions == []


def test_what_was_begun_is_given_up_whole() -> None:
    way = Way()
    backlog = filled(way, 100)
    backlog.pump(1.0, 1000, way.emit)
    backlog.clear()
    (unit,) = units_of(5)
    backlog.add(unit, 0)
    backlog.pump(2.0, 1000, way.emit)
    assert way.portions[-1] == (0, 5) and way.ends == [(0, 4)]


def test_it_holds_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "MAX_OCTETS", 100)
    way = Way()
    backlog = filled(way, 20)  # of 4 octets each
    more = units_of(10)[0]
    assert not backlog.add(more, 0) and len(backlog) == 1
    backlog.pump(1.0, 1000, way.emit)
    assert backlog.add(more, 0)


def test_it_is_late_once_something_was_left_for_too_long() -> None:
    way = Way()
    backlog = filled(way, 100)
    assert not backlog.is_late(10.0)
    assert not backlog.is_late(10.0 + MAX_AGE_S)
    assert backlog.is_late(10.1 + MAX_AGE_S)
    backlog.clear()
    # Anew from the next look on.
    for begins_s in (100.0, 200.0):
        for unit in units_of(10):
            backlog.add(unit, 0)
        assert not backlog.is_late(begins_s)
        backlog.pump(begins_s, 1000, way.emit)
        assert not backlog
