"""Ways out for packets: frames of the RTSP connection (RFC 2326 section 10.12), or UDP."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from common.errors import LocalError
from ingest.simulated.transports import MULTICAST_TTL

MAX_UNSENT_BYTES = 1 << 20  # some 4 s of video
_BIND_TRIES = 50


class Outlet(Protocol):
    """Where one track goes; equal outlets lead to the same place. `hash()` has to work."""

    def send(self, packets: Sequence[bytes], keyframe: bool) -> None:
        """RTP packets of one access unit."""

    def send_report(self, report: bytes) -> None:
        """One RTCP packet."""


class InterleavedOutlet:
    """Two channels of a connection; a client that does not read loses whole pictures up to a keyframe."""

    def __init__(self, writer: asyncio.StreamWriter, rtp_channel: int, rtcp_channel: int) -> None:
        self._writer = writer
        self._rtp = b"$" + bytes((rtp_channel,))
        self._rtcp = b"$" + bytes((rtcp_channel,))
        self._needs_keyframe = True
        self.dropped = 0

    def send(self, packets: Sequence[bytes], keyframe: bool) -> None:
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._needs_keyframe = True
        elif keyframe:
            self._needs_keyframe = False
        if self._needs_keyframe:
            self.dropped += 1
        else:
            self._writer.write(
                b"".join(self._rtp + len(packet).to_bytes(2, "big") + packet for packet in packets)
            )

    def send_report(self, report: bytes) -> None:
        if not self._needs_keyframe:
            self._writer.write(self._rtcp + len(report).to_bytes(2, "big") + report)


class MediaSockets:
    """A port pair that all tracks are sent from; what clients send to it nobody reads."""

    def __init__(self, family: socket.AddressFamily, host: str) -> None:
        """Raises LocalError when there is no pair of neighbouring ports."""
        for _ in range(_BIND_TRIES):
            self.rtp = socket.socket(family, socket.SOCK_DGRAM)
            self.rtcp = socket.socket(family, socket.SOCK_DGRAM)
            with contextlib.suppress(OSError, OverflowError):
                self.rtp.bind((host, 0))
                first: int = self.rtp.getsockname()[1]
                if first % 2 == 0:  # RFC 3550 section 11
                    self.rtcp.bind((host, first + 1))
                    break
            self.close()
        else:
            raise LocalError(f"simulated camera finds no two UDP ports side by side on {host}")
        self.ports = (first, first + 1)
        for one in (self.rtp, self.rtcp):
            one.setblocking(False)
            if family == socket.AF_INET:
                one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, MULTICAST_TTL)
                one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


@dataclass(frozen=True, slots=True)
class DatagramOutlet:
    """UDP to a client or a group; what the kernel does not take is lost, as on any network."""

    sockets: MediaSockets
    host: str
    rtp_port: int
    rtcp_port: int

    def send(self, packets: Sequence[bytes], keyframe: bool) -> None:
        with contextlib.suppress(OSError):
            for packet in packets:
                self.sockets.rtp.sendto(packet, (self.host, self.rtp_port))

    def send_report(self, report: bytes) -> None:
        with contextlib.suppress(OSError):
            self.sockets.rtcp.sendto(report, (self.host, self.rtcp_port))
