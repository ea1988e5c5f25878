"""The incremental RTSP parser."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rtsp.messages import (
    Headers,
    InterleavedFrame,
    InterleavedFrames,
    Request,
    Response,
    RtspError,
    serialize_interleaved,
)
from ingest.rtsp.parser import MAX_BODY_BYTES, MAX_GARBAGE_BYTES, MAX_HEADER_BYTES, RtspParser

from .feeding import splits

OK = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"
OK_PARSED = Response(200, "OK", Headers((("CSeq", "1"),)))
RTP = b"\x80\x60" + bytes(12)
RTP_FRAME = serialize_interleaved(InterleavedFrame(0, RTP))

CASES = {
    "response": (OK, [OK_PARSED]),
    "body": (
        b"RTSP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nv=0\n" + OK,
        [Response(200, "OK", Headers((("Content-Length", "4"),)), b"v=0\n"), OK_PARSED],
    ),
    "no reason, odd spaces": (
        b"RTSP/1.0  404\r\nCSeq:1 \r\n\r\n",
        [Response(404, "", Headers((("CSeq", "1"),)))],
    ),
    "separators that are no line ends": (
        "RTSP/1.0 200 a\x85b\u2028c\r\nCSeq: 1\r\n\r\n".encode(),
        [Response(200, "a\x85b\u2028c", Headers((("CSeq", "1"),)))],
    ),
    "line feeds only": (b"RTSP/1.0 200 OK\nCSeq: 1\n\n", [OK_PARSED]),
    "lower-case names, odd spaces": (
        b"RTSP/1.0   200   Fine  day \r\n  \r\ncseq :  1\t\r\ncontent-length:2\r\n\r\nab",
        [Response(200, "Fine  day", Headers((("cseq", "1"), ("content-length", "2"))), b"ab")],
    ),
    "no space before the reason": (b"RTSP/1.0 200OK\r\nCSeq: 1\r\n\r\n", [OK_PARSED]),
    "lines that are no headers": (
        b"RTSP/1.0 200 OK\r\nnonsense\r\nMon, 1 Jan 12:00\r\n: x\r\nCSeq: 1\r\n\r\n",
        [OK_PARSED],
    ),
    "answer as HTTP": (b"HTTP/1.1 200 OK\r\nCSeq: 1\r\n\r\n", [OK_PARSED]),
    "length without body, then a message": (
        b"RTSP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n" + OK,
        [Response(200, "OK", Headers((("Content-Length", "9"),))), OK_PARSED],
    ),
    "length without body, then a frame": (
        b"RTSP/1.0 200 OK\r\nContent-Length: 300\r\n\r\n" + RTP_FRAME + OK,
        [Response(200, "OK", Headers((("Content-Length", "300"),))), (0, RTP), OK_PARSED],
    ),
    "short body like a message": (
        b"RTSP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nRTS" + OK,
        [Response(200, "OK", Headers((("Content-Length", "3"),)), b"RTS"), OK_PARSED],
    ),
    "media of an earlier connection": (RTP_FRAME + OK, [(0, RTP), OK_PARSED]),
    "folded header": (
        b"RTSP/1.0 200 OK\r\nPublic: A,\r\n B\r\n\r\n",
        [Response(200, "OK", Headers((("Public", "A, B"),)))],
    ),
    "request of the camera": (
        OK + b"OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n",
        [OK_PARSED, Request("OPTIONS", "*", Headers((("CSeq", "9"),)))],
    ),
    "frames between": (
        OK + RTP_FRAME + OK + serialize_interleaved(InterleavedFrame(1, b"")) + RTP_FRAME,
        [(0, RTP), (1, b""), (0, RTP), OK_PARSED, OK_PARSED],
    ),
    "empty lines between": (OK + b"\r\n\r\n" + RTP_FRAME + b"\r\n" + OK, [OK_PARSED, OK_PARSED, (0, RTP)]),
    "track that nobody set up": (OK + b"$\x04\x00\x02RTOPT", [OK_PARSED, (4, b"RT")]),
    "garbage, then a message": (OK + b"garbage OPT $ RTS" + OK, [OK_PARSED, OK_PARSED]),
    "garbage, then a frame": (OK + b"\xffgarbage" + RTP_FRAME + OK, [OK_PARSED, OK_PARSED, (0, RTP)]),
    "garbage like a frame": (OK + b"$garbage$ $\x00" + RTP_FRAME + OK, [OK_PARSED, OK_PARSED, (0, RTP)]),
}


def normal(messages):
    """Frames of all runs as (channel, payload), apart from messages: runs depend on the reads."""
    frames = [(m.channel, p) for m in messages if isinstance(m, InterleavedFrames) for p in m.payloads]
    return frames, [m for m in messages if not isinstance(m, InterleavedFrames)]


def parse(pieces):
    parser = RtspParser()
    parser.channels = frozenset({0, 1})
    messages = []
    for piece in pieces:
        parser.feed(piece)
        messages += parser.events()
    return normal(messages)


@pytest.mark.parametrize("name", CASES)
def test_cases_however_they_arrive(name):
    data, expected = CASES[name]
    wanted = (
        [item for item in expected if isinstance(item, tuple)],
        [item for item in expected if not isinstance(item, tuple)],
    )
    for pieces in splits(data):
        assert parse(pieces) == wanted, pieces


def test_runs_of_frames_are_one_event():
    parser = RtspParser()
    parser.feed(OK + RTP_FRAME * 3)
    assert parser.events() == [OK_PARSED, InterleavedFrames(0, [RTP, RTP, RTP])]


def test_largest_frame():
    payload = bytes(range(256)) * 255 + bytes(255)
    frame = serialize_interleaved(InterleavedFrame(1, payload))
    assert len(payload) == 65_535
    data = OK + frame + OK
    assert parse([data]) == ([(1, payload)], [OK_PARSED, OK_PARSED])
    assert parse([data[i : i + 1] for i in range(len(data))]) == ([(1, payload)], [OK_PARSED, OK_PARSED])


REFUSED = {
    "HTTP": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak RTSP, it says 'HTTP/1.1 400"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak RTSP, it says 'SSH-2.0-OpenSSH_9.2'"),
    "random": (bytes(range(128, 192)), "does not speak RTSP"),
    "a dollar before anything": (b"$\x00\x00\x01a", "does not speak RTSP"),
    "HTTP with CSeq afterwards": (b"HTTP/1.0 401 No\r\nServer: x\r\n\r\n" + OK, "it says 'HTTP/1.0 401 No'"),
    "status": (b"RTSP/1.0 2xx OK\r\n\r\n", "neither RTSP request nor response"),
    "request line": (b"OPTIONS\x20rtsp://x HTTP/1.1\r\n\r\n", "neither RTSP request nor response"),
    "negative length": (b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length '-1'"),
    "large body": (
        b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
        f"at most {MAX_BODY_BYTES}",
    ),
    "endless header": (b"RTSP/1.0 200 OK\r\nX: " + b"y" * MAX_HEADER_BYTES, f"more than {MAX_HEADER_BYTES}"),
    "header without end": (b"RTSP/1.0 200 OK\r\n" + b"a: b\r\n" * MAX_HEADER_BYTES, "an RTSP header of more"),
    "endless garbage": (OK + b"\xee" * (MAX_GARBAGE_BYTES + 100), "neither RTSP nor RTP"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_however_it_arrives(name):
    data, error = REFUSED[name]
    with pytest.raises(RtspError, match=error.replace("(", r"\(")):
        parse([data])
    with pytest.raises(RtspError):
        parse([data[i : i + 1] for i in range(len(data))])


def test_an_error_shows_no_part_of_a_password():
    with pytest.raises(RtspError, match=r"it says 'Location: http://10\.0\.0\.9/'") as caught:
        parse([b"Location: http://admin:%s@10.0.0.9/\r\n" % (b"SECRET" * 10)])
    assert "SECRET" not in str(caught.value)


def test_garbage_is_counted():
    parser = RtspParser()
    parser.feed(OK + b"\xff\xfe\xfd" + OK)
    assert len(parser.events()) == 2
    assert parser.garbage_bytes == 3


def test_ten_megabytes_of_header_are_refused_at_the_limit():
    parser = RtspParser()
    parser.feed(b"RTSP/1.0 200 OK\r\nX: " + b"x" * (10 << 20))
    with pytest.raises(RtspError, match="header of more than"):
        parser.events()


def test_body_that_stays_away():
    parser = RtspParser()
    assert parser.cut_short() == []
    parser.feed(b"RTSP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nv=0\n")
    assert parser.events() == []
    assert parser.awaits_body
    assert parser.cut_short() == [Response(200, "OK", Headers((("Content-Length", "9"),)), b"v=0\n")]
    assert not parser.awaits_body
    parser.feed(OK)
    assert parser.events() == [OK_PARSED]


def test_a_large_body_in_small_pieces_is_parsed_once():
    parser = RtspParser()
    parser.feed(b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 2000 + b"Content-Length: 20000\r\n\r\n")
    for _ in range(20_000):
        assert parser.events() == []
        parser.feed(b"v")
    (message,) = parser.events()
    assert message.body == b"v" * 20_000


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            OK,
            RTP_FRAME,
            b"$",
            b"\r\n",
            b"RTSP/1.0 ",
            b"OPTIONS * RTSP/1.0\r\n",
            b"$\x00\xff\xff",
            b"HTTP/1.0 200 OK\r\n",
            b"RTSP/1.0 200 OK\r\nContent-Length: 4\r\n\r\n",
        ]
    ),
    st.text(max_size=20).map(lambda text: b"RTSP/1.0 200 OK\r\n" + text.encode() + b"\r\n\r\n"),
)


@settings(max_examples=150)
@given(st.lists(PIECES, max_size=12), st.booleans())
def test_fuzz_only_the_documented_error(pieces, greet):
    whole = b"".join([OK] * greet + pieces)
    outcomes = []
    for cut in ([whole], [whole[i : i + 1] for i in range(len(whole))]):
        try:
            outcomes.append(parse(cut))
        except RtspError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]
