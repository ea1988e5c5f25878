"""RTSP messages as octets."""

import pytest

from ingest.rtsp.messages import (
    Headers,
    InterleavedFrame,
    Request,
    Response,
    RtspError,
    serialize_interleaved,
    serialize_request,
    serialize_response,
    shown,
)
from tests.support.growth import assert_linear


def test_headers_compare_without_case():
    headers = Headers((("CSeq", "1"), ("Public", "A"), ("public", "B")))
    assert headers.get("cseq") == "1"
    assert headers.get("Session") is None
    assert headers.get_all("PUBLIC") == ("A", "B")


def test_serialize():
    request = Request("DESCRIBE", "rtsp://h/c", Headers((("CSeq", "2"),)))
    assert serialize_request(request) == b"DESCRIBE rtsp://h/c RTSP/1.0\r\nCSeq: 2\r\n\r\n"
    response = Response(200, "OK", Headers(), b"ab")
    assert serialize_response(response) == b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab"
    assert serialize_interleaved(InterleavedFrame(3, b"xyz")) == b"$\x03\x00\x03xyz"


@pytest.mark.parametrize(
    "request_",
    [
        Request("PLAY", "rtsp://h/c\r\nX: y"),
        Request("PLAY", "rtsp://h/c", Headers((("Session", "1\r\nX: y"),))),
        Request("PLAY", "rtsp://h/c", Headers((("Session\n", "1"),))),
        Request("PLAY", "rtsp://h/c", Headers((("Session", "\x00"),))),
    ],
)
def test_no_header_is_smuggled_in(request_):
    with pytest.raises(RtspError, match="control character"):
        serialize_request(request_)


def test_shown_is_short_clean_and_without_credentials():
    assert shown("at rtsp://user:pass@host/x\r\n") == "at rtsp://host/x"
    assert len(shown("x" * 1000)) == 80
    assert shown("x" * 2000) == "x" * 79 + "…"


LONG_PASSWORD = "SECRET" * 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"at rtsp://user:{LONG_PASSWORD}@host/x", "at rtsp://…"),
        (f"rtsp://u:{'p' * 960}@a rtsp://admin:{LONG_PASSWORD}@host/x", "rtsp://a rtsp://…"),
        (f"/x?password={LONG_PASSWORD}&channel=1", "/x?password=***…"),
        ("rtsp://host/x " + "a" * 2000, "rtsp://host/x " + "a" * 65 + "…"),
    ],
)
def test_a_cut_shows_no_credentials(text, expected):
    assert shown(text) == expected


def test_the_time_to_show_a_text_is_bounded():
    assert_linear(shown, "a".__mul__)
    assert_linear(shown, "a://".__mul__)
