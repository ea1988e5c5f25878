"""Workers that are being emptied: their viewers are asked to move; who cannot be asked is closed later.

A page opens its session on another worker before it leaves the one that it has, so nothing is seen of it. A
WHEP player has no way to be asked: it stays for `DRAIN_WHEP_S`, then it is closed, and makes a new session by
itself. Nobody is closed while no other worker has room.
"""

from collections.abc import Callable

from signaling.events import EventLog
from signaling.sessions import Session, SessionTable
from signaling.workers import Registry

DRAIN_WHEP_S = 30.0
MOVES_AT_A_TIME = 8
"At each look, four times a second: who is on the other workers already shall not feel those who join."


class Drains:
    """Looks after the draining workers; `has_room_without(worker)` says whether others can take viewers."""

    def __init__(
        self,
        registry: Registry,
        sessions: SessionTable,
        events: EventLog,
        has_room_without: Callable[[str], bool],
    ) -> None:
        self._registry = registry
        self._sessions = sessions
        self._events = events
        self._has_room_without = has_room_without
        self._since_s: dict[str, float] = {}
        self._drained: set[str] = set()
        self._asked: set[str] = set()
        "Sessions whose viewers have been asked to move."

    def attached(self, session: str) -> None:
        """The viewer has another socket now, and may not have heard on the one before."""
        self._asked.discard(session)

    def look(self, now_s: float) -> list[Session]:
        """Asks viewers to move; gives the sessions that are to be closed now. To be called on each tick."""
        draining = {worker.identity for worker in self._registry.workers() if worker.draining}
        for worker in self._since_s.keys() - draining:
            del self._since_s[worker]
            self._drained.discard(worker)
            if self._registry.worker(worker) is not None:
                self._events.tell("worker", "up", f"{worker} takes viewers again", worker=worker)
        late: list[Session] = []
        asked = set[str]()
        for worker in draining:
            if worker not in self._since_s:
                self._since_s[worker] = now_s
                self._events.tell("worker", "draining", f"{worker} takes no more viewers", worker=worker)
            staying = self._sessions.of_worker(worker)
            asked.update(self._ask(staying))
            if not staying and worker not in self._drained:
                self._drained.add(worker)
                self._events.tell("worker", "drained", f"{worker} has no viewers any more", worker=worker)
            if staying and now_s - self._since_s[worker] > DRAIN_WHEP_S and self._has_room_without(worker):
                late += staying
        self._asked = asked
        return late

    def _ask(self, sessions: list[Session]) -> set[str]:
        places = MOVES_AT_A_TIME
        for session in sessions:
            owner = self._sessions.owner(session.id)
            if places and owner is not None and session.id not in self._asked:
                places -= 1
                self._asked.add(session.id)
                owner.session_moves(session.id)
        return {session.id for session in sessions if session.id in self._asked}
