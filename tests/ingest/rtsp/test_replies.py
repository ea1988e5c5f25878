"""Answers by status, and the headers that every answer may have."""

import pytest

from ingest.rtsp.messages import Headers, Redirected, Response, RtspError, RtspRefusal, TransportRefused
from ingest.rtsp.replies import cseq, is_success, refusal, session_header


@pytest.mark.parametrize(
    ("method", "status", "kind", "text"),
    [
        ("DESCRIBE", 403, RtspRefusal, "DESCRIBE with 403 Reason: the user may not watch"),
        ("DESCRIBE", 404, RtspRefusal, "no stream at rtsp://h/x; check the path"),
        ("DESCRIBE", 400, RtspError, "DESCRIBE with 400 Reason"),
        ("SETUP", 400, TransportRefused, "it does not send over UDP"),
        ("SETUP", 461, TransportRefused, "it does not send over UDP"),
        ("SETUP", 551, TransportRefused, "it does not send over UDP"),
        ("SETUP", 453, RtspError, "no bandwidth left"),
        ("SETUP", 404, RtspRefusal, "check the path"),
        ("PLAY", 461, RtspError, "PLAY with 461 Reason"),
        ("PLAY", 503, RtspError, "close other viewers"),
        ("PLAY", 307, Redirected, "the stream is elsewhere"),
    ],
)
def test_refusal(method, status, kind, text):
    response = Response(status, "Reason", Headers((("Location", "rtsp://u:p@h2/x"),)))
    assert not is_success(response)
    error = refusal(method, response, "rtsp://h/x", "UDP")
    assert type(error) is kind
    assert text in str(error)
    assert "u:p" not in str(error)


@pytest.mark.parametrize(("status", "lasting"), [(461, True), (406, True), (400, False), (500, False)])
def test_a_refusal_that_may_pass(status, lasting):
    """Cameras that boot, or that are busy, refuse what they take a second later."""
    error = refusal("SETUP", Response(status, "Reason", Headers()), "rtsp://h/x", "TCP")
    assert error.lasting is lasting


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, (None, None)),
        ("", (None, None)),
        ("abc", ("abc", None)),
        ("  708345999;timeout=60", ("708345999", 60)),
        ("abc ; x=1; TIMEOUT = 5 ", ("abc", 5)),
        ("abc;timeout=", ("abc", None)),
        (";timeout=7", (None, 7)),
    ],
)
def test_session_header(value, expected):
    headers = Headers((("Session", value),)) if value is not None else Headers()
    assert session_header(headers) == expected


@pytest.mark.parametrize(
    ("value", "number"), [("7", 7), (" 7 ", 7), ("", None), ("x", None), ("-1", None), ("٣", None)]
)
def test_cseq(value, number):
    assert cseq(Headers((("cseq", value),))) == number
    assert cseq(Headers()) is None
