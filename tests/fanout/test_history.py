"""The cached GOP and the packets held for retransmission."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout import history as history_module
from fanout.history import GOPS, MAX_OCTETS, MAX_UNITS, History, compressed_timestamps
from fanout.packetizing.packetized import PacketizedUnit
from tests.fanout.units import FRAME_TICKS, packetized_unit

SECOND = 90_000


def filled(count: int, keyframes: set[int], octets: int = 1000, ticks: int = FRAME_TICKS) -> History:
    history = History()
    for position in range(count):
        history.add(
            packetized_unit(history.next_number, position * ticks, position in keyframes, octets=octets)
        )
    return history


def timestamps(units: "list[PacketizedUnit] | tuple[PacketizedUnit, ...]") -> list[int]:
    return [unit.timestamp // FRAME_TICKS for unit in units]


def held(history: History) -> list[int]:
    """Numbers of the packets that are found."""
    return [number for number in range(history.next_number) if history.find(number)]


def test_a_gop_begins_at_the_last_keyframe() -> None:
    assert not History().gop()
    assert not filled(3, set()).gop()
    assert timestamps(filled(9, {1, 4, 6}).gop()) == [6, 7, 8]


def test_the_gop_before_is_held_for_retransmission() -> None:
    history = filled(400, {50, 150, 300})
    assert held(history) == list(range(150, 400))
    assert history.octets == 250 * 1000


def test_a_second_is_held_however_many_keyframes_are_in_it() -> None:
    history = filled(400, set(range(400)))
    assert held(history) == list(range(399 - SECOND // FRAME_TICKS, 400))
    assert timestamps(history.gop()) == [399]


def test_without_a_keyframe_a_second_is_held() -> None:
    assert len(held(filled(400, set()))) == SECOND // FRAME_TICKS + 1


def test_what_came_before_the_only_keyframe_is_let_go_after_a_second() -> None:
    assert held(filled(400, {100})) == list(range(100, 400))


def test_packets_of_a_unit_are_found_one_by_one() -> None:
    history = History()
    history.add(packetized_unit(0, 0, True, packets=45))
    history.add(packetized_unit(45, 1, packets=3))
    for number in range(48):
        found = history.find(number)
        assert found is not None
        unit, position = found
        assert unit.payload(position) == number.to_bytes(4, "big")
    assert history.find(48) is None and history.find(-1) is None and History().find(0) is None
    assert history.next_number == 48


def test_after_an_interruption_there_is_no_gop_until_a_keyframe_but_packets_are_found() -> None:
    history = filled(50, {0})
    history.interrupt()
    assert not history.gop() and held(history) == list(range(50))
    history.add(packetized_unit(50, 50 * FRAME_TICKS))
    assert not history.gop()
    history.add(packetized_unit(51, 51 * FRAME_TICKS, keyframe=True))
    assert timestamps(history.gop()) == [51]
    assert held(history) == list(range(52))


@pytest.mark.parametrize(
    ("count", "octets"), [(MAX_UNITS + 5, 1), (100, MAX_OCTETS // 90)], ids=["units", "octets"]
)
def test_a_gop_past_the_bounds_is_none_until_the_next_keyframe(count: int, octets: int) -> None:
    history = filled(count, {0}, octets)
    assert not history.gop()
    assert len(held(history)) == SECOND // FRAME_TICKS + 1
    history.add(packetized_unit(count, count * FRAME_TICKS, keyframe=True))
    assert timestamps(history.gop()) == [count]


def test_the_gop_before_is_let_go_whole_when_its_keyframe_is() -> None:
    history = filled(MAX_UNITS + 1, {0, 2000})
    assert held(history) == list(range(2000, MAX_UNITS + 1))
    assert len(history.gop()) == MAX_UNITS + 1 - 2000


def test_a_unit_larger_than_the_bound_is_not_held() -> None:
    history = filled(3, {0})
    history.add(packetized_unit(3, 3 * FRAME_TICKS, keyframe=True, octets=MAX_OCTETS + 1))
    assert not history.gop() and not held(history) and history.octets == 0
    history.add(packetized_unit(4, 4 * FRAME_TICKS, keyframe=True))
    assert timestamps(history.gop()) == [4]


def test_the_bound_is_used_to_the_last_octet() -> None:
    history = filled(4, {0}, octets=MAX_OCTETS // 4)
    assert history.octets == MAX_OCTETS and len(history.gop()) == 4


def test_a_joiner_keeps_its_gop_while_the_history_goes_on() -> None:
    history = filled(10, {5})
    gop = history.gop()
    for position in range(10, 400):
        history.add(packetized_unit(position, position * FRAME_TICKS, keyframe=True))
    assert timestamps(gop) == [5, 6, 7, 8, 9]


UNITS = st.tuples(
    st.integers(1, 2 * SECOND // 5), st.booleans() | st.just(False), st.integers(1, 30), st.integers(1, 40)
)
INTERRUPT = None
BOUND_OCTETS, BOUND_UNITS = 5000, 12


@given(st.lists(UNITS | st.just(INTERRUPT), max_size=60))
def test_whatever_happens(steps: list[tuple[int, bool, int, int] | None]) -> None:
    """Against all units ever added, with small bounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_module, "MAX_OCTETS", BOUND_OCTETS)
        patch.setattr(history_module, "MAX_UNITS", BOUND_UNITS)
        history = History()
        everything: list[PacketizedUnit] = []
        timestamp, joinable = 0, False
        for step in steps:
            if step is INTERRUPT:
                history.interrupt()
                joinable = False
                continue
            ticks, keyframe, packets, octets = step
            timestamp += ticks
            unit = packetized_unit(history.next_number, timestamp, keyframe, packets, octets)
            history.add(unit)
            everything.append(unit)
            joinable = joinable or keyframe
            check(history, everything, joinable)


def check(history: History, everything: list[PacketizedUnit], joinable: bool) -> None:
    found = []
    for unit in everything:
        places = [history.find(unit.number + position) for position in range(unit.packets)]
        assert places in ([None] * unit.packets, [(unit, position) for position in range(unit.packets)])
        if places[0] is not None:
            found.append(unit)
    # What is held is the newest, within the bounds, and counted once.
    assert found == everything[len(everything) - len(found) :]
    assert history.octets == sum(unit.octets for unit in found) <= BOUND_OCTETS
    assert len(found) <= BOUND_UNITS
    # All that is wanted is held, unless the bounds forbid it.
    last_keyframes = [position for position, unit in enumerate(everything) if unit.keyframe][-GOPS:]
    old = [
        position
        for position, unit in enumerate(everything)
        if unit.timestamp <= everything[-1].timestamp - SECOND
    ]
    second = old[-1] if old else 0
    for wanted in (*last_keyframes, second):
        units = everything[wanted:]
        if sum(unit.octets for unit in units) <= BOUND_OCTETS and len(units) <= BOUND_UNITS:
            assert found[-len(units) :] == units
    gop = everything[last_keyframes[-1] :] if joinable else []
    assert list(history.gop()) == (gop if gop and gop[0] in found else [])


@given(st.integers(1, MAX_UNITS), st.integers(1, 9000), st.integers(0, 1 << 40))
def test_timestamps_rise_and_end_at_the_last(count: int, span: int, last: int) -> None:
    made = compressed_timestamps([packetized_unit(0, 0)] * count, last, span)
    assert len(made) == count and made[-1] == last
    assert all(a < b for a, b in itertools.pairwise(made))
    if count <= span:
        assert last - made[0] < span


def test_no_units_have_no_timestamps() -> None:
    assert compressed_timestamps([], 0, 90) == []
