"""The way out of a worker: protected runs to the kernel, one system call each (UDP_SEGMENT, udp(7))."""

import contextlib
import errno
import socket
from collections.abc import Sequence
from struct import Struct

_SOL_UDP = 17
_UDP_SEGMENT = 103
_SEGMENT_SIZE = Struct("=H")
# What a way out without segmentation offload answers.
_NO_GSO = frozenset({errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP})

Address = tuple[str, int]


def segmentation_offload() -> bool:
    """True when this kernel takes datagram trains; tried on a socket of its own."""
    control = [(_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(1))]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.sendmsg([b"12"], control, 0, probe.getsockname()) == 2
    return False


class Egress:
    """Sends on the worker's UDP socket and counts."""

    def __init__(self, sock: socket.socket, gso: bool) -> None:
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
            elif not self._send_single(packets, address):
                self.refused += 1
                return False
        except OSError as exc:
            # This way out, not the kernel, cannot take a train: a small MTU, a card without offload.
            if not (self._gso and exc.errno in _NO_GSO and self._send_single(packets, address)):
                self.refused += 1
                return False
        self.packets += len(packets) // 2
        return True

    def _send_single(self, packets: Sequence[bytes], address: Address) -> bool:
        try:
            for at in range(0, len(packets), 2):
                self._socket.sendmsg(packets[at : at + 2], (), 0, address)
        except OSError:
            return False
        return True

    def send_datagram(self, data: bytes, address: Address) -> None:
        """Sends DTLS, STUN or RTCP; a lost one is repeated by its protocol."""
        try:
            self._socket.sendto(data, address)
        except OSError:
            self.refused += 1
