"""The worker's UDP sockets, IPv4 and IPv6 on one port number; answers leave from the address that was asked.

A machine with two networks would else answer from whichever address its routes prefer, and a browser drops
what comes from another address than it asked. So the kernel tells the address with each datagram and is told
it with each answer (IP_PKTINFO, ip(7); IPV6_PKTINFO, RFC 3542 section 6).
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from struct import Struct

from common.errors import LocalError
from fanout.egress import Egress, segmentation_offload
from fanout.ice.paths import Destination

log = logging.getLogger(__name__)

SOCKET_BUFFER_BYTES = 4 << 20
MAX_DATAGRAM_BYTES = 2048
READ_BATCH = 64  # datagrams of one socket in one turn of the loop: about 1 ms of a flood

_BACKLOG = 128
_IP_PKTINFO = 8  # Linux; socket has no name for it before Python 3.14
_IPV4_PKTINFO = Struct("=I4s4s")  # struct in_pktinfo: interface, local address, destination of the header
_IPV6_PKTINFO = Struct("=16sI")  # struct in6_pktinfo: address, interface
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})

IPv4Address = tuple[str, int]
IPv6Address = tuple[str, int, int, int]
SocketAddress = IPv4Address | IPv6Address
Ancillary = list[tuple[int, int, bytes]]
"What recvmsg(2) tells beside a datagram: here one packet info."


def _bound(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> socket.socket:
    """A non-blocking socket on all addresses of one family, listening if for TCP; raises OSError."""
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            # A restarted worker takes its port back while connections of its forerunner are in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        if kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def open_both(kind: socket.SocketKind, port: int) -> tuple[socket.socket, socket.socket | None]:
    """Sockets for IPv4 and IPv6 on the same port, None where the machine has no IPv6; raises LocalError."""
    sockets: list[socket.socket] = []
    try:
        sockets.append(_bound(socket.AF_INET, kind, port))
        sockets.append(_bound(socket.AF_INET6, kind, port))
    except OSError as exc:
        if sockets and exc.errno in _NO_IPV6:
            return sockets[0], None
        for sock in sockets:
            sock.close()
        protocol = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
        raise LocalError(
            f"{protocol} port {port} cannot be used ({exc.strerror}); end what uses it or set media.port"
        ) from exc
    return sockets[0], sockets[1]


class UdpPath:
    """A candidate pair of the worker's port."""

    __slots__ = ("_address", "_control", "_sendmsg", "destination", "waiting_octets")

    def __init__(self, sock: socket.socket, destination: Destination) -> None:
        self.destination: Destination | None = destination
        self.waiting_octets = 0
        self._sendmsg = sock.sendmsg
        self._address = (destination.host, destination.port)
        local = socket.inet_pton(sock.family, destination.local)
        self._control = (
            (socket.IPPROTO_IP, _IP_PKTINFO, _IPV4_PKTINFO.pack(0, local, bytes(4)))
            if sock.family == socket.AF_INET
            else (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IPV6_PKTINFO.pack(local, 0)),
        )

    def send_datagram(self, data: bytes) -> None:
        """Sends DTLS, STUN or RTCP; what the kernel does not take is lost, and repeated by its protocol."""
        self.send_packets((data,))

    def send_packets(self, packets: Sequence[bytes]) -> bool:
        """Sends in order up to the first that the kernel does not take; False when there was one."""
        try:
            for packet in packets:
                self._sendmsg((packet,), self._control, 0, self._address)
        except OSError:
            return False
        return True

    def __str__(self) -> str:
        host, port = self._address
        return f"udp [{host}]:{port}" if ":" in host else f"udp {host}:{port}"


class MediaSockets:
    """Datagrams in, paths and egress out.

    `receive(data, source, ancillary)` is called for each datagram and must not raise; of what it is given
    `path` makes the way back.
    """

    def __init__(self, port: int, receive: Callable[[bytes, SocketAddress, Ancillary], None]) -> None:
        """Raises LocalError when the port is in use."""
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._ipv4, self._ipv6 = open_both(socket.SOCK_DGRAM, port)
        self._ipv4.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        if self._ipv6 is not None:
            self._ipv6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            log.info("= this machine has no IPv6; media goes over IPv4 only")
        gso = segmentation_offload()
        if not gso:
            log.warning("! this kernel has no UDP_SEGMENT; packets are sent one by one")
        self.egress = Egress(self._ipv4.fileno(), self._ipv6.fileno() if self._ipv6 is not None else -1, gso)
        for sock, info in ((self._ipv4, _IPV4_PKTINFO), (self._ipv6, _IPV6_PKTINFO)):
            if sock is not None:
                for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                    sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
                self._loop.add_reader(sock.fileno(), self._readable, sock, socket.CMSG_SPACE(info.size))

    @property
    def has_ipv6(self) -> bool:
        """False on a machine without IPv6."""
        return self._ipv6 is not None

    def _readable(self, sock: socket.socket, ancillary_size: int) -> None:
        for _ in range(READ_BATCH):
            try:
                data, ancillary, _, source = sock.recvmsg(MAX_DATAGRAM_BYTES, ancillary_size)
            except BlockingIOError:
                return
            except OSError:
                # A pending error of the interface; it belongs to no datagram.
                continue
            self._receive(data, source, ancillary)

    def path(self, source: SocketAddress, ancillary: Ancillary) -> UdpPath | None:
        """The way back to where a datagram came from; None for an IPv6 source that only has a meaning on
        one interface (link-local, RFC 4007): it is of no use for a `Destination`."""
        info = ancillary[0][2]
        if len(source) == 2:
            _, local, _ = _IPV4_PKTINFO.unpack(info)
            destination = Destination(source[0], source[1], socket.inet_ntop(socket.AF_INET, local))
            return UdpPath(self._ipv4, destination)
        if self._ipv6 is None or source[3]:
            return None
        local, _ = _IPV6_PKTINFO.unpack(info)
        destination = Destination(source[0], source[1], socket.inet_ntop(socket.AF_INET6, local))
        return UdpPath(self._ipv6, destination)

    def close(self) -> None:
        """Closes the sockets."""
        for sock in (self._ipv4, self._ipv6):
            if sock is not None:
                self._loop.remove_reader(sock.fileno())
                sock.close()
