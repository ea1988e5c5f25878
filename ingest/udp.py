"""RTP and RTCP over UDP: pairs of ports, multicast groups, and the loop that empties their sockets.

Everything per packet happens in the event loop's callback that reads the socket. A timer runs only while a
gap in the sequence numbers holds packets back.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Collection, Sequence
from typing import Any

from common.clock import Clock
from common.errors import LocalError
from common.rtp import HEADER
from ingest.rtp_track import RtpTrack
from ingest.rtsp.transport import Multicast

# A keyframe of a 4K camera arrives at the speed of the wire: 4 MiB are three of 1 MB with their overhead.
RECEIVE_BUFFER_BYTES = 4 << 20
MAX_DATAGRAM_BYTES = 65_535
# Then other sockets have their turn; what is left wakes the loop again.
MAX_DATAGRAMS_PER_TURN = 256
MAX_BIND_ATTEMPTS = 50
# RFC 4607 section 1.
SOURCE_SPECIFIC = (ipaddress.ip_network("232.0.0.0/8"), ipaddress.ip_network("ff30::/12"))

# What FFmpeg and live555 send to open the way through NAT and firewalls: an RTP header without payload.
PUNCH = HEADER.pack(0x80, 0, 0, 0, 0)

# linux/in.h, linux/socket.h; Python names them from 3.12 on or not at all.
_IP_ADD_SOURCE_MEMBERSHIP = 39
_MCAST_JOIN_SOURCE_GROUP = 46
_SO_MEMINFO = 55
_MEMINFO_DROPS = 8
_SOCKADDR_IN6 = struct.Struct("=HHI16sI100x")  # as sockaddr_storage


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class PortPair:
    """An RTP socket and its RTCP socket."""

    def __init__(self, rtp: socket.socket, rtcp: socket.socket) -> None:
        self.rtp = rtp
        self.rtcp = rtcp

    @property
    def ports(self) -> tuple[int, int]:
        """Of RTP and RTCP."""
        return self.rtp.getsockname()[1], self.rtcp.getsockname()[1]

    @property
    def kernel_drops(self) -> int:
        """RTP packets that came while the receive buffer was full."""
        memory = self.rtp.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * (_MEMINFO_DROPS + 1))
        return int.from_bytes(memory[4 * _MEMINFO_DROPS :], "little")

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


def _open_two(family: int) -> tuple[socket.socket, socket.socket]:
    """Sockets without ports; raises LocalError when this machine gives none."""
    opened: list[socket.socket] = []
    try:
        for _ in range(2):
            opened.append(socket.socket(family, socket.SOCK_DGRAM))
            opened[-1].setblocking(False)
            # The kernel gives at most net.core.rmem_max.
            opened[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    except OSError as exc:
        for item in opened:
            item.close()
        reason = os.strerror(exc.errno or 0)
        raise LocalError(f"this machine gives no sockets for UDP: {reason}") from None
    return opened[0], opened[1]


def _family(address: tuple[Any, ...]) -> int:
    return socket.AF_INET6 if len(address) == 4 else socket.AF_INET


def bind_pair(local_address: tuple[Any, ...]) -> PortPair:
    """Free ports, RTP even and RTCP the next (RFC 3550 section 11), at the host of `local_address`.

    Raises LocalError when there are none.
    """
    host, _, *scope = local_address
    for _ in range(MAX_BIND_ATTEMPTS):
        first, second = _open_two(_family(local_address))
        try:
            first.bind((host, 0, *scope))
            port = first.getsockname()[1]
            second.bind((host, port ^ 1, *scope))
        except OSError:
            first.close()
            second.close()
            continue
        return PortPair(second, first) if port & 1 else PortPair(first, second)
    raise LocalError(f"no two neighbouring UDP ports are free at {host}")


def bind_pairs(local_address: tuple[Any, ...], count: int) -> list[PortPair]:
    """So many of them; raises LocalError."""
    pairs: list[PortPair] = []
    try:
        for _ in range(count):
            pairs.append(bind_pair(local_address))
    except LocalError:
        for pair in pairs:
            pair.close()
        raise
    return pairs


def join_group(transport: Multicast, local_address: tuple[Any, ...]) -> PortPair:
    """Sockets that hear a multicast group, through the interface of `local_address`.

    Raises LocalError when this machine cannot.
    """
    group = ipaddress.ip_address(transport.group)
    source = None
    # Elsewhere `source` may be the camera's address behind NAT, and from there nothing would come.
    if transport.source and any(group in network for network in SOURCE_SPECIFIC):
        source = ipaddress.ip_address(transport.source)
    family = socket.AF_INET if group.version == 4 else socket.AF_INET6
    rtp, rtcp = _open_two(family)
    # Only link-local addresses say their interface; for others the routing table does.
    index = local_address[3] if _family(local_address) == socket.AF_INET6 else 0
    scope = (0, index) if family == socket.AF_INET6 else ()
    try:
        for opened, port in ((rtp, transport.rtp_port), (rtcp, transport.rtcp_port)):
            # Several programs, or cameras that share a group, may listen.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Bound to the group, the socket hears nothing else on that port.
            opened.bind((str(group), port, *scope))
            if group.version == 4:
                _join_4(opened, group, source, local_address)
            else:
                _join_6(opened, group, source, index)
    except OSError as exc:
        rtp.close()
        rtcp.close()
        reason = os.strerror(exc.errno or 0)
        raise LocalError(f"this machine cannot join multicast group {group}: {reason}") from None
    return PortPair(rtp, rtcp)


def _join_4(opened: socket.socket, group: _Address, source: _Address | None, local: tuple[Any, ...]) -> None:
    interface = socket.inet_aton(local[0]) if _family(local) == socket.AF_INET else bytes(4)
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    if source is None:
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group.packed + interface)
    else:
        member = group.packed + interface + source.packed  # ip_mreq_source of Linux
        opened.setsockopt(socket.IPPROTO_IP, _IP_ADD_SOURCE_MEMBERSHIP, member)


def _join_6(opened: socket.socket, group: _Address, source: _Address | None, index: int) -> None:
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    if source is None:
        member = group.packed + struct.pack("=I", index)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
    else:
        pair = (_SOCKADDR_IN6.pack(socket.AF_INET6, 0, 0, item.packed, 0) for item in (group, source))
        member = struct.pack("=I4x", index) + b"".join(pair)  # group_source_req (RFC 3678 section 5.1.1)
        opened.setsockopt(socket.IPPROTO_IPV6, _MCAST_JOIN_SOURCE_GROUP, member)


class UdpReceiver:
    """Feeds one track from its pair of ports.

    Only packets of `hosts` are taken, from whatever port. The targets are where the camera may listen for
    what we send; those at a host in `unheard` get nothing before a packet came from there, as a camera can
    name anybody. `on_first` is called with True before the first RTP packet is handed on, with False before
    the first of RTCP; what it or the track raises goes to `on_error`.
    """

    def __init__(
        self,
        pair: PortPair,
        track: RtpTrack,
        clock: Clock,
        hosts: frozenset[str],
        rtp_targets: Sequence[tuple[Any, ...]],
        rtcp_targets: Sequence[tuple[Any, ...]],
        unheard: Collection[str],
        on_first: Callable[[bool], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self.foreign = 0
        "RTP packets that came from elsewhere; of RTCP it is usual in a multicast group."
        self._pair = pair
        self._track = track
        self._clock = clock
        self._hosts = hosts
        self._rtp_targets = rtp_targets
        self._rtcp_targets = rtcp_targets
        self._unheard = set(unheard)
        self._on_first = on_first
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = memoryview(bytearray(MAX_DATAGRAM_BYTES))
        self._known: tuple[Any, ...] | None = None
        self._rtp_came = False
        self._rtcp_came = False

    @property
    def kernel_drops(self) -> int:
        """RTP packets that came while the receive buffer was full."""
        return self._pair.kernel_drops

    def start(self) -> None:
        """Reads from now on; what came before waits in the sockets."""
        self._loop.add_reader(self._pair.rtp, self._read_rtp)
        self._loop.add_reader(self._pair.rtcp, self._read_rtcp)

    def stop(self) -> None:
        """Reads no more; to be called before the sockets are closed."""
        self._loop.remove_reader(self._pair.rtp)
        self._loop.remove_reader(self._pair.rtcp)
        if self._timer is not None:
            self._timer.cancel()

    def punch(self) -> None:
        """Opens, or keeps open, the way of RTP through NAT and firewalls."""
        self._send(self._pair.rtp, PUNCH, self._rtp_targets)

    def send_rtcp(self, packet: bytes) -> None:
        """Sends an RTCP packet to the camera."""
        self._send(self._pair.rtcp, packet, self._rtcp_targets)

    def _send(self, opened: socket.socket, data: bytes, targets: Sequence[tuple[Any, ...]]) -> None:
        for target in targets:
            if target[0] in self._unheard:
                continue
            # None of them is worth a failure: the watchdogs see what matters.
            with contextlib.suppress(OSError):
                opened.sendto(data, target)

    def _read(self, opened: socket.socket) -> list[bytes]:
        receive, buffer, known = opened.recvfrom_into, self._buffer, self._known
        packets: list[bytes] = []
        try:
            for _ in range(MAX_DATAGRAMS_PER_TURN):
                size, address = receive(buffer)
                if address != known:
                    if address[0] not in self._hosts:
                        self.foreign += opened is self._pair.rtp
                        continue
                    known = self._known = address
                    self._unheard.discard(address[0])
                packets.append(bytes(buffer[:size]))
        except OSError:
            # Nothing left; or an ICMP error about something sent before, and the socket goes on.
            return packets
        return packets

    def _read_rtp(self) -> None:
        packets = self._read(self._pair.rtp)
        if not packets:
            return
        try:
            if not self._rtp_came:
                self._rtp_came = True
                self._on_first(True)
            self._track.rtp(packets, self._clock.monotonic_s(), self._clock.utc_ns())
        except Exception as exc:
            self._on_error(exc)
            return
        if self._timer is None:
            self._wait()

    def _read_rtcp(self) -> None:
        packets = self._read(self._pair.rtcp)
        if not packets:
            return
        try:
            if not self._rtcp_came:
                self._rtcp_came = True
                self._on_first(False)
            self._track.rtcp(packets, self._clock.monotonic_s(), self._clock.utc_ns())
        except Exception as exc:
            self._on_error(exc)

    def _wait(self) -> None:
        """Looks again when the oldest gap is to be given up."""
        deadline = self._track.deadline
        self._timer = None
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.monotonic_s())
            self._timer = self._loop.call_later(delay, self._give_up)

    def _give_up(self) -> None:
        try:
            self._track.poll(self._clock.monotonic_s(), self._clock.utc_ns())
        except Exception as exc:
            self._on_error(exc)
            return
        self._wait()
