"""How datagrams reach one viewer: UDP of the worker's port, a TCP connection, or an ICE agent of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Destination:
    """Both ends of a UDP path on the worker's socket."""

    host: str
    "The viewer's address: dotted IPv4, or IPv6 without brackets and scope."
    port: int
    local: str
    "Our address that the viewer's checks were sent to; packets leave from it (IP_PKTINFO, ip(7))."


class Path(Protocol):
    """A selected candidate pair."""

    destination: Destination | None
    "Set for UDP of the worker's port: the egress sends there itself; None: `send_packets` is the way."

    @property
    def waiting_octets(self) -> int:
        """Taken by `send_packets` and not yet by the kernel; 0 for UDP."""
        ...

    def send_datagram(self, data: bytes) -> None:
        """Sends DTLS, STUN or RTCP; a lost one is repeated by its protocol."""
        ...

    def send_packets(self, packets: Sequence[bytes]) -> bool:
        """Sends whole SRTP packets in order, all or none; False when the way is full."""
        ...

    def __str__(self) -> str:
        """For people: `udp 192.0.2.7:5000`."""
        ...
