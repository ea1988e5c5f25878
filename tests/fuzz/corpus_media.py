"""Good inputs of viewers: what arrives at the media port, offers, trickled candidates."""

import hmac
import zlib
from struct import Struct

from common.rtcp_feedback import PSFB_FIR, RTCP_PSFB, RTCP_RTPFB, rtcp_packet
from common.rtp import (
    Goodbye,
    KeyframeRequest,
    Nack,
    ReceiverEstimate,
    ReceiverReport,
    ReportBlock,
    SourceDescription,
    TransportFeedback,
    serialize_rtcp,
)
from fanout.ice import stun
from fanout.ice.tcp import frames
from tests.fanout.offers import ALL
from tests.fuzz.corpus import framed

LOCAL_UFRAG, REMOTE_UFRAG, PASSWORD = "worker00", "viewer", "p" * 24
VIDEO_SSRC, RTX_SSRC, AUDIO_SSRC = 4711, 4712, 4713
FIRST_INDEX = 1000
"Of the video's packets."

_HEADER = Struct("!HHI12s")
_ATTRIBUTE = Struct("!HH")


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def stun_request(*attributes: tuple[int, bytes], kind: int = stun.BINDING_REQUEST) -> bytes:
    """A message with these attributes and none that closes it."""
    body = b"".join(_attribute(*each) for each in attributes)
    return _HEADER.pack(kind, len(body), stun.MAGIC_COOKIE, b"transaction!") + body


def mended(message: bytes) -> bytes:
    """The same message with the cookie, and the length that it has."""
    message += bytes(max(20 - len(message), -len(message) % 4))
    _, _, _, transaction_id = _HEADER.unpack_from(message)
    kind = int.from_bytes(message[:2], "big")
    return _HEADER.pack(kind, len(message) - 20 & 0xFFFF, stun.MAGIC_COOKIE, transaction_id) + message[20:]


def sealed(message: bytes) -> bytes:
    """The same message from one who knows the password: what a viewer may do that means harm."""
    message = mended(message)
    message = message[:2] + (len(message) + 4 & 0xFFFF).to_bytes(2, "big") + message[4:]
    message += _attribute(stun.MESSAGE_INTEGRITY, hmac.digest(PASSWORD.encode(), message, "sha1"))
    message = message[:2] + (len(message) - 12 & 0xFFFF).to_bytes(2, "big") + message[4:]
    crc = zlib.crc32(message) ^ 0x5354554E
    return message + _attribute(stun.FINGERPRINT, crc.to_bytes(4, "big"))


_USERNAME = (stun.USERNAME, f"{LOCAL_UFRAG}:{REMOTE_UFRAG}".encode())
_PRIORITY = (stun.PRIORITY, (0x6E7F1EFF).to_bytes(4, "big"))
_CONTROLLING = (stun.ICE_CONTROLLING, bytes(8))
CHECKS = (
    stun_request(_USERNAME, _PRIORITY, _CONTROLLING, (stun.USE_CANDIDATE, b"")),
    stun_request(_USERNAME, (0xC057, b"\0\1\0\2"), _CONTROLLING, _PRIORITY),
    stun_request(_USERNAME, (stun.ICE_CONTROLLED, bytes(8)), _PRIORITY),
    stun_request(_USERNAME, (0x7FFF, b"unknown"), _PRIORITY, _CONTROLLING),
)
"Without their ends: `sealed` makes them authentic."
MESSAGES = (
    *map(sealed, CHECKS),
    stun_request(_USERNAME, _PRIORITY, (stun.MESSAGE_INTEGRITY, bytes(20))),
    stun_request((stun.XOR_MAPPED_ADDRESS, b"\0\1\x21\x12\x21\x12\xa4\x42"), kind=stun.BINDING_SUCCESS),
    stun_request((stun.ERROR_CODE, b"\0\0\4\x01Unauthenticated"), kind=stun.BINDING_ERROR),
    stun_request(*((0x8000 + kind, b"") for kind in range(30))),
)


def _block(lost: int, highest: int) -> ReportBlock:
    return ReportBlock(VIDEO_SSRC, lost, lost, highest, 90, 0x1234_5678, 655)


def _arrivals(first: int, count: int, step_us: int, *, without: int = 0) -> TransportFeedback:
    told = range(first, first + count)
    received = tuple(
        (sequence & 0xFFFF, 64_000 + step_us * (sequence - first))
        for sequence in told
        if not without or sequence % without
    )
    return TransportFeedback(
        1, VIDEO_SSRC, first & 0xFFFF, first & 0xFF, received, count - len(received), count
    )


def _fir(*ssrcs: int) -> bytes:
    entries = b"".join(
        ssrc.to_bytes(4, "big") + bytes((number, 0, 0, 0)) for number, ssrc in enumerate(ssrcs)
    )
    return rtcp_packet(PSFB_FIR, RTCP_PSFB, bytes((0, 0, 0, 1, 0, 0, 0, 0)) + entries)


def _nack(*pairs: tuple[int, int]) -> bytes:
    entries = b"".join(_ATTRIBUTE.pack(pid & 0xFFFF, blp) for pid, blp in pairs)
    return rtcp_packet(1, RTCP_RTPFB, bytes((0, 0, 0, 1)) + VIDEO_SSRC.to_bytes(4, "big") + entries)


def _claim() -> bytes:
    """Transport feedback of 65,535 packets, of which the last 7 arrived."""
    chunks = b"\x1f\xff" * 8 + b"\x20\x07"
    return rtcp_packet(15, RTCP_RTPFB, bytes(8) + b"\0\0\xff\xff\0\0\1\0" + chunks + b"\4" * 7 + bytes(3))


def rtcp() -> tuple[bytes, ...]:
    """Compound packets as browsers send them, and the largest that still mean something."""
    report = serialize_rtcp(ReceiverReport(1, (_block(0, FIRST_INDEX + 20), _block(40, FIRST_INDEX + 60))))
    name = serialize_rtcp(SourceDescription(1, "viewer"))
    return (
        report
        + name
        + serialize_rtcp(Nack(1, VIDEO_SSRC, (FIRST_INDEX + 3, FIRST_INDEX + 4, FIRST_INDEX + 30))),
        report + serialize_rtcp(KeyframeRequest(1, VIDEO_SSRC)) + _fir(VIDEO_SSRC, 99),
        report + serialize_rtcp(ReceiverEstimate(1, 1_250_000, (VIDEO_SSRC, RTX_SSRC))),
        serialize_rtcp(_arrivals(0, 40, 250)) + serialize_rtcp(_arrivals(40, 30, 9_000, without=3)),
        serialize_rtcp(_arrivals(20, 20, 80_000)) + serialize_rtcp(_arrivals(0xFFF0, 40, 500)),
        # What was never sent, in lists of thousands and in claims of tens of thousands.
        _nack(*((FIRST_INDEX + 17 * number, 0xFFFF) for number in range(120))),
        _claim(),
        report + serialize_rtcp(Goodbye((1,))),
    )


def _timed(packets: tuple[bytes, ...], *steps: int) -> bytes:
    """Packets with the time between them in front, in 10 ms."""
    return framed(bytes((steps[number % len(steps)],)) + each for number, each in enumerate(packets))


RTCP = rtcp()
FEEDBACK = (
    _timed(RTCP, 4, 30),
    _timed(RTCP[3:5] * 3, 10),
    _timed(RTCP[5:7] * 2, 0),
    _timed((RTCP[3], RTCP[2], RTCP[0]) * 2, 120),
)

HELLO = bytes.fromhex(
    "16feff000000000000000000ce010000c200000000000000c2fefdbe3302df5bc5ff0da608148457b2ca035c0a312757f0d5"
    "49285acebb2dd1173e00000036c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c0"
    "09c0130033009d009c003d003c0035002f01000062ff01000100000b00020100000a000c000a001d0017001e001800190023"
    "0000000e00090006000100080007000016000000170000000d002a0028040305030603080708080809080a080b0804080508"
    "06040105010601030303010302040205020602"
)
"The first flight of a DTLS 1.2 client."


def _records(*contents: tuple[int, bytes], epoch: int = 0) -> bytes:
    """DTLS 1.2 records (RFC 6347 section 4.1)."""
    return b"".join(
        bytes((kind,)) + b"\xfe\xfd" + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
        + len(content).to_bytes(2, "big") + content
        for number, (kind, content) in enumerate(contents)
    )  # fmt: skip


RECORDS = (
    HELLO,
    _records((21, b"\2\x28"), (20, b"\1"), (22, bytes(30))),
    _records((22, HELLO[13:]), (22, HELLO[13:])),
    _records((21, bytes(26)), (23, bytes(60)), epoch=1),
    _records((24, b"\1\x40\0" + bytes(20)), (26, bytes(40)), epoch=2),
    b"\x2f\0\1" + bytes(40),  # a unified header of DTLS 1.3 (RFC 9147 section 4)
)


def _from(source: int, data: bytes) -> bytes:
    return bytes((source,)) + data


# What `targets_media` makes of the octet in front: where from, over what, and whether it is authentic.
SEAL, TCP, END = 0x20, 0x40, 0x80
PORT = (
    framed([_from(SEAL | 1, CHECKS[0]), _from(1, HELLO), _from(2, HELLO), _from(1, b"\x80\xc9" + bytes(30))]),
    framed(
        [_from(SEAL | TCP | 1, CHECKS[0]), _from(TCP | 1, HELLO), _from(TCP | 2, HELLO), _from(END | 1, b"x")]
    ),
    framed([_from(SEAL | source, CHECKS[source % 2]) for source in range(24)]),
    framed([_from(SEAL | TCP | source, CHECKS[0]) for source in range(24)] + [_from(END | 23, b"x")]),
    framed([_from(source, message) for source, message in enumerate(MESSAGES)]),
    framed([_from(SEAL | 3, check) for check in CHECKS] + [_from(3, RTCP[0]), _from(4, RTCP[0])]),
)
FRAMES = (
    frames([MESSAGES[0], HELLO]),
    b"\0\0" + frames([b"x", RTCP[0]]) + b"\x08\0x",
    b"GET / HTTP/1.1\r\n\r\n",
)

FRAGMENT = (
    f"a=ice-ufrag:{REMOTE_UFRAG}\r\na=ice-pwd:{PASSWORD}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    "a=candidate:1 1 udp 2113937151 192.0.2.7 52000 typ host generation 0 ufrag viewer network-cost 999\r\n"
    "a=candidate:2 1 UDP 2113939711 2001:db8::7 52001 typ host\r\n"
    "a=candidate:3 1 udp 2113937151 5b7a1d7c-92b0-4c1b-9b1f-0d3f6a1f2b11.local 52002 typ host\r\n"
    "a=candidate:4 1 udp 1677729535 198.51.100.7 52003 typ srflx raddr 0.0.0.0 rport 0\r\n"
    "a=candidate:5 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active\r\n"
    "a=end-of-candidates\r\n"
).encode()
MANY = b"".join(
    b"a=candidate:%d 1 udp %d 192.0.2.%d %d typ host\r\n" % (number, 1000 + number, number, 5000 + number)
    for number in range(1, 60)
)
OFFERS = tuple(each.encode() for each in ALL)
