"""What is written down of each session: in the log, the audit log, the events and the counters."""

import logging

from common.clock import Clock
from signaling.access.authority import Authority
from signaling.counters import Counters
from signaling.events import EventLog
from signaling.sessions import Session

log = logging.getLogger(__name__)


class SessionLog:
    """Told of every beginning and end."""

    def __init__(self, authority: Authority, events: EventLog, counters: Counters, clock: Clock) -> None:
        self._authority = authority
        self._events = events
        self._counters = counters
        self._clock = clock

    def opened(self, session: Session, left: Session | None) -> None:
        """A worker has taken a viewer, who comes from the session `left` where that is not None."""
        watcher, camera = session.watcher, session.camera
        self._counters.session_opened()
        log.info("= session %s of %s on %s", session.label, camera, session.worker, extra=session.about)
        if left is None:
            self._tell(session, "opened", f"{watcher.name} watches {camera}")
            self._audit("open", session)
        else:
            text = f"{left.label} moves from {left.worker} to {session.worker}"
            self._tell(session, "moved", text)
            self._audit("move", session, reason=text)

    def ended(self, session: Session, reason: str) -> None:
        """A session is over."""
        log.info("= session %s of %s ended: %s", session.label, session.camera, reason, extra=session.about)
        self._counters.session_ended(reason)
        self._tell(session, "ended", reason)
        lasted_s = None
        if session.opened_s is not None:
            lasted_s = round(self._clock.monotonic_s() - session.opened_s, 1)
        self._audit("end", session, reason=reason, duration_s=lasted_s)

    def kicked(self, session: Session, by: str) -> None:
        """An operator is about to end a session."""
        log.info("= session %s is kicked by %s", session.label, by, extra=session.about)

    def _tell(self, session: Session, what: str, text: str) -> None:
        self._events.tell(
            "session",
            what,
            text,
            camera=session.camera,
            worker=session.worker,
            viewer=session.watcher.name,
            session=session.label,
        )

    def _audit(
        self,
        action: str,
        session: Session,
        *,
        reason: str | None = None,
        duration_s: float | None = None,
    ) -> None:
        watcher = session.watcher
        self._authority.audit.record(
            action,
            watcher,
            watcher.address,
            camera=session.camera,
            session=session.label,
            reason=reason,
            duration_s=duration_s,
        )
