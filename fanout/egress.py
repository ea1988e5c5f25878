"""The way out of a worker: protected runs to the kernel, one system call each (UDP_SEGMENT, udp(7))."""

import errno
import logging
import socket
from collections.abc import Sequence
from struct import Struct

log = logging.getLogger(__name__)

_SOL_UDP = 17
_UDP_SEGMENT = 103
_SEGMENT_SIZE = Struct("=H")
# What a kernel or network card without segmentation offload answers.
_NO_GSO = frozenset({errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP})

Address = tuple[str, int]


class Egress:
    """Sends on the worker's UDP socket and counts."""

    def __init__(self, sock: socket.socket, gso: bool = True) -> None:
        self._socket = sock
        self._gso = gso
        self._control: dict[int, list[tuple[int, int, bytes]]] = {}
        self.packets = 0
        "RTP packets handed to the kernel."
        self.refused = 0
        "Runs that the kernel did not take: its buffer is full or there is no route."

    def send_run(self, packets: Sequence[bytes], address: Address) -> bool:
        """Sends one run given as header, body, header, body, …; False when the kernel does not take it.

        All packets have the size of the first; the last may be smaller.
        """
        try:
            if len(packets) == 2:
                self._socket.sendmsg(packets, (), 0, address)
            elif self._gso:
                size = len(packets[0]) + len(packets[1])
                control = self._control.get(size)
                if control is None:
                    control = [(_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(size))]
                    self._control[size] = control
                self._socket.sendmsg(packets, control, 0, address)
            else:
                for at in range(0, len(packets), 2):
                    self._socket.sendmsg(packets[at : at + 2], (), 0, address)
        except OSError as exc:
            if self._gso and len(packets) > 2 and exc.errno in _NO_GSO:
                log.warning(
                    "! the kernel refuses UDP_SEGMENT (%s); packets are sent one by one", exc.strerror
                )
                self._gso = False
                return self.send_run(packets, address)
            self.refused += 1
            return False
        self.packets += len(packets) // 2
        return True

    def send_datagram(self, data: bytes, address: Address) -> None:
        """Sends DTLS, STUN or RTCP; a lost one is repeated by its protocol."""
        try:
            self._socket.sendto(data, address)
        except OSError:
            self.refused += 1
