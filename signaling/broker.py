"""What viewers can ask of the workers, over WHEP and WebSocket alike: to open, trickle, select, close.

Whoever opened a session rides along with it, and is looked at again on each tick and whenever rights change:
a session that he may not have any more is ended.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence

from common.bus import REQUEST_DEADLINE_S, BusTimeout, ControlServer
from common.clock import Clock
from common.messages import (
    Answer,
    CameraEvent,
    CameraReport,
    CandidateRequest,
    CloseRequest,
    Done,
    DrainRequest,
    EditRequest,
    FanoutHello,
    HelloWanted,
    IngestHello,
    Message,
    OfferRequest,
    OrderRequest,
    Quality,
    Refused,
    SelectRequest,
    SessionChanged,
    SessionEnded,
    SessionReport,
    SettingsEntry,
    SettingsKind,
    SettingsState,
    Watcher,
    WorkerReport,
)
from signaling import diagnosis, fragment, keeper_link, routing
from signaling.access.authority import Authority
from signaling.access.principal import Principal
from signaling.counters import Counters
from signaling.diagnosis import Diagnosis
from signaling.drains import Drains
from signaling.events import Event, EventLog, Level
from signaling.keeper_link import KeeperLink
from signaling.placement import Placement, unexpected
from signaling.problems import RETRY_SOON_S, Problem, from_refusal
from signaling.process_watch import ProcessWatch
from signaling.session_log import SessionLog
from signaling.session_requests import SessionRequests
from signaling.sessions import SHOWN_OF_ID, Owner, Session, SessionTable, may_handle
from signaling.settings_news import REMOVED, SettingsNews
from signaling.worker_calls import WorkerCalls
from signaling.workers import CameraStatus, HelloNeeded, Registry, SessionsStated

log = logging.getLogger(__name__)

TICK_S = 0.25
LATE_TICK_S = 0.5
# A DEALER reconnects within 0.5 s, a heartbeat follows within 1 s, then a hello is asked for and given.
SETTLING_S = 3.0
"After its start signaling does not know yet which sessions the workers serve."

WITHDRAWN = "access was withdrawn"
KICKED = "kicked by an operator"
DRAINED = "the media worker is being emptied"
DIED = "the media worker died"


class Broker:
    """Signaling's heart: peers on the bus at `endpoint` on one side, viewers' requests on the other.

    Must be made on a running event loop; raises LocalError when the endpoint cannot be bound.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        endpoint: str,
        clock: Clock,
        authority: Authority,
        deadline_s: float = REQUEST_DEADLINE_S,
    ) -> None:
        self._clock = clock
        self._authority = authority
        self._started_s = clock.monotonic_s()
        self.registry = Registry(cameras, clock)
        self.events = EventLog(clock)
        self.counters = Counters()
        self._log = SessionLog(authority, self.events, self.counters, clock)
        self.sessions = SessionTable(self._log.ended)
        self.settings: SettingsState | None = None
        "What the keeper said last; None while it is not heard."
        self.on_settings: Callable[[SettingsState], None] | None = None
        "Called when the keeper says what is in force, before the cameras are changed."
        self.on_look: list[Callable[[], None]] = []
        "Called on each tick, and when rights have changed."
        self._early: dict[str, list[tuple[str, SessionChanged | SessionEnded]]] = {}
        "What workers say of sessions whose answer has not been passed on yet."
        self._control = ControlServer(endpoint, self._heard)
        self._calls = WorkerCalls(self._control, deadline_s)
        self._requests = SessionRequests(self._calls, self.sessions)
        self._placement = Placement(
            self.registry, self.sessions, self._calls, clock, self._requests.close_soon
        )
        self._drains = Drains(self.registry, self.sessions, self.events, self._placement.has_room_without)
        self._keeper = KeeperLink(self._control, clock)
        self._news = SettingsNews(self.registry, self.events)
        self._processes = ProcessWatch(self._process_ended)
        authority.on_changed(self.look)

    async def close(self) -> None:
        """Leaves the bus; the workers go on serving."""
        await self._requests.stop()
        self._processes.close()
        self._keeper.close()
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
                self._keeper.forgive(late_s)
            self.tick()

    @property
    def settled(self) -> bool:
        """The workers have had the time to say which sessions they serve."""
        return self._clock.monotonic_s() - self._started_s >= SETTLING_S

    def tick(self) -> None:
        """Ends what is silent, unowned or on a draining worker for too long, and what is not allowed."""
        now_s = self._clock.monotonic_s()
        for worker in self.registry.expire():
            self._worker_died(worker, "it was not heard any more")
        for session in self.sessions.orphans(now_s):
            self._close(session, "the viewer's socket was lost")
        for session in self._drains.look(now_s):
            self._close(session, DRAINED)
        if not self._keeper.lives(known=self.settings is not None) and self.settings is not None:
            log.warning("! the keeper of the configuration is silent")
            self.settings = None
        self.look()

    def look(self) -> None:
        """Ends the sessions of cameras that are gone, and those that their viewers may not have any more."""
        principals: dict[Watcher, Principal | None] = {}
        for session in self.sessions.all():
            watcher = session.watcher
            if watcher not in principals:
                principals[watcher] = self._authority.renew(watcher)
            principal = principals[watcher]
            if not self.registry.has_camera(session.camera):
                self._close(session, REMOVED, final=True)
            elif principal is None or not principal.may_see(session.camera):
                self._close(session, WITHDRAWN, final=True)
        for look in tuple(self.on_look):
            look()

    def principal_may(self, session: Session) -> bool:
        """True while whoever opened a session may have it."""
        principal = self._authority.renew(session.watcher)
        return principal is not None and principal.may_see(session.camera)

    def _heard(self, identity: str, message: Message) -> None:
        match message:
            case SessionChanged() | SessionEnded():
                self._heard_of_session(identity, message)
            case IngestHello() | FanoutHello() | CameraReport() | WorkerReport():
                wait = self._processes.wait(identity) if isinstance(message, WorkerReport) else 0.0
                match self.registry.heard(identity, message, wait):
                    case HelloNeeded():
                        self._control.notify(identity, HelloWanted())
                    case SessionsStated() as stated:
                        self._worker_is_up(identity, stated)
            case CameraEvent(camera, rendition, at_ns, state, reason):
                if self.registry.has_camera(camera):
                    text = f"{rendition} stream: {state}" + (f", {reason}" if reason else "")
                    level: Level = "info" if state in ("idle", "connecting", "live") else "warning"
                    self.events.add(
                        Event(0, at_ns / 1e9, "camera", camera, None, state, text, None, level, rendition)
                    )
            case SettingsState() if identity == keeper_link.IDENTITY:
                self._heard_settings(message)
            case _:
                log.warning("! control: %s sent %s, which no peer sends", identity, message.TYPE)

    def _worker_is_up(self, identity: str, stated: SessionsStated) -> None:
        worker = self.registry.worker(identity)
        if worker is not None:
            self._processes.watch(identity, worker.pid)
        if stated.restarted:
            self._calls.died(identity)
        if stated.new:
            self.events.tell("worker", "up", f"{identity} is up", worker=identity)
        reason = "the media worker was restarted" if stated.restarted else "the media worker forgot it"
        self.sessions.restate(identity, stated.sessions, reason)

    def _process_ended(self, identity: str, pid: int) -> None:
        if self.registry.gone(identity, pid):
            self._worker_died(identity, "its process ended")

    def _worker_died(self, worker: str, how: str) -> None:
        self.events.tell("worker", "died", f"{worker}: {how}", worker=worker, level="error")
        self._processes.forget(worker)
        self._calls.died(worker)
        self.sessions.end_of_worker(worker, DIED)

    def _heard_of_session(self, worker: str, message: SessionChanged | SessionEnded) -> None:
        if message.session in self._early:
            self._early[message.session].append((worker, message))
            return
        session = self.sessions.get(message.session)
        if session is None or session.worker != worker:
            return
        match message:
            case SessionChanged(_, showing, reason):
                log.info(
                    "= session %s of %s is given %s: %s",
                    session.label,
                    session.camera,
                    showing,
                    reason,
                    extra=session.about,
                )
                self.sessions.changed(message)
            case SessionEnded(_, reason):
                self.sessions.end(session.id, reason)

    def _heard_settings(self, state: SettingsState) -> None:
        self._keeper.heard()
        self.settings = state
        if self.on_settings is not None:
            try:
                self.on_settings(state)
            except Exception:
                log.exception("! the new settings could not be taken over")
        self._news.heard(state)
        self.look()

    def visible(self, principal: Principal) -> list[CameraStatus]:
        """The cameras that somebody may see, in the order of the configuration."""
        return [self.registry.status(name) for name in self.registry.cameras if principal.may_see(name)]

    def age_s(self, session: Session) -> float | None:
        """Seconds since a session was opened; None when signaling has been restarted since."""
        return None if session.opened_s is None else self._clock.monotonic_s() - session.opened_s

    def headrooms(self) -> dict[str, float]:
        """By live worker the share of a core that is free for more viewers, as measured; may be negative."""
        return routing.headrooms(self._loads())

    def _loads(self) -> list[routing.Load]:
        return self._placement.loads()

    async def open(
        self,
        camera: str,
        sdp: str,
        owner: Owner | None,
        watcher: Watcher,
        replaces: str | None = None,
        quality: Quality = "auto",
    ) -> tuple[Session, Answer]:
        """A new session for `camera` on the worker with the most headroom; raises Problem.

        `replaces` names the session that the viewer will leave for it, `quality` is what it begins with.
        """
        try:
            request = self._offer_request(camera, sdp, watcher, quality)
            worker, answer = await self._put(request)
        except Problem as problem:
            self.counters.offer_refused(problem)
            raise
        # What the worker says meanwhile is told later, when the caller has passed the answer on.
        asyncio.get_running_loop().call_soon(self._opened, request.session)
        session = Session(
            id=request.session,
            camera=camera,
            worker=worker,
            watcher=watcher,
            opened_s=self._clock.monotonic_s(),
            entity_tag=answer.ice_ufrag,
            viewer_ufrag=fragment.ice_ufrag(sdp),
        )
        self.sessions.add(session, owner)
        left = self.sessions.get(replaces) if replaces is not None else None
        own = left is not None and (left.camera, left.watcher.name) == (camera, watcher.name)
        self._log.opened(session, left if own else None)
        return session, answer

    async def _put(self, request: OfferRequest) -> tuple[str, Answer]:
        self._early[request.session] = []
        try:
            return await self._placement.place(request)
        except BaseException:
            del self._early[request.session]
            raise

    def _opened(self, session: str) -> None:
        for worker, message in self._early.pop(session):
            self._heard_of_session(worker, message)

    def _offer_request(self, camera: str, sdp: str, watcher: Watcher, quality: Quality) -> OfferRequest:
        fragment.check_offer(sdp)
        principal = self._authority.renew(watcher)
        if principal is None:
            raise Problem(401, "the login is over; log in again")
        self._check_camera(camera, principal)
        ingest = self.registry.ingest(camera)
        if ingest is None:
            raise Problem(503, f"the ingest process of {camera} is not up; it is started again", RETRY_SOON_S)
        return OfferRequest(
            session=secrets.token_urlsafe(16),
            camera=camera,
            media_endpoint=ingest.media_endpoint,
            renditions=self.registry.status(camera).formats,
            sdp=sdp,
            watcher=watcher,
            quality=quality,
        )

    def _check_camera(self, camera: str, principal: Principal) -> None:
        if not self.registry.has_camera(camera) or not principal.may_see(camera):
            raise Problem(404, f"there is no camera {camera[:60]!r}; GET api/v1/cameras lists them")

    def find(self, session: str, principal: Principal) -> Session:
        """The session of that id; raises Problem 404 where there is none that `principal` may handle.

        503 while the workers have not all said theirs.
        """
        found = self.sessions.get(session)
        if found is not None and may_handle(principal, found):
            return found
        if found is None and not self.settled:
            raise Problem(
                503, "signaling has just been started and is still learning the sessions", RETRY_SOON_S
            )
        raise Problem(404, "there is no such session; it may have ended")

    def attach(self, session: Session, owner: Owner) -> None:
        """From now on this socket hears of the session."""
        self.sessions.attach(session.id, owner)
        self._drains.attached(session.id)

    async def trickle(self, session: Session, sdp_fragment: str) -> None:
        """Hands candidates of the viewer to its worker; raises Problem."""
        fragment.check_fragment(sdp_fragment)
        ufrag = fragment.ice_ufrag(sdp_fragment)
        if None not in (ufrag, session.viewer_ufrag) and ufrag != session.viewer_ufrag:
            raise Problem(422, "ICE restarts are not supported; make a new session")
        await self._requests.ask(session, CandidateRequest(session.id, sdp_fragment))

    async def select(self, session: Session, quality: Quality) -> None:
        """Tells the worker what the viewer wants to be given; raises Problem."""
        await self._requests.ask(session, SelectRequest(session.id, quality))

    async def diagnose(self, session: Session, principal: Principal) -> Diagnosis:
        """How all between the camera and the viewer is; raises Problem when its worker has forgotten it."""
        report = await self._requests.report(session)
        status, worker = self.registry.status(session.camera), self.registry.worker(session.worker)
        return diagnosis.of_session(session, status, worker, report, principal.may("operator"))

    def diagnose_camera(self, camera: str, principal: Principal) -> Diagnosis:
        """The same of a camera without a session; raises Problem 404."""
        self._check_camera(camera, principal)
        return diagnosis.of_camera(self.registry.status(camera))

    async def end(self, session: Session) -> None:
        """Ends a session at the viewer's wish; raises Problem when its worker does not answer."""
        self.sessions.end(session.id, "closed by the viewer")
        await self._requests.ask(session, CloseRequest(session.id))

    def leave(self, owner: Owner) -> None:
        """Ends the sessions of a viewer who has gone for good."""
        for session in self.sessions.owned(owner):
            self._close(session, "closed by the viewer")

    async def kick(self, prefix: str, by: Principal) -> Session:
        """Ends the session whose id begins so; raises Problem 404, or 409 when there are several.

        Only those of cameras that `by` may see are there for them.
        """
        prefix = prefix.removesuffix("…")
        if len(prefix) < SHOWN_OF_ID:
            raise Problem(404, f"a session is named by at least {SHOWN_OF_ID} characters of its id")
        visible = (session for session in self.sessions.all() if by.may_see(session.camera))
        found = [session for session in visible if session.id.startswith(prefix)]
        if not found:
            raise Problem(404, "there is no such session; it may have ended")
        if len(found) > 1:
            raise Problem(409, f"{len(found)} sessions have an id that begins so; give more of it")
        self._log.kicked(found[0], by.name)
        self._close(found[0], KICKED, final=True)
        return found[0]

    async def drain(self, worker: str, draining: bool, by: str) -> None:
        """Tells a worker to take no more viewers, or to take them again; raises Problem 404 or 504.

        Its viewers are asked to move.
        """
        if self.registry.worker(worker) is None:
            raise Problem(404, f"there is no media worker {worker[:60]!r}; GET api/v1/workers lists them")
        try:
            reply = await self._calls.request(worker, DrainRequest(draining))
        except BusTimeout as exc:
            log.warning("! drain: %s", exc)
            raise Problem(504, "the media worker did not answer in time", RETRY_SOON_S) from None
        if not isinstance(reply, Done):
            raise from_refusal(reply) if isinstance(reply, Refused) else unexpected(worker, reply)
        said = "takes no more viewers" if draining else "takes viewers again"
        log.info("= worker %s %s, says %s", worker, said, by, extra={"worker": worker, "user": by})
        if self.registry.worker(worker) is not None:
            self.registry.set_draining(worker, draining)
        self.tick()

    async def entries(self, kind: SettingsKind, name: str | None) -> tuple[SettingsEntry, ...]:
        """The cameras or users of the configuration file, or one of them; raises Problem 404 or 503."""
        found = await self._keeper.entries(kind, name)
        if name is not None and not found:
            raise Problem(404, f"the configuration has no {kind} {name[:60]!r}")
        return found

    async def edit(
        self, kind: SettingsKind, name: str, content: str | None, etag: str | None, by: str
    ) -> tuple[SettingsEntry, ...]:
        """Changes the configuration file; gives what it says then. Raises Problem 404, 409, 412, 422, 503."""
        return await self._keeper.edit(EditRequest(kind, name, content, etag, by))

    async def order(self, cameras: Sequence[str], before: tuple[str, ...] | None, by: str) -> SettingsState:
        """Puts the cameras of the configuration file in order, which must be `before` unless that is None.

        Raises Problem 409, 412, 422, 503.
        """
        state = await self._keeper.order(OrderRequest(tuple(cameras), before, by))
        self._heard_settings(state)
        return state

    async def reload(self, by: str) -> SettingsState:
        """Has the configuration file read now; raises Problem 503."""
        log.info("= the configuration is read again, says %s", by, extra={"user": by})
        state = await self._keeper.reload()
        self._heard_settings(state)
        return state

    async def session_reports(self) -> dict[str, tuple[SessionReport, ...] | None]:
        """By live worker what it says of its sessions; None where it does not say it in time."""
        return await self._requests.reports(worker.identity for worker in self.registry.workers())

    def _close(self, session: Session, reason: str, final: bool = False) -> None:
        """Ends a session here and at its worker."""
        self.sessions.end(session.id, reason, final)
        self._requests.close_soon(session.worker, session.id)
