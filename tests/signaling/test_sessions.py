"""The session table: owners, grace, and what workers state."""

from common.messages import SessionChanged, SessionEntry
from signaling.sessions import ORPHAN_GRACE_S, Session, SessionTable


class Listener:
    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []
        self.changes: list[SessionChanged] = []

    def session_changed(self, change: SessionChanged) -> None:
        self.changes.append(change)

    def session_ended(self, session: str, reason: str) -> None:
        self.ended.append((session, reason))


def table_with(owner: Listener | None, *sessions: str) -> SessionTable:
    table = SessionTable()
    for session in sessions:
        table.add(Session(session, "front", "w0"), owner)
    return table


def test_the_owner_hears_of_the_end_once() -> None:
    owner = Listener()
    table = table_with(owner, "s1")
    assert table.end("s1", "over") == Session("s1", "front", "w0")
    assert table.end("s1", "over") is None
    assert owner.ended == [("s1", "over")]
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
    table.add(Session("s2", "front", "w1"), None)
    table.end_of_worker("w0", "dead")
    assert table.count_by_camera() == {"front": 1}
    assert table.get("s2") is not None


def test_a_lost_socket_leaves_its_sessions_for_the_grace() -> None:
    owner = Listener()
    table = table_with(owner, "s1", "s2")
    table.add(Session("whep", "front", "w0"), None)
    table.release(owner, now_s=100.0)
    assert table.orphans(100.0 + ORPHAN_GRACE_S - 0.1) == []
    other = Listener()
    table.attach("s1", other)
    assert [session.id for session in table.orphans(100.0 + ORPHAN_GRACE_S)] == ["s2"]
    table.end("s1", "over")
    assert (owner.ended, other.ended) == ([], [("s1", "over")])


def test_what_the_worker_states_holds() -> None:
    owner = Listener()
    table = table_with(owner, "s1", "s2")
    table.restate("w0", [SessionEntry("s2", "front"), SessionEntry("s3", "yard")], "forgotten")
    assert owner.ended == [("s1", "forgotten")]
    assert table.get("s3") == Session("s3", "yard", "w0")
    assert table.count_by_camera() == {"front": 1, "yard": 1}
