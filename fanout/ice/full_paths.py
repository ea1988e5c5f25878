"""The paths of full ICE: a pair on a viewer's own socket, or on a TURN allocation."""

import errno
import socket
from collections.abc import Sequence
from struct import Struct

from fanout.ice.paths import Destination
from fanout.ice.turn import Address, Allocation
from fanout.packetizing.packetized import group

MAX_WAITING_OCTETS = 128 << 10  # a quarter of a second at 4 Mbit/s
_UDP_SEGMENT = 103
_SEGMENT_SIZE = Struct("=H")
_NO_TRAINS = frozenset({errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EMSGSIZE})


class SocketPath:
    """A nominated pair on a socket of ours."""

    destination: Destination | None = None
    waiting_octets = 0

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self._socket = sock
        self._address = address
        self._trains = True

    def send_datagram(self, data: bytes) -> None:
        """Sends DTLS or RTCP; what the kernel does not take is lost, and repeated by its protocol."""
        self.send_packets((data,))

    def send_packets(self, packets: Sequence[bytes]) -> bool:
        """Sends in order up to the first that the kernel does not take; False when there was one."""
        try:
            for run in group(list(packets)):
                if len(run) == 1 or not self._train(run):
                    for packet in run:
                        self._socket.sendto(packet, self._address)
        except OSError:
            return False
        return True

    def _train(self, run: tuple[bytes, ...]) -> bool:
        """Sends a run in one system call (UDP_SEGMENT, udp(7)); False when this way out takes none."""
        if self._trains:
            segment = (socket.IPPROTO_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(len(run[0])))
            try:
                self._socket.sendmsg(run, (segment,), 0, self._address)
            except OSError as exc:
                if exc.errno not in _NO_TRAINS:
                    raise
                self._trains = False
        return self._trains

    def __str__(self) -> str:
        return f"udp {shown(self._address)}"


class RelayedPath:
    """A nominated pair on a TURN allocation of ours."""

    destination: Destination | None = None

    def __init__(self, allocation: Allocation, address: Address) -> None:
        self._allocation = allocation
        self._address = address

    @property
    def waiting_octets(self) -> int:
        """On the way to the TURN server."""
        return self._allocation.get_write_buffer_size()

    def send_datagram(self, data: bytes) -> None:
        """Sends DTLS or RTCP."""
        self._allocation.sendto(data, self._address)

    def send_packets(self, packets: Sequence[bytes]) -> bool:
        """Sends all in order, or none while too much waits for the TURN server."""
        allocation, address = self._allocation, self._address
        if allocation.is_closing() or allocation.get_write_buffer_size() > MAX_WAITING_OCTETS:
            return False
        for packet in packets:
            allocation.sendto(packet, address)
        return True

    def __str__(self) -> str:
        return f"relayed {shown(self._address)}"


def shown(address: Address) -> str:
    """Address and port for people."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
