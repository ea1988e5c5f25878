"""The least loaded live worker gets the next viewer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.routing import FULL_CPU, Load, choose, has_room


@pytest.mark.parametrize(
    ("loads", "chosen"),
    [
        ([], None),
        ([Load("a", 0.9, 0)], None),
        ([Load("a", 0.0, 0), Load("b", 0.0, 0)], "a"),
        ([Load("a", 0.0, 1), Load("b", 0.0, 0)], "b"),
        # Within ten percent the viewers count, beyond it the CPU does.
        ([Load("a", 0.09, 0), Load("b", 0.01, 1)], "a"),
        ([Load("a", 0.31, 0), Load("b", 0.05, 9)], "b"),
        ([Load("a", 0.05, 1), Load("b", 0.01, 1)], "b"),
        ([Load("a", 0.95, 0), Load("b", 0.89, 50)], "b"),
    ],
)
def test_choice(loads: list[Load], chosen: str | None) -> None:
    assert choose(loads) == chosen


def test_those_that_failed_are_left_out() -> None:
    loads = [Load("a", 0.0, 0), Load("b", 0.5, 9)]
    assert choose(loads, without={"a"}) == "b"
    assert choose(loads, without={"a", "b"}) is None


@given(st.lists(st.builds(Load, st.text(), st.floats(0, 2), st.integers(0, 500)), max_size=8))
def test_the_chosen_one_has_room(loads: list[Load]) -> None:
    chosen = choose(loads)
    assert (chosen is None) == (not any(has_room(load) for load in loads))
    assert chosen is None or any(load.worker == chosen and load.cpu < FULL_CPU for load in loads)
