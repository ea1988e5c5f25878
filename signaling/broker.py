"""What viewers can ask of the workers, over WHEP and WebSocket alike: to open, trickle, select, close."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Coroutine, Sequence
from http import HTTPStatus
from typing import Any

from common.bus import REQUEST_DEADLINE_S, BusTimeout, ControlServer, PeerUnreachable
from common.clock import Clock
from common.messages import (
    Answer,
    CameraEvent,
    CameraReport,
    CandidateRequest,
    CloseRequest,
    Done,
    FanoutHello,
    HelloWanted,
    IngestHello,
    Message,
    OfferRequest,
    Quality,
    Refused,
    SelectRequest,
    SessionChanged,
    SessionEnded,
    SessionReport,
    SessionsReport,
    SessionsRequest,
    WorkerReport,
)
from signaling import fragment, routing
from signaling.events import EventLog
from signaling.problems import RETRY_SOON_S, RETRY_WHEN_FULL_S, Problem, from_refusal
from signaling.sessions import Owner, Session, SessionTable
from signaling.workers import HelloNeeded, Registry, SessionsStated

log = logging.getLogger(__name__)

TICK_S = 0.25
LATE_TICK_S = 0.5
OFFER_ATTEMPTS = 2
# A DEALER reconnects within 0.5 s, a heartbeat follows within 1 s, then a hello is asked for and given.
SETTLING_S = 3.0
"After its start signaling does not know yet which sessions the workers serve."


class Broker:
    """Signaling's heart: peers on the bus at `endpoint` on one side, viewers' requests on the other.

    Must be made on a running event loop; raises LocalError when the endpoint cannot be bound.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        endpoint: str,
        clock: Clock,
        deadline_s: float = REQUEST_DEADLINE_S,
    ) -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self._started_s = clock.monotonic_s()
        self.registry = Registry(cameras, clock)
        self.sessions = SessionTable()
        self.events = EventLog(clock)
        self._offers: Counter[str] = Counter()
        self._early: dict[str, list[tuple[str, SessionChanged | SessionEnded]]] = {}
        "What workers say of sessions whose answer has not been passed on yet."
        self._tasks: set[asyncio.Task[None]] = set()
        self._control = ControlServer(endpoint, self._heard)

    async def close(self) -> None:
        """Leaves the bus; the workers go on serving."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._control.close()

    async def run(self) -> None:
        """Watches for silence until cancelled."""
        while True:
            before_s = self._clock.monotonic_s()
            await self._clock.sleep(TICK_S)
            late_s = self._clock.monotonic_s() - before_s - TICK_S
            if late_s > LATE_TICK_S:
                log.warning("! signaling stood still for %.1f s", late_s)
                self.registry.forgive(late_s)
            self.tick()

    def tick(self) -> None:
        """Ends what has been silent or unowned for too long."""
        for worker in self.registry.expire():
            self.sessions.end_of_worker(worker, "the media worker died")
        for session in self.sessions.orphans(self._clock.monotonic_s()):
            log.info("= session %.6s… of %s: its viewer did not come back", session.id, session.camera)
            self.sessions.end(session.id, "the viewer's socket was lost")
            self._spawn(self._close_at_worker(session.worker, session.id))

    def _heard(self, identity: str, message: Message) -> None:
        match message:
            case SessionChanged() | SessionEnded():
                self._heard_of_session(identity, message)
            case IngestHello() | FanoutHello() | CameraReport() | WorkerReport():
                match self.registry.heard(identity, message):
                    case HelloNeeded():
                        self._control.notify(identity, HelloWanted())
                    case SessionsStated(sessions, restarted):
                        reason = (
                            "the media worker was restarted" if restarted else "the media worker forgot it"
                        )
                        self.sessions.restate(identity, sessions, reason)
            case CameraEvent():
                if self.registry.has_camera(message.camera):
                    self.events.add(message)
            case _:
                log.warning("! control: %s sent %s, which no peer sends", identity, message.TYPE)

    def _heard_of_session(self, worker: str, message: SessionChanged | SessionEnded) -> None:
        if message.session in self._early:
            self._early[message.session].append((worker, message))
            return
        session = self.sessions.get(message.session)
        if session is None or session.worker != worker:
            return
        match message:
            case SessionChanged(_, showing, reason):
                log.info("= session %.6s… of %s is given %s: %s", session.id, session.camera, showing, reason)
                self.sessions.changed(message)
            case SessionEnded(_, reason):
                log.info("= session %.6s… of %s ended: %s", session.id, session.camera, reason)
                self.sessions.end(session.id, reason)

    def _loads(self) -> list[routing.Load]:
        loads = []
        # The table is ahead of the workers' last reports by the viewers of the last second.
        known = self.sessions.count_by_worker() + self._offers
        for worker in self.registry.workers():
            report = worker.report
            loads.append(
                routing.Load(
                    worker.identity,
                    cpu=report.cpu if report else 0.0,
                    viewers=max(known[worker.identity], report.viewers if report else 0),
                )
            )
        return loads

    async def open(self, camera: str, sdp: str, owner: Owner | None = None) -> tuple[Session, Answer]:
        """A new session for `camera` on the least-loaded worker; raises Problem."""
        request = self._offer_request(camera, sdp)
        self._early[request.session] = []
        try:
            worker, answer = await self._place(request)
        except BaseException:
            del self._early[request.session]
            raise
        session = Session(
            id=request.session,
            camera=camera,
            worker=worker,
            entity_tag=answer.ice_ufrag,
            viewer_ufrag=fragment.ice_ufrag(sdp),
        )
        self.sessions.add(session, owner)
        log.info("= session %.6s… of %s on %s", session.id, camera, worker)
        # What the worker says meanwhile is told later, when the caller has passed the answer on.
        asyncio.get_running_loop().call_soon(self._opened, session.id)
        return session, answer

    def _opened(self, session: str) -> None:
        for worker, message in self._early.pop(session):
            self._heard_of_session(worker, message)

    def _offer_request(self, camera: str, sdp: str) -> OfferRequest:
        fragment.check_offer(sdp)
        if not self.registry.has_camera(camera):
            raise Problem(404, f"there is no camera {camera[:60]!r}; GET api/v1/cameras lists them")
        ingest = self.registry.ingest(camera)
        if ingest is None:
            raise Problem(503, f"the ingest process of {camera} is not up; it is started again", RETRY_SOON_S)
        return OfferRequest(
            session=secrets.token_urlsafe(16),
            camera=camera,
            media_endpoint=ingest.media_endpoint,
            renditions=self.registry.status(camera).formats,
            sdp=sdp,
        )

    async def _place(self, request: OfferRequest) -> tuple[str, Answer]:
        """The worker that takes the viewer, and its answer; raises Problem when none does."""
        failed: dict[str, Problem] = {}
        while len(failed) < OFFER_ATTEMPTS:
            worker = routing.choose(self._loads(), without=failed)
            if worker is None:
                break
            match await self._offer(worker, request):
                case Answer() as answer:
                    return worker, answer
                case problem:
                    failed[worker] = problem
        if failed:
            raise list(failed.values())[-1]
        if self.registry.workers():
            raise Problem(503, "every media worker is at its limit", RETRY_WHEN_FULL_S)
        raise Problem(503, "no media worker is up; they are started again", RETRY_SOON_S)

    async def _offer(self, worker: str, request: OfferRequest) -> Answer | Problem:
        """One worker's answer, or why another one should be tried; raises Problem when none should."""
        self._offers[worker] += 1
        try:
            reply = await self._control.request(worker, request, self._deadline_s)
        except PeerUnreachable as exc:
            log.warning("! offer for %s: %s", request.camera, exc)
            return Problem(503, "the media worker went away", RETRY_SOON_S)
        except BusTimeout as exc:
            # What one worker chokes on is not given to the next.
            log.warning("! offer for %s: %s", request.camera, exc)
            self._spawn(self._close_at_worker(worker, request.session))
            raise Problem(504, "the media worker did not answer in time", RETRY_SOON_S) from None
        except asyncio.CancelledError:
            # The viewer hung up while the worker was at it.
            self._spawn(self._close_at_worker(worker, request.session))
            raise
        finally:
            self._offers[worker] -= 1
        match reply:
            case Answer():
                return reply
            case Refused(kind="overloaded"):
                return from_refusal(reply)
            case Refused():
                raise from_refusal(reply)
            case _:
                raise _unexpected(worker, reply)

    def find(self, session: str) -> Session:
        """The session of that id; raises Problem 404, or 503 while the workers have not all said theirs."""
        found = self.sessions.get(session)
        if found is not None:
            return found
        if self._clock.monotonic_s() - self._started_s < SETTLING_S:
            raise Problem(
                503, "signaling has just been started and is still learning the sessions", RETRY_SOON_S
            )
        raise Problem(404, "there is no such session; it may have ended")

    async def trickle(self, session: Session, sdp_fragment: str) -> None:
        """Hands candidates of the viewer to its worker; raises Problem."""
        fragment.check_fragment(sdp_fragment)
        ufrag = fragment.ice_ufrag(sdp_fragment)
        if None not in (ufrag, session.viewer_ufrag) and ufrag != session.viewer_ufrag:
            raise Problem(422, "ICE restarts are not supported; make a new session")
        await self._ask(session, CandidateRequest(session.id, sdp_fragment))

    async def select(self, session: Session, quality: Quality) -> None:
        """Tells the worker what the viewer wants to be given; raises Problem."""
        await self._ask(session, SelectRequest(session.id, quality))

    async def end(self, session: Session) -> None:
        """Ends a session at the viewer's wish; raises Problem when its worker does not answer."""
        self.sessions.end(session.id, "closed by the viewer")
        await self._ask(session, CloseRequest(session.id))

    async def session_reports(self) -> dict[str, tuple[SessionReport, ...] | None]:
        """By live worker what it says of its sessions; None where it does not say it in time."""
        workers = [worker.identity for worker in self.registry.workers()]
        reports = await asyncio.gather(*(self._session_reports_of(worker) for worker in workers))
        return dict(zip(workers, reports, strict=True))

    async def _session_reports_of(self, worker: str) -> tuple[SessionReport, ...] | None:
        try:
            reply = await self._control.request(worker, SessionsRequest(), self._deadline_s)
        except BusTimeout as exc:
            log.warning("! sessions: %s", exc)
            return None
        if isinstance(reply, SessionsReport):
            return reply.sessions
        log.error("! sessions: %s answered with %s", worker, reply.TYPE)
        return None

    async def _ask(self, session: Session, message: CandidateRequest | SelectRequest | CloseRequest) -> None:
        try:
            reply = await self._control.request(session.worker, message, self._deadline_s)
        except BusTimeout as exc:
            log.warning("! %s: %s", message.TYPE, exc)
            raise Problem(504, "the media worker did not answer in time", RETRY_SOON_S) from None
        match reply:
            case Done():
                return
            case Refused(kind="unknown-session") if isinstance(message, CloseRequest):
                return  # ended by itself a moment ago: what the viewer wanted
            case Refused(kind="unknown-session"):
                self.sessions.end(session.id, "the media worker forgot it")
                raise from_refusal(reply)
            case Refused():
                raise from_refusal(reply)
            case _:
                raise _unexpected(session.worker, reply)

    async def _close_at_worker(self, worker: str, session: str) -> None:
        try:
            await self._control.request(worker, CloseRequest(session), self._deadline_s)
        except BusTimeout:
            log.debug("= session %.6s…: %s is away; it drops the session by itself", session, worker)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _unexpected(worker: str, reply: Message) -> Problem:
    log.error("! control: %s answered with %s", worker, reply.TYPE)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the media worker gave an unexpected answer")
