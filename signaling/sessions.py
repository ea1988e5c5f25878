"""The viewers' sessions: which worker serves which, and who is told when one ends. [P]

A session belongs to its worker; this table only remembers. It is filled by answers, and after a restart of
signaling by what the workers say in their hello.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from common.messages import SessionChanged, SessionEntry, Watcher
from signaling.access.principal import Principal

SHOWN_OF_ID = 6
"Characters of a session's id in logs, events and the API."
ORPHAN_GRACE_S = 10.0
"How long a session outlives its WebSocket, so that a viewer whose socket breaks keeps the picture."


@dataclass(frozen=True, slots=True)
class Session:
    """One viewer of one camera."""

    id: str
    "Unguessable: whoever knows it may end the session."
    camera: str
    worker: str
    watcher: Watcher
    "Whose it is."
    opened_s: float | None = None
    "Monotonic; None when signaling has been restarted since."
    entity_tag: str | None = None
    "Names the ICE session; None when signaling has been restarted since."
    viewer_ufrag: str | None = None
    "The offer's ice-ufrag; None when signaling has been restarted since."
    change: SessionChanged | None = None
    "What its worker said last of what the viewer is given."

    @property
    def label(self) -> str:
        """As logs and events name it."""
        return f"{self.id[:SHOWN_OF_ID]}…"

    @property
    def about(self) -> dict[str, str]:
        """What a line of the log about it is about."""
        return {
            "session": self.label,
            "camera": self.camera,
            "worker": self.worker,
            "user": self.watcher.name,
            "address": self.watcher.address,
        }


def may_handle(principal: Principal, session: Session) -> bool:
    """True for whoever opened the session, by the same login, and for operators."""
    watcher = session.watcher
    own = (principal.kind, principal.name, principal.credential) == (
        watcher.kind,
        watcher.name,
        watcher.credential,
    )
    return principal.may_see(session.camera) and (own or principal.may("operator"))


class Owner(Protocol):
    """Who wants to hear of a session: a WebSocket."""

    def session_changed(self, change: SessionChanged) -> None:
        """The viewer is given something else now."""
        ...

    def session_moves(self, session: str) -> None:
        """The viewer shall open another session in place of this one, which plays until then."""
        ...

    def session_ended(self, session: str, reason: str, final: bool) -> None:
        """Called once, after the session has left the table; `final`: another attempt would be in vain."""
        ...


class SessionTable:
    """All sessions by id; `on_end(session, reason)` is called for each that leaves the table."""

    def __init__(self, on_end: Callable[[Session, str], None]) -> None:
        self._on_end = on_end
        self._sessions: dict[str, Session] = {}
        self._owners: dict[str, Owner] = {}
        self._orphans: dict[str, float] = {}

    def add(self, session: Session, owner: Owner | None) -> None:
        """Keeps a session that a worker has accepted."""
        self._sessions[session.id] = session
        if owner is not None:
            self._owners[session.id] = owner

    def get(self, session: str) -> Session | None:
        """The session of that id."""
        return self._sessions.get(session)

    def owner(self, session: str) -> Owner | None:
        """Who wants to hear of it; None for WHEP, and while its viewer's socket is away."""
        return self._owners.get(session)

    def owned(self, owner: Owner) -> list[Session]:
        """The sessions of one owner."""
        return [self._sessions[key] for key, value in self._owners.items() if value is owner]

    def attach(self, session: str, owner: Owner) -> None:
        """Gives a session to another socket; `session` must be known."""
        self._owners[session] = owner
        self._orphans.pop(session, None)

    def changed(self, change: SessionChanged) -> None:
        """Keeps what a viewer is given and tells the owner; the session must be known."""
        self._sessions[change.session] = dataclasses.replace(self._sessions[change.session], change=change)
        owner = self._owners.get(change.session)
        if owner is not None:
            owner.session_changed(change)

    def release(self, owner: Owner, now_s: float) -> None:
        """The owner's socket is gone: its sessions live on for the grace."""
        for session in [key for key, value in self._owners.items() if value is owner]:
            del self._owners[session]
            self._orphans[session] = now_s + ORPHAN_GRACE_S

    def orphans(self, now_s: float) -> list[Session]:
        """The sessions whose grace is over."""
        return [self._sessions[key] for key, end_s in self._orphans.items() if end_s <= now_s]

    def end(self, session: str, reason: str, final: bool = False) -> Session | None:
        """Forgets a session and tells its owner; None when it was not known."""
        ended = self._sessions.pop(session, None)
        self._orphans.pop(session, None)
        owner = self._owners.pop(session, None)
        if owner is not None:
            owner.session_ended(session, reason, final)
        if ended is not None:
            self._on_end(ended, reason)
        return ended

    def end_of_worker(self, worker: str, reason: str) -> None:
        """Ends every session of a worker that is no more."""
        for session in self.of_worker(worker):
            self.end(session.id, reason)

    def restate(self, worker: str, entries: Iterable[SessionEntry], reason: str) -> None:
        """Makes the table say of `worker` what the worker says itself."""
        stated = {entry.session: entry for entry in entries}
        for session in self.of_worker(worker):
            if session.id not in stated:
                self.end(session.id, reason)
        for entry in stated.values():
            if entry.session not in self._sessions:
                self._sessions[entry.session] = Session(entry.session, entry.camera, worker, entry.watcher)

    def all(self) -> list[Session]:
        """Every session."""
        return list(self._sessions.values())

    def of_worker(self, worker: str) -> list[Session]:
        """The sessions that a worker serves."""
        return [session for session in self._sessions.values() if session.worker == worker]

    def count_by_camera(self) -> Counter[str]:
        """Viewers of each camera."""
        return Counter(session.camera for session in self._sessions.values())

    def count_by_worker(self) -> Counter[str]:
        """Viewers of each worker."""
        return Counter(session.worker for session in self._sessions.values())
