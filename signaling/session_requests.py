"""What is asked of the worker that serves a session, once it does."""

import asyncio
import logging
from collections.abc import Iterable

from common.bus import BusTimeout
from common.messages import (
    CandidateRequest,
    CloseRequest,
    Done,
    Refused,
    SelectRequest,
    SessionReport,
    SessionsReport,
    SessionsRequest,
)
from signaling.placement import unexpected
from signaling.problems import RETRY_SOON_S, Problem, from_refusal
from signaling.sessions import Session, SessionTable
from signaling.worker_calls import WorkerCalls

log = logging.getLogger(__name__)


class SessionRequests:
    """Asks the workers; a session that its worker does not know leaves the table."""

    def __init__(self, calls: WorkerCalls, sessions: SessionTable) -> None:
        self._calls = calls
        self._sessions = sessions
        self._closing: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Waits for no answer any more."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def ask(self, session: Session, message: CandidateRequest | SelectRequest | CloseRequest) -> None:
        """Has the worker do it; raises Problem."""
        try:
            reply = await self._calls.request(session.worker, message)
        except BusTimeout as exc:
            log.warning("! %s: %s", message.TYPE, exc, extra=session.about)
            raise Problem(504, "the media worker did not answer in time", RETRY_SOON_S) from None
        match reply:
            case Done():
                return
            case Refused(kind="unknown-session") if isinstance(message, CloseRequest):
                return  # ended by itself a moment ago: what the viewer wanted
            case Refused():
                raise self._refused(session, reply)
            case _:
                raise unexpected(session.worker, reply)

    async def report(self, session: Session) -> SessionReport | None:
        """What the worker says of a session; None when it does not in time. Raises Problem."""
        try:
            reply = await self._calls.request(session.worker, SessionsRequest(session.id))
        except BusTimeout as exc:
            log.warning("! sessions: %s", exc, extra=session.about)
            return None
        match reply:
            case SessionsReport(sessions=(report,)):
                return report
            case Refused():
                raise self._refused(session, reply)
            case _:
                raise unexpected(session.worker, reply)

    def _refused(self, session: Session, refused: Refused) -> Problem:
        if refused.kind == "unknown-session":
            self._sessions.end(session.id, "the media worker forgot it")
        return from_refusal(refused)

    async def reports(self, workers: Iterable[str]) -> dict[str, tuple[SessionReport, ...] | None]:
        """By worker what it says of its sessions; None where it does not say it in time."""
        asked = list(workers)
        reports = await asyncio.gather(*(self._reports_of(worker) for worker in asked))
        return dict(zip(asked, reports, strict=True))

    async def _reports_of(self, worker: str) -> tuple[SessionReport, ...] | None:
        try:
            reply = await self._calls.request(worker, SessionsRequest())
        except BusTimeout as exc:
            log.warning("! sessions: %s", exc, extra={"worker": worker})
            return None
        if isinstance(reply, SessionsReport):
            return reply.sessions
        log.error("! sessions: %s answered with %s", worker, reply.TYPE, extra={"worker": worker})
        return None

    def close_soon(self, worker: str, session: str) -> None:
        """Has the worker end what nobody wants any more, and waits for nothing."""
        task = asyncio.get_running_loop().create_task(self._close(worker, session))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, worker: str, session: str) -> None:
        try:
            await self._calls.request(worker, CloseRequest(session))
        except BusTimeout:
            log.debug("= session %.6s…: %s is away; it drops the session by itself", session, worker)
