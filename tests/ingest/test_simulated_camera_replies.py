"""The simulated camera's side of RTSP, its pixels and its packets, without IO."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.h264 import NAL_FU_A, parse_sps
from common.rtp import parse_rtp
from ingest.simulated.drawing import ADVANCE, GLYPH_HEIGHT, INK, MARGIN, PAPER, paint, text_rows
from ingest.simulated.packets import MAX_PAYLOAD_BYTES, RtpStream, payloads
from ingest.simulated.picture import FPS, HEIGHT, WIDTH, caption, stream_parameter_sets
from ingest.simulated.replies import (
    MAX_REQUEST_BYTES,
    Conversation,
    Ended,
    Playing,
    Ready,
    RequestError,
    Waiting,
    describe,
)

URL = "rtsp://127.0.0.1:8554/simulated"
TCP = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"


def conversation() -> Conversation:
    return Conversation("/simulated", "v=0\r\n", "5e551071")


def ask(peer: Conversation, method: str, *headers: str, url: str = URL, version: str = "RTSP/1.0") -> str:
    lines = [f"{method} {url} {version}", "CSeq: 7", *headers]
    return peer.feed(("\r\n".join(lines) + "\r\n\r\n").encode()).decode()


def status(reply: str) -> int:
    return int(reply.split(" ")[1])


def test_a_whole_conversation() -> None:
    peer = conversation()
    assert "Public: OPTIONS, DESCRIBE, SETUP, PLAY" in ask(peer, "OPTIONS")
    described = ask(peer, "DESCRIBE", "Accept: application/sdp")
    assert described.startswith("RTSP/1.0 200 OK\r\nCSeq: 7\r\n")
    assert f"Content-Base: {URL}/\r\n" in described
    assert described.endswith("Content-Length: 5\r\n\r\nv=0\r\n")
    setup = ask(peer, "SETUP", "Transport: RTP/AVP/TCP;unicast;interleaved=4-5", url=f"{URL}/track1")
    assert "interleaved=4-5" in setup
    assert "Session: 5e551071;timeout=60" in setup
    assert peer.state == Ready(4, 5)
    assert status(ask(peer, "PLAY", "Session: 5e551071", url=f"{URL}/")) == 200
    assert peer.state == Playing(4, 5)
    assert status(ask(peer, "GET_PARAMETER", "Session: 5e551071")) == 200
    assert status(ask(peer, "TEARDOWN", "Session: 5e551071")) == 200
    assert peer.state == Ended()
    assert ask(peer, "OPTIONS") == ""


@pytest.mark.parametrize(
    ("transport", "channels"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=0-1", (0, 1)),
        ("RTP/AVP/TCP;interleaved=2", (2, 3)),
        ("RTP/AVP/TCP;unicast", (0, 1)),
        ("RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;interleaved=6-7", (6, 7)),
        ("RTP/AVP;unicast;client_port=5000-5001", None),
        ("RTP/AVP/UDP;unicast;client_port=5000-5001", None),
        ("RTP/AVP/TCP;interleaved=255-256", None),
        ("RTP/AVP/TCP;interleaved=255", None),
        ("RTP/AVP/TCP;interleaved=3-3", None),
        ("", None),
    ],
)
def test_transports(transport: str, channels: tuple[int, int] | None) -> None:
    peer = conversation()
    reply = ask(peer, "SETUP", f"Transport: {transport}")
    assert status(reply) == (461 if channels is None else 200)
    assert peer.state == (Waiting() if channels is None else Ready(*channels))


@pytest.mark.parametrize(
    ("method", "headers", "url", "version", "expected"),
    [
        ("PLAY", [], URL, "RTSP/1.0", 455),
        ("TEARDOWN", [], URL, "RTSP/1.0", 455),
        ("RECORD", [], URL, "RTSP/1.0", 405),
        ("DESCRIBE", [], "rtsp://127.0.0.1/other", "RTSP/1.0", 404),
        ("DESCRIBE", [], URL, "RTSP/2.0", 505),
        ("GET_PARAMETER", ["Session: another"], URL, "RTSP/1.0", 454),
        ("DESCRIBE", ["Require: the-moon"], URL, "RTSP/1.0", 551),
        ("OPTIONS", [], "*", "RTSP/1.0", 200),
    ],
)
def test_refusals(method: str, headers: list[str], url: str, version: str, expected: int) -> None:
    peer = conversation()
    assert status(ask(peer, method, *headers, url=url, version=version)) == expected
    assert peer.state == Waiting()


def test_octets_may_come_in_any_pieces() -> None:
    data = (
        f"SETUP {URL} RTSP/1.0\r\nCSeq: 1\r\n{TCP}\r\nContent-Length: 3\r\n\r\nabc".encode()
        + b"$\x01\x00\x04RTCP"
        + f"PLAY {URL} RTSP/1.0\r\nCSeq: 2\r\n\r\n".encode()
    )
    whole, bytewise = conversation(), conversation()
    replies = whole.feed(data)
    assert b"".join(bytewise.feed(data[at : at + 1]) for at in range(len(data))) == replies
    assert replies.count(b"RTSP/1.0 200 OK") == 2
    assert whole.state == bytewise.state == Playing(0, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01 tls\r\n\r\n",
        b"PLAY x RTSP/1.0\r\nno colon\r\n\r\n",
        b"PLAY x RTSP/1.0\r\nContent-Length: 99999\r\n\r\n",
        b"PLAY x RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
        b"x" * (MAX_REQUEST_BYTES + 1),
    ],
)
def test_what_is_not_rtsp_ends_the_conversation(data: bytes) -> None:
    with pytest.raises(RequestError):
        conversation().feed(data)


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_any_octets_are_answered_or_refused(pieces: list[bytes]) -> None:
    peer = conversation()
    try:
        for piece in pieces:
            peer.feed(piece)
            peer.feed(b"PLAY " + piece + b" RTSP/1.0\r\n" + piece + b":1\r\n\r\n")
    except RequestError:
        return


@given(st.binary(min_size=1, max_size=6000))
def test_fragments_come_together(nal: bytes) -> None:
    parts = payloads(nal)
    assert all(len(part) <= MAX_PAYLOAD_BYTES for part in parts)
    if len(parts) == 1:
        assert parts == [nal]
        return
    assert [part[1] & 0xC0 for part in parts] == [0x80, *[0] * (len(parts) - 2), 0x40]
    assert all(part[0] & 0x1F == NAL_FU_A for part in parts)
    header = bytes((parts[0][0] & 0xE0 | parts[0][1] & 0x1F,))
    assert header + b"".join(part[2:] for part in parts) == nal


def test_packets_of_an_access_unit() -> None:
    stream = RtpStream(ssrc=5, sequence=65_534)
    packets = [parse_rtp(data) for data in stream.packets([b"\x67abc", b"\x65" + bytes(3000)], 90_000)]
    assert [packet.sequence for packet in packets] == [65_534, 65_535, 0, 1]
    assert [packet.marker for packet in packets] == [False, False, False, True]
    assert {(packet.timestamp, packet.ssrc) for packet in packets} == {(90_000, 5)}
    assert stream.packet_count == 4
    assert stream.octet_count == sum(len(packet.payload) for packet in packets)


def test_description_names_the_stream() -> None:
    sets = stream_parameter_sets()
    parsed = parse_sps(sets[0])
    assert (parsed.width, parsed.height, parsed.max_reorder_frames) == (WIDTH, HEIGHT, 0)
    text = describe("/simulated", sets, FPS)
    assert f"profile-level-id={parsed.profile_level_id.upper()};" in text
    assert "sprop-parameter-sets=Z" in text
    assert "a=control:track1\r\n" in text


def test_caption() -> None:
    assert caption(1_700_000_000_123_456_789, 42) == ("2023-11-14 22:13:20.123 UTC", "FRAME 00000042")


def test_text_is_drawn_where_it_was_asked_for() -> None:
    rows = text_rows("1", 1)
    assert len(rows) == GLYPH_HEIGHT + 2 * MARGIN
    assert {len(row) for row in rows} == {ADVANCE + 2 * MARGIN}
    picture = bytearray(20 * 12)
    paint(memoryview(picture), 20, 3, 2, rows)
    lines = [picture[at : at + 20] for at in range(0, len(picture), 20)]
    assert lines[1] == bytes(20)
    assert lines[3] == bytes(3) + bytes([PAPER] * 3 + [INK] + [PAPER] * 4) + bytes(9)
    assert all(row == bytes(20) for row in lines[11:])


@pytest.mark.parametrize(("left", "top"), [(0, 19), (96, 0)])
def test_drawing_stays_inside_the_picture(left: int, top: int) -> None:
    with pytest.raises(ValueError, match="edge"):
        paint(memoryview(bytearray(100 * 20)), 100, left, top, text_rows("1", 1))


def test_a_character_that_the_font_lacks() -> None:
    with pytest.raises(KeyError):
        text_rows("é", 1)
