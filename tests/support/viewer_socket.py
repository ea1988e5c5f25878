"""Sockets of a test viewer: UDP that takes whole trains of packets, and ICE-TCP (udp(7), RFC 6544).

Both call `on_train(data, length, size, received_ns, source)`: `length` octets of `data`, packets of `size`
octets of which the last may be shorter, with their UTC nanoseconds of arrival.
"""

import asyncio
import contextlib
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar
from weakref import WeakKeyDictionary

_UDP_GRO = 104
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER = 4 << 20  # a reader that is late for 0.5 s at 60 Mbit/s loses nothing
_TIMESPEC = struct.Struct("=qq")
_INT = struct.Struct("=i")
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(_INT.size)
_MAX_WAITING = 256 << 10

Address = tuple[str, int]
OnTrain = Callable[[bytearray, int, int, int, Address], None]

# Shared, as one thread reads and no datagram outlives its callback.
_buffer = bytearray(1 << 16)
_MAX_EVENTS = 256
_TIMER_GRAIN_S = 0.002


class Hub:
    """One epoll and one timer for all viewers of an event loop.

    Thousands of sockets and of timers of the loop's own would cost more than what they are for.
    """

    _of_loops: ClassVar["WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]"] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._readable: dict[int, Callable[[], None]] = {}
        self._epoll: select.epoll | None = None
        self._later: deque[tuple[float, Callable[[], None]]] = deque()

    @classmethod
    def running(cls) -> "Hub":
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        hub = cls._of_loops.get(loop)
        if hub is None:
            hub = cls._of_loops[loop] = cls()
        return hub

    def add(self, fd: int, readable: Callable[[], None]) -> None:
        """Calls `readable()` while there is something to read."""
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll, self._poll)
        self._epoll.register(fd, select.EPOLLIN)
        self._readable[fd] = readable

    def remove(self, fd: int) -> None:
        """Takes `add` back, once or more often."""
        if self._readable.pop(fd, None) is not None and self._epoll is not None:
            self._epoll.unregister(fd)
            if not self._readable:
                self._loop.remove_reader(self._epoll)
                self._epoll.close()
                self._epoll = None

    def _poll(self) -> None:
        if self._epoll is not None:
            for fd, _ in self._epoll.poll(0, _MAX_EVENTS):
                readable = self._readable.get(fd)
                if readable is not None:
                    readable()

    def later(self, interval_s: float, action: Callable[[], None]) -> None:
        """Calls `action()` about so much later; the interval is the same for all."""
        self._later.append((self._loop.time() + interval_s, action))
        if len(self._later) == 1:
            self._loop.call_later(interval_s, self._due)

    def _due(self) -> None:
        now = self._loop.time() + _TIMER_GRAIN_S
        later = self._later
        while later and later[0][0] <= now:
            later.popleft()[1]()
        if later:
            self._loop.call_later(max(_TIMER_GRAIN_S, later[0][0] - now), self._due)


class UdpSocket:
    """A non-blocking socket on a free port of `host`, IPv4 or IPv6."""

    def __init__(self, host: str, on_train: OnTrain, on_error: Callable[[OSError], None]) -> None:
        self._on_train = on_train
        self._on_error = on_error
        self._hub = Hub.running()
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = sock = socket.socket(self.family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        # Kernels before 5.0 have no UDP_GRO and give every packet by itself, as without the option.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        sock.bind((host, 0))
        self.resume()

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    @property
    def address(self) -> Address:
        host, port = self._socket.getsockname()[:2]
        return host, port

    def reaches(self, transport: str, host: str) -> bool:
        """True for a candidate that this socket can send to."""
        return transport == "udp" and (":" in host) == (self.family == socket.AF_INET6)

    def select(self, address: Address) -> None:
        """Everything goes there from now on, and nothing comes from elsewhere."""
        self._socket.connect(address)

    async def open(self, address: Address) -> None:
        """Nothing has to be opened."""

    def send_to(self, data: bytes, address: Address) -> None:
        """Sends a check or its answer."""
        with contextlib.suppress(OSError):
            self._socket.sendto(data, address)

    def send(self, data: bytes) -> None:
        # A refused port shows as an error of a later call; a full socket is loss, as on any network.
        with contextlib.suppress(OSError):
            self._socket.send(data)

    def stall(self) -> None:
        """Reads no more: the kernel keeps what fits and drops the rest."""
        if not self.closed:
            self._hub.remove(self._socket.fileno())

    def resume(self) -> None:
        self._hub.add(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        # One train each time: what else is there makes the loop call again, and asking for it costs a
        # system call that mostly says no.
        try:
            length, ancillary, _flags, source = self._socket.recvmsg_into((_buffer,), _ANCILLARY)
        except BlockingIOError:
            return
        except OSError as exc:
            self._on_error(exc)
            return
        size, received_ns = length, 0
        for _level, kind, data in ancillary:
            if kind == _UDP_GRO:
                size = _INT.unpack_from(data)[0]
            elif kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack_from(data)
                received_ns = seconds * 1_000_000_000 + nanoseconds
        if length:
            self._on_train(_buffer, length, size, received_ns, source[:2])

    def close(self) -> None:
        if not self.closed:
            self.stall()
            self._socket.close()


class TcpSocket:
    """The active side of ICE-TCP: each packet after its length in 2 octets (RFC 4571 section 2)."""

    def __init__(self, host: str, on_train: OnTrain, on_error: Callable[[OSError], None]) -> None:
        self._host = host
        self._on_train = on_train
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._waiting = bytearray()
        self._peer: Address | None = None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.bind((host, 0))

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    @property
    def address(self) -> Address:
        host, port = self._socket.getsockname()[:2]
        return host, port

    def reaches(self, transport: str, host: str) -> bool:
        """True for a candidate that this socket can connect to."""
        return transport == "tcp" and (":" in host) == (":" in self._host)

    def select(self, address: Address) -> None:
        """There is one peer only."""

    async def open(self, address: Address) -> None:
        """Connects, once; raises OSError."""
        if self._peer is None:
            await self._loop.sock_connect(self._socket, address)
            self._peer = address
            self.resume()

    def send_to(self, data: bytes, address: Address) -> None:
        self.send(data)

    def send(self, data: bytes) -> None:
        """What the kernel does not take waits, up to a bound; beyond it is loss."""
        if self.closed or len(self._waiting) > _MAX_WAITING:
            return
        idle = not self._waiting
        self._waiting += len(data).to_bytes(2, "big") + data
        if idle:
            self._writable()
            if self._waiting:
                self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        try:
            del self._waiting[: self._socket.send(self._waiting)]
        except BlockingIOError:
            return
        except OSError as exc:
            self._waiting.clear()
            self._on_error(exc)
        if not self._waiting:
            self._loop.remove_writer(self._socket)

    def stall(self) -> None:
        """Reads no more: TCP holds the sender back."""
        if not self.closed:
            self._loop.remove_reader(self._socket)

    def resume(self) -> None:
        self._loop.add_reader(self._socket, self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as exc:
            self.stall()
            self._on_error(exc)
            return
        if not data:
            self.stall()
            self._on_error(ConnectionResetError("the server closed the TCP connection"))
            return
        assert self._peer is not None
        received_ns = time.time_ns()
        buffer = self._received
        buffer += data
        at = 0
        while at + 2 <= len(buffer):
            length = int.from_bytes(buffer[at : at + 2], "big")
            if at + 2 + length > len(buffer):
                break
            if length:
                packet = buffer[at + 2 : at + 2 + length]
                self._on_train(packet, length, length, received_ns, self._peer)
            at += 2 + length
        del buffer[:at]

    def close(self) -> None:
        if not self.closed:
            self._loop.remove_writer(self._socket)
            self.stall()
            self._socket.close()
