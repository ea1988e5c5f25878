"""The table of states."""

from ingest.rtsp.states import TRANSITIONS, State


def test_every_state_leads_to_the_end():
    assert set(TRANSITIONS) == set(State)
    assert all(State.CLOSED in after for state, after in TRANSITIONS.items() if state is not State.CLOSED)


def test_nothing_follows_the_end():
    assert TRANSITIONS[State.CLOSED] == frozenset()
