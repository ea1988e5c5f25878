"""The session table: owners, grace, and what workers state."""

import dataclasses

import pytest

from common.messages import ANYBODY, SessionChanged, SessionEntry, Watcher
from signaling.access.principal import Principal
from signaling.sessions import ORPHAN_GRACE_S, Session, SessionTable, may_handle

ENDED: list[tuple[str, str]] = []


class Listener:
    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []
        self.changes: list[SessionChanged] = []
        self.moves: list[str] = []

    def session_changed(self, change: SessionChanged) -> None:
        self.changes.append(change)

    def session_moves(self, session: str) -> None:
        self.moves.append(session)

    def session_ended(self, session: str, reason: str, final: bool) -> None:
        self.ended.append((session, f"{reason}!" if final else reason))


def table_with(owner: Listener | None, *sessions: str) -> SessionTable:
    ENDED.clear()
    table = SessionTable(lambda session, reason: ENDED.append((session.id, reason)))
    for session in sessions:
        table.add(Session(session, "front", "w0", ANYBODY), owner)
    return table


def test_the_owner_hears_of_the_end_once() -> None:
    owner = Listener()
    table = table_with(owner, "s1")
    assert table.owner("s1") is owner
    assert table.end("s1", "over", final=True) == Session("s1", "front", "w0", ANYBODY)
    assert table.end("s1", "over") is None
    assert owner.ended == [("s1", "over!")]
    assert ENDED == [("s1", "over")]
    assert table.owner("s1") is None
    assert table.count_by_camera() == {}


def test_what_is_given_is_told_and_kept() -> None:
    owner = Listener()
    table = table_with(owner, "s1")
    change = SessionChanged("s1", "keyframes", "asked for")
    table.changed(change)
    assert owner.changes == [change]
    table.release(owner, now_s=0.0)
    later = SessionChanged("s1", "main", "asked for")
    table.changed(later)
    assert owner.changes == [change]
    kept = table.get("s1")
    assert kept is not None
    assert kept.change == later


def test_a_worker_takes_only_its_own_sessions() -> None:
    table = table_with(None, "s1")
    table.add(Session("s2", "front", "w1", ANYBODY), None)
    table.end_of_worker("w0", "dead")
    assert table.count_by_camera() == {"front": 1}
    assert table.get("s2") is not None


def test_a_lost_socket_leaves_its_sessions_for_the_grace() -> None:
    owner = Listener()
    table = table_with(owner, "s1", "s2")
    table.add(Session("whep", "front", "w0", ANYBODY), None)
    assert [session.id for session in table.owned(owner)] == ["s1", "s2"]
    table.release(owner, now_s=100.0)
    assert table.owned(owner) == []
    assert table.orphans(100.0 + ORPHAN_GRACE_S - 0.1) == []
    other = Listener()
    table.attach("s1", other)
    assert [session.id for session in table.orphans(100.0 + ORPHAN_GRACE_S)] == ["s2"]
    table.end("s1", "over")
    assert (owner.ended, other.ended) == ([], [("s1", "over")])


def test_what_the_worker_states_holds() -> None:
    owner = Listener()
    table = table_with(owner, "s1", "s2")
    anna = dataclasses.replace(ANYBODY, name="anna")
    table.restate("w0", [SessionEntry("s2", "front"), SessionEntry("s3", "yard", anna)], "forgotten")
    assert owner.ended == ENDED == [("s1", "forgotten")]
    assert table.get("s3") == Session("s3", "yard", "w0", anna)
    assert [session.id for session in table.all()] == ["s2", "s3"]
    assert table.count_by_camera() == {"front": 1, "yard": 1}


ANNA = Watcher("anna", "user", "viewer", ("front",), "login-1", None, "192.0.2.1")


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({}, True),
        ({"name": "bert"}, False),
        ({"kind": "token"}, False),
        ({"credential": "login-2"}, False),
        ({"cameras": ("yard",)}, False),
        ({"name": "olga", "credential": "x", "role": "operator", "cameras": ("*",)}, True),
        ({"name": "olga", "credential": "x", "role": "operator", "cameras": ("yard",)}, False),
        ({"name": "root", "credential": "x", "role": "admin", "cameras": ()}, True),
    ],
)
def test_whose_a_session_is(changes: dict[str, object], may: bool) -> None:
    session = Session("0123456789", "front", "fanout-0", ANNA)
    anna = Principal("anna", "user", "viewer", ("front",), "login-1")
    assert may_handle(dataclasses.replace(anna, **changes), session) == may  # type: ignore[arg-type]


def test_logs_have_only_the_beginning_of_the_id() -> None:
    session = Session("0123456789", "front", "fanout-0", ANNA)
    assert session.about == {
        "session": "012345…",
        "camera": "front",
        "worker": "fanout-0",
        "user": "anna",
        "address": "192.0.2.1",
    }
