"""Requests out of octets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.simulated.requests import MAX_REQUEST_BYTES, Request, RequestError, RequestReader

DATA = (
    b"SETUP rtsp://a/b RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc"
    b"$\x01\x00\x04RTCP$\x01\x00\x00"
    b"PLAY rtsp://a/b RTSP/1.0\r\nCSeq: 2\r\n\r\n"
)
REQUESTS = [
    Request("SETUP", "rtsp://a/b", "RTSP/1.0", {"cseq": "1", "content-length": "3"}),
    Request("PLAY", "rtsp://a/b", "RTSP/1.0", {"cseq": "2"}),
]


def taken(reader: RequestReader, *pieces: bytes) -> list[Request]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while request := reader.next():
            found.append(request)
    return found


def test_octets_may_come_in_any_pieces() -> None:
    assert taken(RequestReader(), DATA) == REQUESTS
    assert taken(RequestReader(), *(DATA[at : at + 1] for at in range(len(DATA)))) == REQUESTS
    for at in range(len(DATA)):
        assert taken(RequestReader(), DATA[:at], DATA[at:]) == REQUESTS


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
def test_what_is_not_rtsp(data: bytes) -> None:
    with pytest.raises(RequestError):
        taken(RequestReader(), data)


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_any_octets_are_read_or_refused(pieces: list[bytes]) -> None:
    try:
        taken(RequestReader(), *pieces)
    except RequestError:
        return
