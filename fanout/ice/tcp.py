"""ICE over TCP, the passive side: for networks that let no UDP through (RFC 6544).

Browsers connect to the worker's port and send what would be datagrams, STUN too, each behind its length
(RFC 4571 section 2). Who connects has to prove that it is a viewer with its first frame.
"""

import asyncio
import errno
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct

from common.errors import ViewerError
from fanout.ice.media_sockets import MAX_DATAGRAM_BYTES, SocketAddress, open_both
from fanout.ice.paths import Destination

log = logging.getLogger(__name__)

MAX_FRAME_BYTES = MAX_DATAGRAM_BYTES
AUTHENTICATION_S = 10.0
MAX_STRANGERS = 256
"Connections that are not authenticated yet."
MAX_STRANGERS_OF_ONE = 16
"Of them from one IPv4 address or one IPv6 /64; a few viewers may share a NAT."
MAX_WAITING_OCTETS = 512 << 10  # 1 s at 4 Mbit/s
MAX_WAITING_S = 1.0
_CONTROL_OCTETS = 64 << 10  # beyond MAX_WAITING_OCTETS, for what keeps the session alive
# Unsent octets that the kernel keeps. More would only grow old there: 0.25 s at 4 Mbit/s.
_NOTSENT_LOWAT = 128 << 10
_READ_BYTES = 8 << 10
_ACCEPT_BATCH = 16
_OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_OUT_OF_FILES_PAUSE_S = 1.0

_LENGTH = Struct("!H")


class FrameError(ViewerError):
    """A TCP connection carries something else than ICE frames."""


class Deframer:
    """Octets in, frames out; holds less than one frame."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are whole now; raises FrameError for one of more than MAX_FRAME_BYTES."""
        data = self._rest + data
        frames = []
        at = 0
        while at + 2 <= len(data):
            (size,) = _LENGTH.unpack_from(data, at)
            if size > MAX_FRAME_BYTES:
                raise FrameError(f"TCP frame of {size} octets; at most {MAX_FRAME_BYTES} are taken")
            end = at + 2 + size
            if end > len(data):
                break
            if size:  # an empty one says nothing (RFC 4571 section 2)
                frames.append(data[at + 2 : end])
            at = end
        self._rest = data[at:]
        return frames


def frames(packets: Sequence[bytes]) -> bytes:
    """Packets as they stand in the TCP stream."""
    parts = []
    for packet in packets:
        parts.append(_LENGTH.pack(len(packet)))
        parts.append(packet)
    return b"".join(parts)


class TcpConnection:
    """One accepted connection, a path once its first check was authentic."""

    def __init__(self, sock: socket.socket, source: SocketAddress, agent: "IceTcp") -> None:
        """Takes the socket over; raises OSError when the connection is gone already."""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT)
        self.destination: Destination | None = None
        self.waiting_octets = 0
        self.source = source
        self.local: str = sock.getsockname()[0]
        self.admitted = False
        "A check on it was authentic: it is a viewer's."
        self._agent = agent
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._deframer = Deframer()
        self._queue: deque[tuple[float, memoryview]] = deque()
        "What the kernel did not take, with the loop time when it was handed over; its first may be a rest."
        self._open = True
        self._loop.add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost(None)
            return
        try:
            whole = self._deframer.feed(data)
        except FrameError as exc:
            self._lost(str(exc))
            return
        for frame in whole:
            if not self._open:
                return
            self._agent.on_frame(self, frame)
            if not self.admitted:
                self._agent.discard(self)
                return

    def send_datagram(self, data: bytes) -> None:
        """Sends DTLS, STUN or RTCP; dropped when far too much is waiting."""
        if self._open and self.waiting_octets < MAX_WAITING_OCTETS + _CONTROL_OCTETS:
            self._write(frames((data,)))

    def send_packets(self, packets: Sequence[bytes]) -> bool:
        """Sends all or none in order; none when what waits is too much or too old, or the viewer is gone."""
        if not self._open:
            return False
        data = frames(packets)
        if self._queue and (
            self.waiting_octets + len(data) > MAX_WAITING_OCTETS
            or self._loop.time() - self._queue[0][0] > MAX_WAITING_S
        ):
            return False
        return self._write(data)

    def _write(self, data: bytes) -> bool:
        sent = 0
        if not self._queue:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                pass
            except OSError:
                self._lost(None)
                return False
            if sent == len(data):
                return True
            self._loop.add_writer(self._socket.fileno(), self._writable)
        self._queue.append((self._loop.time(), memoryview(data)[sent:]))
        self.waiting_octets += len(data) - sent
        return True

    def _writable(self) -> None:
        while self._queue:
            since, data = self._queue[0]
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                return
            except OSError:
                self._lost(None)
                return
            self.waiting_octets -= sent
            if sent < len(data):
                self._queue[0] = (since, data[sent:])
                return
            self._queue.popleft()
        self._loop.remove_writer(self._socket.fileno())

    def _lost(self, fault: str | None) -> None:
        """Ends it and has it told in the next turn: who is sending now must not be called back."""
        self.close()
        self._loop.call_soon(self._agent.lost, self, fault)

    def close(self) -> None:
        """Ends the connection without telling anybody on our side; may be called again."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._queue.clear()
            self.waiting_octets = 0

    def __str__(self) -> str:
        host, port = self.source[:2]
        return f"tcp [{host}]:{port}" if ":" in host else f"tcp {host}:{port}"


def _network(source: SocketAddress) -> str | bytes:
    """Who counts as one: a host has a whole /64 of IPv6 for itself."""
    return source[0] if len(source) == 2 else socket.inet_pton(socket.AF_INET6, source[0])[:8]


class IceTcp:
    """Accepts connections and closes those of strangers.

    `on_frame(connection, frame)` is called for each frame and admits the connection where that proves a
    viewer; one whose first frame does not is closed. `on_lost(connection, fault)` is told of each connection
    that ended by itself or by a fault of the other side. Neither may raise.
    """

    def __init__(
        self,
        port: int,
        on_frame: Callable[[TcpConnection, bytes], None],
        on_lost: Callable[[TcpConnection, str | None], None],
    ) -> None:
        """Raises LocalError when the port is in use."""
        self._loop = asyncio.get_running_loop()
        self.on_frame = on_frame
        self._on_lost = on_lost
        self._strangers: dict[TcpConnection, tuple[str | bytes, asyncio.TimerHandle]] = {}
        "Not authenticated yet, the oldest first, with who they are and when their time ends."
        self._listeners: list[socket.socket] = []
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        for sock in open_both(socket.SOCK_STREAM, port):
            if sock is not None:
                self._listeners.append(sock)
                self._listen(sock)

    def _listen(self, listener: socket.socket) -> None:
        self._pauses.pop(listener, None)
        self._loop.add_reader(listener.fileno(), self._acceptable, listener)

    def _acceptable(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPT_BATCH):
            try:
                sock, source = listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno not in _OUT_OF_FILES:
                    continue  # that connection ended before it was accepted (accept(2))
                log.warning("! no TCP connection can be accepted (%s); trying again", exc.strerror)
                self._loop.remove_reader(listener.fileno())
                self._pauses[listener] = self._loop.call_later(_OUT_OF_FILES_PAUSE_S, self._listen, listener)
                return
            self._accept(sock, source)

    def _accept(self, sock: socket.socket, source: SocketAddress) -> None:
        network = _network(source)
        # The oldest makes room: a browser's check comes one round trip after its connection.
        same = [known for known, (whose, _) in self._strangers.items() if whose == network]
        if len(same) >= MAX_STRANGERS_OF_ONE:
            self._refuse(same[0], "too many connections of one address that say nothing")
        elif len(self._strangers) >= MAX_STRANGERS:
            self._refuse(next(iter(self._strangers)), "too many connections that say nothing")
        try:
            connection = TcpConnection(sock, source, self)
        except OSError:
            sock.close()
            return
        deadline = self._loop.call_later(
            AUTHENTICATION_S,
            self._refuse,
            connection,
            f"no ICE check within {AUTHENTICATION_S:g} s",
        )
        self._strangers[connection] = (network, deadline)

    def admit(self, connection: TcpConnection) -> None:
        """It proved to be a viewer's: no bound of strangers holds for it any longer."""
        connection.admitted = True
        self._forget(connection)

    def discard(self, connection: TcpConnection) -> None:
        """Closes a connection; nobody is told."""
        self._forget(connection)
        connection.close()

    def lost(self, connection: TcpConnection, fault: str | None) -> None:
        """Called by a connection that ended; `fault` is the other side's, None for an ordinary end."""
        self._forget(connection)
        self._on_lost(connection, fault)

    def _refuse(self, connection: TcpConnection, fault: str) -> None:
        self.discard(connection)
        self._on_lost(connection, fault)

    def _forget(self, connection: TcpConnection) -> None:
        entry = self._strangers.pop(connection, None)
        if entry is not None:
            entry[1].cancel()

    def close(self) -> None:
        """Stops listening and closes the strangers; admitted connections belong to their sessions."""
        for handle in self._pauses.values():
            handle.cancel()
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        for connection in tuple(self._strangers):
            self.discard(connection)
