"""Real RTP of other programs: FFmpeg's muxer over a loopback socket, GStreamer's payloaders."""

import socket
import struct
import subprocess
import threading
from pathlib import Path

from common.rtp import RtpPacket, parse_rtp

SIZE = struct.Struct("!I")
SCRIPT = Path(__file__).with_name("gst_payloader.py")
DEADLINE_S = 60
RECEIVE_BUFFER_BYTES = 4 << 20


def ffmpeg_rtp(arguments: list[str], outputs: list[str], packet_size: int) -> list[RtpPacket]:
    """Runs ffmpeg with one RTP output; gives what it sent. `outputs` are more outputs of the same stream."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp,
    ):
        for each in (rtp, rtcp):
            each.bind(("127.0.0.1", 0))
        rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        datagrams: list[bytes] = []
        end = b"end"

        def receive() -> None:
            while (datagram := rtp.recv(65_536)) != end:
                datagrams.append(datagram)

        receiver = threading.Thread(target=receive)
        receiver.start()
        try:
            port, rtcp_port = rtp.getsockname()[1], rtcp.getsockname()[1]
            url = f"rtp\\://127.0.0.1\\:{port}?rtcpport={rtcp_port}&pkt_size={packet_size}"
            tee = "|".join((f"[f=rtp]{url}", *outputs))
            command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, "-map", "0:v", "-f", "tee", tee]
            subprocess.run(command, check=True, timeout=DEADLINE_S)
        finally:
            rtcp.sendto(end, rtp.getsockname())
            receiver.join(DEADLINE_S)
    return [parse_rtp(datagram) for datagram in datagrams]


def gst(caps: str, elements: str, frames: list[bytes]) -> list[bytes]:
    """What GStreamer's elements make of these frames, 40 ms apart."""
    data = b"".join(SIZE.pack(len(frame)) + frame for frame in frames)
    command = ["/usr/bin/python3", str(SCRIPT), caps, elements]
    output = subprocess.run(command, input=data, capture_output=True, timeout=DEADLINE_S)
    assert output.returncode == 0, output.stderr.decode()
    made, at = [], 0
    while at < len(output.stdout):
        end = at + SIZE.size + SIZE.unpack_from(output.stdout, at)[0]
        made.append(output.stdout[at + SIZE.size : end])
        at = end
    return made


def gst_rtp(caps: str, payloader: str, frames: list[bytes]) -> list[RtpPacket]:
    """The same for elements of which the last is a payloader."""
    return [parse_rtp(packet) for packet in gst(caps, payloader, frames)]
