"""RTP of real senders (FFmpeg, GStreamer) over loopback, with the session description they wrote."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from common.rtp import RtpPacket, parse_rtp
from tests.support.ports import free_media_ports

GSTREAMER = """
import sys
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
pipeline = Gst.parse_launch(sys.argv[1])
pipeline.set_state(Gst.State.PLAYING)
message = pipeline.get_bus().timed_pop_filtered(20 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
assert message is not None and message.type == Gst.MessageType.EOS, message and message.parse_error()
caps = pipeline.get_by_name("pay").get_static_pad("src").get_current_caps().get_structure(0)
for number in range(caps.n_fields()):
    name = caps.nth_field_name(number)
    print(name, caps.get_value(name), sep="=")
pipeline.set_state(Gst.State.NULL)
"""


@dataclass(frozen=True)
class Sent:
    """What arrived, and what the sender says it is."""

    packets: list[RtpPacket]
    rtpmap: str
    fmtp: dict[str, str]

    def feed(self, depacketizer):
        """All frames; every packet without loss."""
        found = []
        for packet in self.packets:
            depacketizer.push(packet.timestamp, packet.marker, packet.payload, 1)
            found += depacketizer.frames()
        return found


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def ffmpeg(*arguments: str | Path) -> None:
    run("ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments)


@contextlib.contextmanager
def receiving() -> Iterator[tuple[int, list[RtpPacket]]]:
    """A port and, after the block, the packets that came: loopback delivers before the sender ends."""
    port = free_media_ports(2)
    packets: list[RtpPacket] = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp,
    ):
        rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        rtp.bind(("127.0.0.1", port))
        rtcp.bind(("127.0.0.1", port + 1))
        yield port, packets
        rtp.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                packets.append(parse_rtp(rtp.recv(65536)))
    assert [packet.sequence for packet in packets] == [
        packets[0].sequence + number & 0xFFFF for number in range(len(packets))
    ]


def send_with_ffmpeg(source: Path, *options: str, query: str = "") -> Sent:
    """The first audio track as it is."""
    description = source.with_suffix(".sdp")
    with receiving() as (port, packets):
        url = f"rtp://127.0.0.1:{port}{query}"
        ffmpeg("-i", source, "-c", "copy", *options, "-f", "rtp", "-sdp_file", description, url)
    rtpmap, fmtp = "", {}
    for line in description.read_text().splitlines():
        if line.startswith("a=rtpmap:"):
            rtpmap = line.split(" ", 1)[1]
        elif line.startswith("a=fmtp:"):
            pairs = (item.partition("=") for item in line.split(" ", 1)[1].split(";"))
            fmtp = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Sent(packets, rtpmap, fmtp)


def send_with_gstreamer(pipeline: str) -> Sent:
    """A pipeline that ends in a payloader called `pay`."""
    with receiving() as (port, packets):
        sink = f"udpsink host=127.0.0.1 port={port} sync=false"
        caps = run("/usr/bin/python3", "-c", GSTREAMER, f"{pipeline} ! {sink}")
    fields = dict(line.split("=", 1) for line in caps.splitlines())
    rtpmap = f"{fields['encoding-name']}/{fields['clock-rate']}/{fields.get('encoding-params', 1)}"
    return Sent(packets, rtpmap, fields)


def file_packets(source: Path) -> tuple[bytes, list[bytes]]:
    """Extradata and packets of the audio track, read by libav."""
    with av.open(str(source)) as container:
        stream = container.streams.audio[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        return bytes(stream.codec_context.extradata or b""), packets


def decode(frames: Sequence[bytes], codec: str, extradata: bytes = b"") -> int:
    """Decodes all frames by libav, which raises on broken ones; how many samples per channel they are."""
    context = av.CodecContext.create(codec, "r")
    if extradata:
        context.extradata = extradata
    return sum(decoded.samples for frame in frames for decoded in context.decode(av.Packet(frame)))
