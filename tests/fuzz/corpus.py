"""Good inputs to begin from: RTP of every codec, RTSP exchanges, descriptions."""

import functools
import random
from collections.abc import Callable, Iterable
from fractions import Fraction

import av

from common.rtp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    RtpPacket,
    SenderReport,
    SourceDescription,
    serialize_rtcp,
    serialize_rtp,
)
from ingest.rtsp.sdp import Track
from ingest.simulated.jpeg_payloads import jpeg_payloads
from ingest.simulated.payloads import aac_payload, h264_payloads, h265_payloads
from tests.ingest.rtsp.exchanges import FOLDER, load

H264_SETS = (
    bytes.fromhex("6764001facd9405005bb011000000300100000030320f1831960"),
    bytes.fromhex("68ebe3cb22c0"),
)
H265_SETS = (
    bytes.fromhex("40010c01ffff01600000030090000003000003003f95980900"),
    bytes.fromhex("42010101600000030090000003000003003fa00a080f165ba4a4c2f0168080000003008000000c84"),
    bytes.fromhex("4401c1731840890000"),
)
AUDIO_CONFIG = "1190"  # AAC-LC, 48 kHz, 2 channels
_KINDS = {"H264": "video", "H265": "video", "JPEG": "video"}
_SSRC = 0x0BE7C401


def track(encoding: str, clock_rate: int, channels: int = 0, **parameters: str) -> Track:
    """A track as SDP would describe it, payload type 96."""
    kind = "video" if _KINDS.get(encoding) else "audio"
    pairs = tuple((name.replace("_", "-"), value) for name, value in parameters.items())
    return Track(kind, encoding, 96, clock_rate, channels, pairs, "rtsp://cam/1")


TRACKS = {
    "h264": track("H264", 90_000, packetization_mode="1"),
    "h265": track("H265", 90_000),
    "jpeg": track("JPEG", 90_000),
    "aac": track(
        "MPEG4-GENERIC",
        48_000,
        2,
        mode="AAC-hbr",
        config=AUDIO_CONFIG,
        sizelength="13",
        indexlength="3",
        indexdeltalength="3",
    ),
    "latm": track("MP4A-LATM", 48_000, 2, cpresent="1"),
    "opus": track("OPUS", 48_000, 2),
    "l16": track("L16", 44_100, 2),
}


@functools.cache
def jpeg() -> bytes:
    """A small baseline JPEG with the standard Huffman tables."""
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"huffman": "default"}
    (packet,) = encoder.encode(av.VideoFrame(64, 48, "yuvj420p"))
    return bytes(packet)


def _slices(header: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    return [header + b"\x88" + rng.randbytes(size) for size in (20, 3000, 200)]


def _payloads(codec: str) -> Iterable[list[bytes]]:
    """The payloads of three access units."""
    match codec:
        case "h264":
            fragment: Callable[[bytes], list[bytes]] = h264_payloads
            nals = _slices(b"\x65", 1)
            aggregate = b"\x78" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in H264_SETS)
            units = [[aggregate, nals[1]], [b"\x41" + nals[0][1:]], [*H264_SETS, nals[2]]]
        case "h265":
            fragment = h265_payloads
            nals = _slices(b"\x26\x01", 2)
            aggregate = b"\x60\x01" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in H265_SETS)
            units = [[aggregate, nals[1]], [b"\x02\x01" + nals[0][2:]], [*H265_SETS, nals[2]]]
        case "jpeg":
            return [jpeg_payloads(jpeg())] * 3
        case "aac":
            two = b"\x00\x20" + b"\x00\x28\x00\x28" + bytes(10)
            return [[aac_payload(bytes(20))], [two], [aac_payload(random.Random(3).randbytes(700))]]
        case "latm":
            # useSameStreamMux 0, audioMuxVersion 0, one program, one layer, AAC-LC; then 5 octets.
            return [[bytes.fromhex("40002410fc000a") + bytes(10)], [b"\x85" + bytes(6)], [b"\x80" + bytes(9)]]
        case _:
            return [[bytes(160)], [random.Random(4).randbytes(320)], [b"\xfc\xff\xfe"]]
    return [[payload for nal in unit for payload in fragment(nal)] for unit in units]


def rtp(codec: str) -> list[bytes]:
    """RTP packets of three access units."""
    packets = []
    for number, payloads in enumerate(_payloads(codec)):
        for payload in payloads:
            packet = RtpPacket(
                payload_type=96,
                marker=payload is payloads[-1],
                sequence=65_534 + len(packets) & 0xFFFF,
                timestamp=number * 3600,
                ssrc=_SSRC,
                payload=payload,
            )
            packets.append(serialize_rtp(packet))
    return packets


def rtcp() -> list[bytes]:
    """Compound packets as cameras send them."""
    block = ReportBlock(_SSRC, 3, -5, 70_000, 12, 5, 6)
    sender = SenderReport(_SSRC, 0xE0000000_80000000, 3600, 10, 9000, (block,))
    return [
        serialize_rtcp(sender) + serialize_rtcp(SourceDescription(_SSRC, "camera")),
        serialize_rtcp(ReceiverReport(1, (block, block))),
        serialize_rtcp(sender) + serialize_rtcp(Goodbye((_SSRC,))),
    ]


def framed(packets: Iterable[bytes]) -> bytes:
    """Packets one after the other, each behind its length in 16 bits, as one input."""
    return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


def unframed(data: bytes) -> list[bytes]:
    """What `framed` made, or whatever damage left of it."""
    packets = []
    at = 0
    while at + 2 <= len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        packets.append(data[at + 2 : end])
        at = end
    return packets


SDP = b"""v=0\r
o=- 1 1 IN IP4 192.0.2.1\r
s=Media\r
c=IN IP4 0.0.0.0\r
t=0 0\r
a=control:*\r
a=range:npt=0-\r
m=video 0 RTP/AVP 96\r
a=rtpmap:96 H264/90000\r
a=fmtp:96 packetization-mode=1;profile-level-id=64001F;sprop-parameter-sets=Z2QAH6zZQFAFuwEQAAADABAAAAMDIPGDGWA=,aOvjyyLA\r
a=framesize:96 1280-720\r
a=control:trackID=0\r
m=audio 0 RTP/AVP 97 8\r
c=IN IP4 239.1.2.3/64\r
a=rtpmap:97 MPEG4-GENERIC/48000/2\r
a=fmtp:97 streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190\r
a=control:rtsp://192.0.2.1/trackID=1\r
m=application 0 RTP/AVP 107\r
a=rtpmap:107 vnd.onvif.metadata/90000\r
"""  # noqa: E501


def responses() -> bytes:
    """A camera's side of a whole session."""
    base = b"CSeq: %d\r\nServer: Camera/1.0\r\n"
    described = (
        b"Content-Base: rtsp://cam/live/\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n"
    )
    answers = [
        b"Public: OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY, GET_PARAMETER\r\n\r\n",
        described % len(SDP) + SDP,
        b"Session: 12345678;timeout=60\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
        b"Session: 12345678\r\nTransport: RTP/AVP/TCP;unicast;interleaved=2-3\r\n\r\n",
        b"Session: 12345678\r\nRange: npt=now-\r\nRTP-Info: url=rtsp://cam/live/trackID=0;seq=1\r\n\r\n",
    ]
    said = [b"RTSP/1.0 200 OK\r\n" + base % number + text for number, text in enumerate(answers, 1)]
    media = [b"$\0" + len(packet).to_bytes(2, "big") + packet for packet in rtp("h264")]
    reports = [b"$\1" + len(packet).to_bytes(2, "big") + packet for packet in rtcp()[:1]]
    asked = b"OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\n"
    return b"".join([*said, *media, *reports, asked])


def challenged() -> bytes:
    """A camera that wants a login for DESCRIBE, then lets in."""
    offer = (
        b'WWW-Authenticate: Digest realm="cam", nonce="0123", qop="auth", algorithm=SHA-256\r\n'
        b'WWW-Authenticate: Basic realm="cam"\r\n\r\n'
    )
    head = b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n"
    return head + offer + b"RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n" + responses()


def exchanges() -> tuple[bytes, ...]:
    """The cameras' sides of all recorded and written exchanges."""
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        said = [what for kind, what in load(path).steps if kind == "receive" and isinstance(what, bytes)]
        found.append(b"".join(said))
    return tuple(found)
