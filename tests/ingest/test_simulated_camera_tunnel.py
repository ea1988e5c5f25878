"""RTSP over HTTP without IO: heads, and base64 in any pieces."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.simulated.requests import RequestError
from ingest.simulated.tunnel import Base64Stream, HttpRequest, is_http, parse_http


def test_which_connections_are_half_a_tunnel() -> None:
    assert [
        is_http(start) for start in (b"GET /", b"POST ", b"GET_P", b"OPTIO", b"\x16\x03\x01\x00\x00")
    ] == [*(True, True, False, False, False)]


def test_heads() -> None:
    head = b"GET /simulated HTTP/1.0\r\nAccept: */*\r\nX-SessionCookie: abc \r\nno colon"
    assert parse_http(head) == HttpRequest("GET", "abc")
    assert parse_http(head.replace(b"GET", b"POST")).method == "POST"


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\nx-sessioncookie:", b"GET /\r\nx-sessioncookie: " + b"x" * 65],
)
def test_no_tunnel(head: bytes) -> None:
    with pytest.raises(RequestError, match="x-sessioncookie"):
        parse_http(head)


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 20), st.booleans())
def test_messages_come_in_any_pieces(messages: list[bytes], size: int, lines: bool) -> None:
    encode = base64.encodebytes if lines else base64.b64encode
    data = b"".join(encode(message) for message in messages)
    stream = Base64Stream()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert b"".join(stream.feed(piece) for piece in pieces) == b"".join(messages)


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_any_octets_are_decoded_or_refused(pieces: list[bytes]) -> None:
    stream = Base64Stream()
    try:
        for piece in pieces:
            stream.feed(piece)
    except RequestError:
        return


def test_what_is_not_base64() -> None:
    with pytest.raises(RequestError, match="base64"):
        Base64Stream().feed(b"OPTIONS * RTSP/1.0\r\n")
