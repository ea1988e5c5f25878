"""FFmpeg as the other end of our packets: what its RTP reader makes of them, over loopback."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av

from common.h264 import split_annex_b
from common.rtp import RTCP_BYE, RTCP_RR, RtpPacket, serialize_rtp
from fanout.packetizing.packetized import PacketizedUnit
from tests.support.ports import free_media_ports

PAYLOAD_TYPE = 96
SSRC = 4711
DEADLINE_S = 20.0
# A goodbye, behind an empty report as all RTCP begins with one (RFC 3550 sections 6.1, 6.6).
_BYE = struct.pack("!BBHIBBHI", 0x80, RTCP_RR, 1, SSRC, 0x81, RTCP_BYE, 1, SSRC)
_MAX_QUEUED_OCTETS = 50_000  # of the kernel's usual 200 kB


def _queued_octets(port: int) -> int | None:
    """What waits in the receiving socket at this UDP port; None when there is no such socket."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        _, local, _, _, queues, *_ = line.split()
        if int(local.rpartition(":")[2], 16) == port:
            return int(queues.rpartition(":")[2], 16)
    return None


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "FFmpeg does not read"
        time.sleep(0.001)


class _Reader(threading.Thread):
    """Reads to the end of the stream."""

    def __init__(self, description: Path) -> None:
        super().__init__(daemon=True)
        self.nals: list[bytes] = []
        self.error: Exception | None = None
        self._description = description

    def run(self) -> None:
        options = {"protocol_whitelist": "file,udp,rtp"}
        try:
            with av.open(str(self._description), format="sdp", options=options, timeout=DEADLINE_S) as stream:
                for packet in stream.demux():
                    self.nals += split_annex_b(bytes(packet))
        except Exception as exc:
            self.error = exc


def nals_read_by_ffmpeg(units: Sequence[PacketizedUnit], directory: Path) -> list[bytes]:
    """Sends the packets as RTP to FFmpeg; gives the NAL units that it reads, in their order."""
    port = free_media_ports(2)
    description = directory / "packetizer.sdp"
    description.write_text(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=video {port} RTP/AVP {PAYLOAD_TYPE}\r\na=rtpmap:{PAYLOAD_TYPE} {units[0].codec}/90000\r\n"
    )
    reader = _Reader(description)
    reader.start()
    _until(lambda: not reader.is_alive() or None not in (_queued_octets(port), _queued_octets(port + 1)))
    sequence = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for unit in units:
            payloads = [payload for run in unit.runs for payload in run]
            for position, payload in enumerate(payloads, start=1):
                _until(lambda: (_queued_octets(port) or 0) < _MAX_QUEUED_OCTETS)
                marker = position == len(payloads)
                packet = RtpPacket(PAYLOAD_TYPE, marker, sequence, unit.timestamp, SSRC, payload)
                sender.sendto(serialize_rtp(packet), ("127.0.0.1", port))
                sequence = sequence + 1 & 0xFFFF
        _until(lambda: not _queued_octets(port))
        sender.sendto(_BYE, ("127.0.0.1", port + 1))
    reader.join(DEADLINE_S)
    assert not reader.is_alive() and reader.error is None, reader.error
    return reader.nals
