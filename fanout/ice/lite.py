"""ICE-lite for all viewers of a worker on one port, UDP and TCP (RFC 8445 section 2.5, RFC 7983).

A viewer is known by its ICE username fragment first, then by where its authenticated checks came from. A
lite agent answers checks and never sends any; hearing none for CONSENT_S ends the viewer's consent (RFC 7675
section 5.1).
"""

import asyncio
import logging
import secrets
import string
from dataclasses import dataclass

from common.errors import LocalError
from fanout.ice import stun
from fanout.ice.addresses import host_candidates, tcp_priority, udp_priority
from fanout.ice.media_sockets import Ancillary, MediaSockets, SocketAddress, UdpPath
from fanout.ice.paths import Destination, Path
from fanout.ice.session import Receiver, RemoteIce
from fanout.ice.tcp import IceTcp, TcpConnection

log = logging.getLogger(__name__)

CONSENT_S = 15.0  # browsers check every 2.5 to 5 s
SELECTED_SILENCE_S = 6.0
MAX_PATHS = 16
_ICE_CHARACTERS = string.ascii_letters + string.digits + "+/"  # RFC 8839 section 5.4

Source = SocketAddress | TcpConnection
"Where something came from; finds the viewer."


def _pair_priority(controlling: int, controlled: int) -> int:
    """RFC 8445 section 6.1.2.3."""
    return (
        (min(controlling, controlled) << 32)
        + 2 * max(controlling, controlled)
        + int(controlling > controlled)
    )


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ICE_CHARACTERS) for _ in range(length))


@dataclass(eq=False, slots=True)
class _Pair:
    """A path that an authenticated check came over."""

    path: UdpPath | TcpConnection
    source: Source
    priority: int = 0
    nominated: bool = False
    heard_at: float = 0.0
    "Loop time of its last check."


class LiteSession:
    """One viewer's ICE state on the server's side."""

    def __init__(self, agent: "LiteAgent", remote_ufrag: str, receiver: Receiver, now: float) -> None:
        self.ufrag = _random_text(8)
        self.password = _random_text(24)
        self.candidates = agent.candidates
        self.path: Path | None = None
        self.remote_ufrag = remote_ufrag
        self.receiver = receiver
        self.key = self.password.encode()
        self._agent = agent
        self._heard_at = now
        self._pairs: dict[Destination | TcpConnection, _Pair] = {}
        "The oldest first."
        self._selected: _Pair | None = None
        self._chooses = False
        "The viewer sent a check that nominates nothing, so what it does nominate is its choice."

    def has_consent(self) -> bool:
        """False when no authenticated check came for CONSENT_S."""
        return self._agent.now() - self._heard_at < CONSENT_S

    def add_candidates(self, sdp_fragment: str) -> None:
        """Nothing to do: a lite agent sends no checks (RFC 8445 section 2.5)."""

    def validated(self, request: stun.BindingRequest, path: UdpPath | TcpConnection, source: Source) -> None:
        """Takes an authenticated check over `path` and selects the path to use (RFC 8445 section 8.2)."""
        now = self._heard_at = self._agent.now()
        key = path if isinstance(path, TcpConnection) else path.destination
        assert key is not None, "a UDP path has a destination"
        pair = self._pairs.get(key)
        if pair is None:
            if len(self._pairs) >= MAX_PATHS:
                self._forget(next(known for known in self._pairs if self._pairs[known] is not self._selected))
            pair = self._pairs[key] = _Pair(path, source)
        self._agent.own(source, self)
        pair.heard_at = now
        pair.nominated = request.use_candidate
        pair.priority = _pair_priority(request.priority, self._agent.local_priority(path))
        if not request.use_candidate:
            self._chooses = True
        if pair is not self._selected and self._is_better(pair):
            self._select(pair)

    def _is_better(self, pair: _Pair) -> bool:
        """Whether the path that was just heard takes the place of the selected one."""
        selected = self._selected
        if selected is None:
            return True
        silence_s = pair.heard_at - selected.heard_at
        if not pair.nominated:
            return silence_s > CONSENT_S
        # Chromium nominates towards a lite agent only what it uses itself: its last word counts, at once,
        # whatever the priority; so a change of network costs no picture. Others nominate every pair they
        # check (aggressive nomination, RFC 5245 section 8.1.1.2): the best one stays until it falls silent.
        # One that is as good is the same way through another port of a NAT.
        return (
            self._chooses
            or not selected.nominated
            or pair.priority >= selected.priority
            or silence_s > SELECTED_SILENCE_S
        )

    def _select(self, pair: _Pair) -> None:
        self._selected = pair
        self.path = pair.path
        self.receiver.on_path(pair.path)

    def lost(self, connection: TcpConnection) -> None:
        """A TCP path ended: another valid one takes its place, if there is one."""
        pair = self._pairs.pop(connection, None)
        if pair is None or pair is not self._selected:
            return
        self._selected = self.path = None
        now = self._agent.now()
        alive = [other for other in self._pairs.values() if now - other.heard_at < CONSENT_S]
        if alive:
            self._select(max(alive, key=lambda other: (other.nominated, other.priority)))

    def _forget(self, key: Destination | TcpConnection) -> None:
        pair = self._pairs.pop(key)
        # One source may have checked several of our addresses.
        if not any(other.source == pair.source for other in self._pairs.values()):
            self._agent.disown(pair.source, self)

    def close(self) -> None:
        """Forgets the viewer; its TCP connections end."""
        self._agent.forget(self)
        for key in tuple(self._pairs):
            self._forget(key)
        self._selected = self.path = None


class LiteAgent:
    """The worker's media port: STUN, DTLS and SRTCP in, paths and egress out."""

    def __init__(self, port: int, addresses: tuple[str, ...]) -> None:
        """Raises LocalError when the port is in use, or no address can be reached for want of IPv6."""
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self.lite = True
        self.rejected = 0
        self._failed = False
        self._sessions: dict[str, LiteSession] = {}
        self._owners: dict[Source, LiteSession] = {}
        self._sockets = MediaSockets(port, self._on_datagram)
        try:
            usable = tuple(one for one in addresses if self._sockets.has_ipv6 or ":" not in one)
            if not usable:
                raise LocalError("only IPv6 addresses to offer and no IPv6 here; set media.advertise")
            self._tcp = IceTcp(port, self._on_frame, self._on_lost)
        except LocalError:
            self._sockets.close()
            raise
        self.egress = self._sockets.egress
        self.candidates = host_candidates(usable, port)
        self._positions = {address: position for position, address in enumerate(usable)}

    async def open(self, remote: RemoteIce, receiver: Receiver) -> LiteSession:
        """Begins answering this viewer's checks; returns at once."""
        session = LiteSession(self, remote.ufrag, receiver, self.now())
        self._sessions[session.ufrag] = session
        return session

    def _on_datagram(self, data: bytes, source: SocketAddress, ancillary: Ancillary) -> None:
        try:
            first = data[0] if data and source[1] else 255  # nothing can be sent to port 0
            if first > 3:
                self._dispatch(first, data, source)
                return
            known = self._authenticate(data)
            path = self._sockets.path(source, ancillary) if known is not None else None
            if known is None or path is None:
                self.rejected += 1
            else:
                self._answer(*known, path, source)
        except Exception:
            self._fail(f"a datagram from {source[0]}")

    def _on_frame(self, connection: TcpConnection, data: bytes) -> None:
        try:
            if data[0] > 3:
                self._dispatch(data[0], data, connection)
                return
            known = self._authenticate(data)
            # A connection is one viewer's for all its life.
            if known is None or self._owners.get(connection, known[0]) is not known[0]:
                self.rejected += 1
            else:
                self._answer(*known, connection, connection)
        except Exception:
            self._fail(f"a TCP frame from {connection.source[0]}")

    def _fail(self, what: str) -> None:
        """Nothing a stranger sends may stop the port; once is enough for the log."""
        self.rejected += 1
        if not self._failed:
            self._failed = True
            log.exception("! %s failed; further ones are only counted", what)

    def _dispatch(self, first: int, data: bytes, source: Source) -> None:
        """Tells DTLS and RTCP apart by their first octet (RFC 7983 section 7)."""
        session = self._owners.get(source)
        if session is None:
            self.rejected += 1
        elif 20 <= first < 64:
            session.receiver.on_record(data)
        elif 128 <= first < 192:
            session.receiver.on_rtcp(data)
        else:
            self.rejected += 1

    def _authenticate(self, data: bytes) -> tuple[LiteSession, stun.BindingRequest] | None:
        """The check and whose it is; None for what is not authentic or no check: the cheapest is looked at
        first, and nothing is answered: no amplification, no oracle."""
        session = self._sessions.get(stun.local_ufrag(data) or "")
        if session is None:
            return None
        try:
            request = stun.parse_binding_request(data)
        except stun.StunError:
            return None
        if request.remote_ufrag != session.remote_ufrag or not stun.verify(request, session.key):
            return None
        return session, request

    def _answer(
        self,
        session: LiteSession,
        request: stun.BindingRequest,
        path: UdpPath | TcpConnection,
        source: Source,
    ) -> None:
        """Answers a check (RFC 8445 section 7.3)."""
        if request.unknown:
            path.send_datagram(stun.error_response(request, 420, "Unknown Attribute", session.key))
        elif request.peer_controlled:
            path.send_datagram(stun.error_response(request, 487, "Role Conflict", session.key))
        else:
            host, port = (source.source if isinstance(source, TcpConnection) else source)[:2]
            path.send_datagram(stun.success_response(request, host, port, session.key))
            session.validated(request, path, source)

    def _on_lost(self, connection: TcpConnection, fault: str | None) -> None:
        if fault is not None:
            self.rejected += 1
            log.debug("! %s: %s", connection, fault)
        session = self._owners.pop(connection, None)
        if session is not None:
            session.lost(connection)

    def local_priority(self, path: UdpPath | TcpConnection) -> int:
        """Of our candidate at the near end; behind a 1:1 NAT it is not told by its address: the last."""
        if isinstance(path, TcpConnection):
            return tcp_priority(self._positions.get(path.local, len(self._positions)))
        local = path.destination.local if path.destination is not None else ""
        return udp_priority(self._positions.get(local, len(self._positions)))

    def own(self, source: Source, session: LiteSession) -> None:
        """What comes from there is this viewer's from now on."""
        self._owners[source] = session
        if isinstance(source, TcpConnection) and not source.admitted:
            self._tcp.admit(source)

    def disown(self, source: Source, session: LiteSession) -> None:
        """What comes from there is no longer this viewer's; a TCP connection ends."""
        if self._owners.get(source) is session:
            del self._owners[source]
        if isinstance(source, TcpConnection):
            source.close()

    def forget(self, session: LiteSession) -> None:
        """Its checks are answered no more."""
        self._sessions.pop(session.ufrag, None)

    async def close(self) -> None:
        """Ends all sessions and closes the port; nothing may be sent through `egress` afterwards."""
        for session in tuple(self._sessions.values()):
            session.close()
        self._tcp.close()
        self._sockets.close()
