"""ICE-lite for all viewers of a worker on one UDP socket (RFC 8445 section 2.5, RFC 7983 demultiplexing).

A viewer is known by its ICE username fragment first, then by the addresses that its authenticated checks
came from. A lite agent answers checks and never sends any; hearing none for CONSENT_S ends the viewer's
consent (RFC 7675 section 5.1).
"""

import asyncio
import logging
import secrets
import socket
import string
from collections.abc import Callable
from dataclasses import dataclass, field

from common.errors import LocalError
from fanout import stun
from fanout.egress import Address, Egress, segmentation_offload

log = logging.getLogger(__name__)

CONSENT_S = 15.0  # browsers check every 2.5 to 5 s
SELECTED_SILENCE_S = 6.0
SOCKET_BUFFER_BYTES = 4 << 20
MAX_DATAGRAM_BYTES = 2048
MAX_ADDRESSES = 16
_READ_BATCH = 64
_ICE_CHARACTERS = string.ascii_letters + string.digits + "+/"  # RFC 8839 section 5.4


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ICE_CHARACTERS) for _ in range(length))


@dataclass(eq=False, slots=True)
class IceSession:
    """One viewer's ICE state on the server's side."""

    remote_ufrag: str
    on_record: Callable[[bytes], None]
    "Takes DTLS records."
    on_rtcp: Callable[[bytes], None]
    "Takes SRTCP packets."
    on_address: Callable[[Address], None]
    "Told the viewer's address when it is first known and when it changes."
    ufrag: str = field(default_factory=lambda: _random_text(8))
    password: str = field(default_factory=lambda: _random_text(24), repr=False)
    address: Address | None = None
    heard_at: float = 0.0
    "Loop time of the last authenticated check."
    selected_heard_at: float = 0.0
    "Loop time of the last check from `address`."
    nominated_priority: int = -1
    addresses: dict[Address, None] = field(default_factory=dict)
    "Where authenticated checks came from, the oldest first."


class IceSocket:
    """The worker's UDP socket: STUN, DTLS and SRTCP in, everything out."""

    def __init__(self, port: int, host: str = "0.0.0.0") -> None:
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[str, IceSession] = {}
        self._addresses: dict[Address, IceSession] = {}
        self._failed = False
        self.rejected = 0
        "Datagrams dropped: not WebRTC, not authentic, or from nobody known."
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        try:
            self._socket.bind((host, port))
        except OSError as exc:
            self._socket.close()
            raise LocalError(
                f"UDP port {port} cannot be used ({exc.strerror}); end what uses it or set media.port"
            ) from exc
        gso = segmentation_offload()
        if not gso:
            log.warning("! this kernel has no UDP_SEGMENT; packets are sent one by one")
        self.egress = Egress(self._socket, gso)
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def open(self, session: IceSession) -> None:
        """Begins answering this viewer's checks."""
        session.heard_at = self._loop.time()
        self._sessions[session.ufrag] = session

    def end(self, session: IceSession) -> None:
        """Forgets the viewer and its addresses."""
        self._sessions.pop(session.ufrag, None)
        for address in tuple(session.addresses):
            self._forget(session, address)

    def _forget(self, session: IceSession, address: Address) -> None:
        del session.addresses[address]
        if self._addresses.get(address) is session:
            del self._addresses[address]

    def has_consent(self, session: IceSession) -> bool:
        """False when the viewer was not heard for CONSENT_S."""
        return self._loop.time() - session.heard_at < CONSENT_S

    def _readable(self) -> None:
        for _ in range(_READ_BATCH):
            try:
                data, address = self._socket.recvfrom(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:
                # A pending ICMP error of an earlier send; it belongs to no datagram.
                continue
            try:
                self._received(data, address)
            except Exception:
                # Nothing a stranger sends may stop the socket; once is enough for the log.
                self.rejected += 1
                if not self._failed:
                    self._failed = True
                    log.exception("! a datagram from %s:%d failed; further ones are only counted", *address)

    def _received(self, data: bytes, address: Address) -> None:
        first = data[0] if data and address[1] else 255  # nothing can be sent to port 0
        if first < 4:
            self._check(data, address)
            return
        session = self._addresses.get(address)
        if session is None:
            self.rejected += 1
        elif 20 <= first < 64:
            session.on_record(data)
        elif 128 <= first < 192:
            session.on_rtcp(data)
        else:
            self.rejected += 1

    def _check(self, data: bytes, address: Address) -> None:
        """Answers a connectivity check (RFC 8445 section 7.3)."""
        try:
            request = stun.parse_binding_request(data)
        except stun.StunError as exc:
            self.rejected += 1
            log.debug("! %s:%d: %s", *address, exc)
            return
        session = self._sessions.get(request.local_ufrag)
        # Nothing is answered to whoever does not know the password: no amplification, no oracle.
        if (
            session is None
            or request.remote_ufrag != session.remote_ufrag
            or not stun.verify(request, session.password.encode())
        ):
            self.rejected += 1
            return
        password = session.password.encode()
        if request.unknown:
            response = stun.error_response(request, 420, "Unknown Attribute", password)
        elif request.peer_controlled:
            response = stun.error_response(request, 487, "Role Conflict", password)
        else:
            response = stun.success_response(request, *address, password)
            self._validated(session, request, address)
        self.egress.send_datagram(response, address)

    def _validated(self, session: IceSession, request: stun.BindingRequest, address: Address) -> None:
        now = session.heard_at = self._loop.time()
        if address not in session.addresses:
            if len(session.addresses) >= MAX_ADDRESSES:
                oldest = next(known for known in session.addresses if known != session.address)
                self._forget(session, oldest)
            session.addresses[address] = None
        self._addresses[address] = session
        if address == session.address:
            session.selected_heard_at = now
        # Some browsers nominate every pair they check: the best one stays until it falls silent.
        silent = now - session.selected_heard_at > SELECTED_SILENCE_S
        better = request.use_candidate and (request.priority >= session.nominated_priority or silent)
        if better:
            session.nominated_priority = request.priority
        if address != session.address and (better or session.address is None):
            session.address = address
            session.selected_heard_at = now
            session.on_address(address)

    def close(self) -> None:
        """Closes the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
