"""A viewer's outgoing streams on a real socket, with the decrypting other end."""

import os
import socket

import pylibsrtp

from common.rtp import RtpPacket, parse_rtp
from fanout.egress import Egress, Extensions, Lane, TransportLog
from fanout.history import History
from fanout.ice.paths import Destination
from fanout.outlet import Outlet
from fanout.pacer import Paced
from fanout.packetizing.packetized import PacketizedUnit
from fanout.packetizing.packetizer import packetize
from fanout.sender import RtpSender
from fanout.srtp import MasterKey, session_keys
from tests.fanout.units import FRAME_TICKS, access_unit

SSRC, RTX_SSRC = 4711, 4712
PAYLOAD_TYPES = {"H264": 102, "H265": 104}
RTX_PAYLOAD_TYPES = {"H264": 103}
KEY, SALT = os.urandom(16), os.urandom(12)


class UdpPath:
    """UDP of the egress' socket."""

    waiting_octets = 0

    def __init__(self, sock: socket.socket, host: str, port: int) -> None:
        self._socket = sock
        self.destination: Destination | None = Destination(host, port, "")

    def send_datagram(self, data: bytes) -> None:
        assert self.destination is not None
        self._socket.sendto(data, (self.destination.host, self.destination.port))

    def send_packets(self, packets: list[bytes]) -> bool:
        for packet in packets:
            self.send_datagram(packet)
        return True


class FullPath:
    """Takes whole packets until it is full."""

    destination = None
    waiting_octets = 0

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.full = False

    def send_datagram(self, data: bytes) -> None:
        self.packets.append(data)

    def send_packets(self, packets: list[bytes]) -> bool:
        if not self.full:
            self.packets += packets
        return not self.full


class Source:
    """A camera's track as a sender sees it; `make` adds units to its history."""

    def __init__(self, bitrate: int = 4_000_000, codec: str = "H264") -> None:
        self.history = History()
        self.bitrate = bitrate
        self.frame_ticks = FRAME_TICKS
        self._codec = codec

    def make(
        self, sequence: int, keyframe: bool = False, size: int = 3000, capture_ntp: int = 0
    ) -> PacketizedUnit:
        unit = access_unit(sequence, keyframe, size, codec=self._codec)
        number = self.history.next_number
        packetized = packetize(unit, sequence * FRAME_TICKS, number, capture_ntp)
        assert packetized is not None
        self.history.add(packetized)
        return packetized


class Wire:
    """A sender and the decrypting other end of its socket; paces nothing by itself."""

    def __init__(self, gso: bool = True) -> None:
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.setblocking(False)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.egress = Egress(self.socket.fileno(), -1, gso)
        self.path = UdpPath(self.socket, *self.receiver.getsockname())
        self.outlet = Outlet(self.egress, self.path)
        self.keys = session_keys(MasterKey("SRTP_AEAD_AES_128_GCM", KEY, SALT))
        self.log = TransportLog()
        self.lane = self.make_lane(SSRC, PAYLOAD_TYPES["H264"])
        self.rtx = self.make_lane(RTX_SSRC, RTX_PAYLOAD_TYPES["H264"])
        self.outlet.add(self.rtx)
        self.problems: list[str] = []
        self.paced: list[Paced] = []
        self.now = 100.0
        self.source = Source()
        self.sender = RtpSender(self.outlet, self, self.lane, PAYLOAD_TYPES, self.problems.append)
        self.sender.follow(self.source)
        self._srtp = pylibsrtp.Session(
            pylibsrtp.Policy(
                key=KEY + SALT,
                ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
                srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
            )
        )

    def make_lane(self, ssrc: int, payload_type: int) -> Lane:
        return Lane(self.keys, ssrc, payload_type, 1000, 0, Extensions(), self.log)

    def add(self, paced: Paced) -> None:
        self.paced.append(paced)

    def discard(self, paced: Paced) -> None:
        self.paced.clear()

    def send(self, unit: PacketizedUnit) -> None:
        """What a track does with a live unit."""
        lane = self.sender.ready(unit)
        if lane is not None and not self.egress.send(lane, unit.runs, unit.timestamp, True, unit.capture_ntp):
            self.sender.refused()

    def pump(self) -> list[int]:
        """Pumps to the end; gives the packets of each portion."""
        portions = []
        while True:
            before = self.lane.packets
            due = self.sender.pump(self.now)
            portions.append(self.lane.packets - before)
            if due is None:
                return portions
            assert due > self.now
            self.now = due

    def received(self) -> list[RtpPacket]:
        packets = []
        while True:
            try:
                packets.append(parse_rtp(self._srtp.unprotect(self.receiver.recv(2048))))
            except BlockingIOError:
                return packets

    def close(self) -> None:
        self.receiver.close()
        self.socket.close()
