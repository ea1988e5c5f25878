"""The same operations as WHEP over a WebSocket at `/ws` (RFC 6455), several sessions on one socket.

The viewer's messages are in `commands.py`. Signaling sends

    {"type": "answer", "id": …, "session": "…", "sdp": "v=0…"}
    {"type": "attached", "id": …, "session": "…", "showing": …, "reason": …}    null until known
    {"type": "selected", "id": …, "session": "…", "quality": "auto"}
    {"type": "showing", "session": "…", "showing": "main", "reason": "…"}    unasked; or "sub", "keyframes"
    {"type": "diagnosis", "id": …, "session": "…", "camera": {…}, "ingest": {…}, "bus": {…}, "worker": {…},
     "network": {…}}                    as in `diagnosis.py`; "session" is null where only a camera was named
    {"type": "time", "id": …, "utc_ms": 1760000000000.125}      milliseconds since 1970
    {"type": "move", "session": "…"}    the viewer shall offer again with `replaces`, then close this one
    {"type": "close", "session": "…", "reason": "…", "final": false}
                                    answer to a close, and unasked; `final`: a new session would be refused
    {"type": "error", "id": …, "session": "…", "status": 404, "title": "…", "detail": "…", "retry_after": 5}
    {"type": "event", "kind": "camera", …}      as in `events.py`, of the cameras that this viewer may see

A socket whose user may not come in any more is closed with 4401. A page that has a token can send no header
with a WebSocket and names two protocols instead: `cctv3`, the one that is spoken, and `bearer.TOKEN`.

A socket that breaks does not end its sessions at once: for `ORPHAN_GRACE_S` another socket may attach to
them, so that a restarted proxy or a short loss of the network leaves the picture alone. One that a viewer
closes with 1001, as browsers do for a page that is left (RFC 6455 section 7.4.1), does.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

from common.clock import Clock
from common.messages import SessionChanged, Watcher
from signaling import commands, events
from signaling.access.authority import SOCKET_PROTOCOL, Authority
from signaling.access.principal import Principal
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.broker import Broker
from signaling.commands import (
    Attach,
    Candidate,
    Close,
    Diagnose,
    DiagnoseCamera,
    Envelope,
    Offer,
    Select,
    Time,
)
from signaling.diagnosis import Link
from signaling.problems import Problem
from signaling.sessions import Session

log = logging.getLogger(__name__)

PING_INTERVAL_S = 10.0
MAX_FRAME_BYTES = 256 << 10
"Larger messages end the socket (close code 1009)."
MAX_REQUESTS = 128
"Requests of one socket that are under way at a time: a wall of 64 sessions is closed and another one opened."
OUTGOING_MESSAGES = 256
"A viewer who does not read that many is dropped."
UNAUTHORIZED = 4401
"Close code for a user who may not come in any more (RFC 6455 section 7.4.2: private use)."


def check_origin(request: web.Request) -> None:
    """Raises Problem 403 for a page of another site: browsers apply no same-origin policy to WebSockets.

    Ports are not compared, so that port mappings do no harm. A proxy that changes Host must pass the original
    one as X-Forwarded-Host; a page cannot set that header.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return
    hosts = [request.headers.get("Host", ""), *request.headers.get("X-Forwarded-Host", "").split(",")]
    if _hostname(origin) not in {_hostname(f"//{host.strip()}") for host in hosts} - {None}:
        raise Problem(
            403,
            "the page comes from another site than this server; a proxy in between must pass Host or "
            "X-Forwarded-Host unchanged",
        )


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


Value = str | int | float | Link | None


class ViewerSocket:
    """One WebSocket: commands in, answers, changes and ends of sessions out."""

    def __init__(
        self,
        broker: Broker,
        authority: Authority,
        watcher: Watcher,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        clock: Clock,
    ) -> None:
        self._broker = broker
        self._authority = authority
        self._watcher = watcher
        self._socket = socket
        self._transport = transport
        self._clock = clock
        self._outgoing: asyncio.Queue[str | None] = asyncio.Queue(OUTGOING_MESSAGES)
        "Ended by None: the user may not come in any more."
        self._requests: set[asyncio.Task[None]] = set()

    def session_changed(self, change: SessionChanged) -> None:
        """Tells the viewer what it is given now."""
        self._send("showing", Envelope(session=change.session), showing=change.showing, reason=change.reason)

    def session_moves(self, session: str) -> None:
        """Asks the viewer to open another session in place of this one."""
        self._send("move", Envelope(session=session))

    def session_ended(self, session: str, reason: str, final: bool) -> None:
        """Tells the viewer, who asks for a new session unless that would be in vain."""
        self._send("close", Envelope(session=session), reason=reason, final=final)

    def event(self, event: events.Event, text: str) -> None:
        """Tells the viewer when it may know of it; `text` is the message."""
        principal = self._authority.renew(self._watcher)
        if principal is not None and events.visible(event, principal):
            self._put(text)

    def look(self) -> None:
        """Closes the socket when its user may not come in any more."""
        if self._authority.renew(self._watcher) is None:
            self._put(None)

    def _principal(self) -> Principal:
        principal = self._authority.renew(self._watcher)
        if principal is None:
            raise Problem(401, "the login is over; log in again")
        return principal

    async def run(self) -> None:
        """Serves the socket until either side ends it."""
        writer = asyncio.ensure_future(self._write())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(message.data)
                else:
                    self._error(Problem(400, "messages are JSON text"), Envelope())
        finally:
            for task in (writer, *self._requests):
                task.cancel()
            await asyncio.gather(writer, *self._requests, return_exceptions=True)

    def _receive(self, text: str) -> None:
        about = Envelope()
        try:
            content = commands.parse_object(text)
            about = commands.envelope(content)
            command = commands.parse(content)
        except Problem as problem:
            self._error(problem, about)
            return
        with self._failures_told(command, about):
            match command:
                # What no worker is asked for is answered at once: a page that comes back attaches to all of
                # its sessions in one go.
                case Time():
                    self._send("time", about, utc_ms=self._clock.utc_ns() / 1e6)
                case Attach(session_id):
                    self._attach(self._find(session_id), about)
                case DiagnoseCamera(camera):
                    found = self._broker.diagnose_camera(camera, self._principal())
                    self._send("diagnosis", about, session=None, **found)
                case _:
                    self._begin(command, about)

    def _attach(self, session: Session, about: Envelope) -> None:
        change = session.change
        self._broker.attach(session, self)
        self._send(
            "attached",
            about,
            showing=change.showing if change else None,
            reason=change.reason if change else None,
        )

    def _begin(self, command: commands.Command, about: Envelope) -> None:
        if len(self._requests) >= MAX_REQUESTS:
            raise Problem(429, f"more than {MAX_REQUESTS} requests at a time", 1)
        task = asyncio.ensure_future(self._carry_out(command, about))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _carry_out(self, command: commands.Command, about: Envelope) -> None:
        with self._failures_told(command, about):
            match command:
                case Offer(camera, sdp, replaces, quality):
                    session, answer = await self._broker.open(
                        camera, sdp, self, self._watcher, replaces, quality
                    )
                    self._send("answer", Envelope(about.id, session.id), sdp=answer.sdp)
                case Candidate(session_id, sdp_fragment):
                    await self._broker.trickle(self._find(session_id), sdp_fragment)
                case Select(session_id, quality):
                    await self._broker.select(self._find(session_id), quality)
                    self._send("selected", about, quality=quality)
                case Diagnose(session_id):
                    principal = self._principal()
                    session = self._broker.find(session_id, principal)
                    self._send("diagnosis", about, **await self._broker.diagnose(session, principal))
                case Close(session_id):
                    session = self._find(session_id)
                    self._broker.attach(session, self)  # so that this socket is told
                    await self._broker.end(session)

    @contextlib.contextmanager
    def _failures_told(self, command: commands.Command, about: Envelope) -> Iterator[None]:
        try:
            yield
        except Problem as problem:
            self._error(problem, about)
        except Exception:
            log.exception("! %s over WebSocket failed", type(command).__name__)
            self._error(Problem(500, "signaling failed; its log says why"), about)

    def _find(self, session: str) -> Session:
        return self._broker.find(session, self._principal())

    def _error(self, problem: Problem, about: Envelope) -> None:
        members = problem.members()
        del members["type"]  # `about:blank`; in a message `type` says what the message is
        if "Retry-After" in problem.headers:
            members["retry_after"] = int(problem.headers["Retry-After"])
        self._send("error", about, **members)

    def _send(self, kind: str, about: Envelope, /, **members: Value) -> None:
        message: dict[str, Value] = {"type": kind}
        if about.id is not None:
            message["id"] = about.id
        if about.session is not None:
            message["session"] = about.session
        self._put(json.dumps(message | members))

    def _put(self, text: str | None) -> None:
        try:
            self._outgoing.put_nowait(text)
        except asyncio.QueueFull:
            self._drop()

    async def _write(self) -> None:
        while True:
            text = await self._outgoing.get()
            try:
                if text is None:
                    await self._socket.close(code=UNAUTHORIZED, message=b"the login is over")
                    return
                await self._socket.send_str(text)
            except ConnectionError:
                return  # the reading side ends the socket

    def _drop(self) -> None:
        # No closing handshake: it would wait in the same full buffer.
        if self._transport is not None and not self._transport.is_closing():
            log.info("= a viewer reads too slowly, its socket is dropped")
            self._transport.abort()


class WebSockets:
    """The handler of `/ws`."""

    def __init__(self, broker: Broker, authority: Authority, clock: Clock) -> None:
        self._broker = broker
        self._authority = authority
        self._clock = clock
        self._open: dict[web.WebSocketResponse, ViewerSocket] = {}
        self._stopping = False
        broker.on_look.append(self._look)
        broker.events.subscribers.add(self._event)

    def routes(self) -> list[web.RouteDef]:
        """Where the handler belongs."""
        return [web.get("/ws", self._get)]

    async def close(self, app: web.Application) -> None:
        """Ends all sockets; meant for `on_shutdown`."""
        self._stopping = True
        closing = [socket.close(code=1001, message=b"signaling stops") for socket in self._open]
        await asyncio.gather(*closing, return_exceptions=True)

    def _look(self) -> None:
        for viewer in self._open.values():
            viewer.look()

    def _event(self, event: events.Event) -> None:
        # What pages need; all of it is at /api/v1/events.
        if event.kind == "camera":
            text = json.dumps({"type": "event", **events.members(event)})
            for viewer in self._open.values():
                viewer.event(event, text)

    async def _get(self, request: web.Request) -> web.WebSocketResponse:
        check_origin(request)
        socket = web.WebSocketResponse(
            heartbeat=PING_INTERVAL_S,
            max_msg_size=MAX_FRAME_BYTES,
            compress=False,
            timeout=2.0,
            protocols=(SOCKET_PROTOCOL,),
        )
        if not socket.can_prepare(request):
            raise Problem(426, "this is a WebSocket endpoint", headers={"Upgrade": "websocket"})
        watcher = self._authority.watcher(request[PRINCIPAL], request[ADDRESS])
        await socket.prepare(request)
        viewer = ViewerSocket(self._broker, self._authority, watcher, socket, request.transport, self._clock)
        self._open[socket] = viewer
        try:
            await viewer.run()
        finally:
            del self._open[socket]
            if socket.close_code == WSCloseCode.GOING_AWAY and not self._stopping:
                self._broker.leave(viewer)
            self._broker.sessions.release(viewer, self._clock.monotonic_s())
        return socket
