"""RTSP over HTTP: the two requests, and every answer to the first."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtsp.messages import TransportRefused
from ingest.rtsp.tunnel import (
    MAX_REPLY_BYTES,
    Tunnel,
    TunnelReply,
    encode,
    get_request,
    post_request,
    request_path,
)

from .feeding import splits

GOOD = b"HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n"


def test_requests():
    tunnel = Tunnel("/cam?x=1", "h:80", "c00")
    for request, method in ((get_request, b"GET"), (post_request, b"POST")):
        text = request(tunnel, None)
        assert text.startswith(method + b" /cam?x=1 HTTP/1.0\r\nHost: h:80\r\nx-sessioncookie: c00\r\n")
        assert text.endswith(b"\r\n\r\n")
        assert text.count(b"application/x-rtsp-tunnelled") == 1
        assert b"Authorization" not in text
        assert b"\r\nAuthorization: Basic x\r\n" in request(tunnel, "Basic x")
    assert b"\r\nContent-Length: 32767\r\n" in post_request(tunnel, None)


def test_path():
    assert [request_path(path) for path in ("", "?x", "/a")] == ["/", "/?x", "/a"]


def test_encode():
    assert base64.b64decode(encode(b"OPTIONS * RTSP/1.0\r\n\r\n")) == b"OPTIONS * RTSP/1.0\r\n\r\n"
    assert b"\n" not in encode(bytes(500))


@pytest.mark.parametrize("reply", [GOOD, GOOD.replace(b"\r\n", b"\n"), GOOD.replace(b"1.0", b"1.1")])
def test_answered(reply):
    for pieces in splits(reply):
        reader = TunnelReply()
        answers = [reader.feed(piece) for piece in pieces]
        assert answers[:-1] == [None] * (len(pieces) - 1)
        assert answers[-1].status == 200


def test_a_login_is_wanted():
    text = b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="a:b"\r\njunk\r\n\r\n'
    reply = TunnelReply().feed(text)
    assert (reply.status, reply.reason) == (401, "Unauthorized")
    assert reply.headers.get_all("www-authenticate") == ('Basic realm="a:b"',)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "404 Not Found"),
        (b"HTTP/1.1 400\r\n\r\n", "400"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "302"),
        (b"HTTP/1.1 OK\r\n\r\n", "'HTTP/1.1 OK'"),
        (b"SSH-2.0-OpenSSH_9\r\n", "SSH-2.0"),
        (b"RTSP/1.0 400 Bad Request\r\n\r\n", "RTSP/1.0"),
        (b"HTTP/1.0 200 OK\r\nX: " + bytes(MAX_REPLY_BYTES), "16384"),
    ],
)
def test_refused(reply, words):
    with pytest.raises(TransportRefused, match=words):
        TunnelReply().feed(reply)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: b"HTTP/1.0 2" + tail)))
def test_fuzz_only_the_documented_errors(data):
    reader = TunnelReply()
    try:
        for at in range(len(data)):
            if reader.feed(data[at : at + 1]):
                break
    except TransportRefused:
        pass
