"""The client's side of a session against a camera of a few lines."""

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.urls import parse_camera_url
from ingest.rtsp.messages import InterleavedFrame, RtspError, serialize_interleaved
from ingest.rtsp.parser import RtspParser
from ingest.rtsp.session import (
    TRANSITIONS,
    Ended,
    Playing,
    RtcpData,
    RtpData,
    RtspSession,
    State,
)

from .feeding import splits

URL = "rtsp://user:p%40ss@10.0.0.9/cam"
SDP = b"v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:track1\n"


def reply(cseq, *headers, status="200 OK", body=b""):
    lines = [f"RTSP/1.0 {status}", f"CSeq: {cseq}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Camera:
    """Answers requests; `answers` replaces those of a method, one for each time it is asked."""

    def __init__(self, url=URL, **answers):
        self.session = RtspSession(parse_camera_url(url), b"seed")
        self.answers = {method: list(replies) for method, replies in answers.items()}
        self.requests = []
        self.events = []
        self._parser = RtspParser()

    def play(self, now=0.0):
        self.session.start(now)
        self.exchange(now)
        return self

    def exchange(self, now=0.0):
        """Until nobody has anything to say."""
        while data := self.session.data_to_send():
            self._parser.feed(data)
            for request in self._parser.events():
                self.requests.append(request)
                self.session.feed(self.answer(request), now)
        self.events += self.session.events()

    def answer(self, request):
        cseq = request.headers.get("CSeq")
        if self.answers.get(request.method):
            return self.answers[request.method].pop(0)(cseq, request)
        headers = {
            "OPTIONS": ["Public: DESCRIBE, GET_PARAMETER"],
            "DESCRIBE": ["Content-Base: rtsp://10.0.0.9/cam/"],
            "SETUP": ["Session: abc;timeout=20", "Transport: RTP/AVP/TCP;unicast;interleaved=2-3"],
        }.get(request.method, [])
        return reply(cseq, *headers, body=SDP if request.method == "DESCRIBE" else b"")

    @property
    def methods(self):
        return [request.method for request in self.requests]


def says(status, *headers, body=b""):
    return lambda cseq, request: reply(cseq, *headers, status=status, body=body)


def test_straight_run():
    camera = Camera().play()
    assert camera.methods == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    assert [request.uri for request in camera.requests] == [
        "rtsp://10.0.0.9/cam",
        "rtsp://10.0.0.9/cam",
        "rtsp://10.0.0.9/cam/track1",
        "rtsp://10.0.0.9/cam/",
    ]
    assert camera.requests[2].headers.get("Transport") == "RTP/AVP/TCP;unicast;interleaved=0-1"
    assert camera.requests[3].headers.get("Session") == "abc"
    assert [type(event) for event in camera.events] == [Playing]
    assert camera.session.state is State.PLAYING


def test_media_on_the_channels_that_the_camera_chose():
    camera = Camera().play()
    frames = [(2, b"\x80a"), (2, b"\x80b"), (3, b"\x80c"), (5, b"\x80d"), (2, b"\x80e")]
    data = b"".join(serialize_interleaved(InterleavedFrame(*frame)) for frame in frames)
    camera.session.feed(data, 0)
    assert camera.session.events() == [
        RtpData([b"\x80a", b"\x80b"]),
        RtcpData([b"\x80c"]),
        RtpData([b"\x80e"]),
    ]


def test_media_before_the_answer_to_play_comes_after_playing():
    def early(cseq, request):
        return serialize_interleaved(InterleavedFrame(2, b"\x80a")) + reply(cseq)

    camera = Camera(PLAY=[early]).play()
    assert [type(event) for event in camera.events] == [Playing, RtpData]


def test_keep_alive_at_half_the_timeout():
    camera = Camera().play(now=100.0)
    camera.session.tick(109.9)
    camera.exchange()
    assert len(camera.requests) == 4
    camera.session.tick(110.0)
    camera.exchange()
    assert camera.methods[4:] == ["GET_PARAMETER"]
    assert camera.requests[4].headers.get("Session") == "abc"


def test_keep_alive_by_options_when_get_parameter_is_not_offered_or_fails():
    camera = Camera(OPTIONS=[says("200 OK", "Public: DESCRIBE, PLAY")]).play()
    camera.session.tick(10)
    camera.exchange()
    assert camera.methods[4:] == ["OPTIONS"]
    camera = Camera(GET_PARAMETER=[says("501 Not Implemented")]).play()
    for now in (10, 20):
        camera.session.tick(now)
        camera.exchange()
    assert camera.methods[4:] == ["GET_PARAMETER", "OPTIONS"]


def test_unanswered_keep_alive_is_borne_and_repeated():
    camera = Camera().play()
    for now in (10, 15, 20):
        camera.session.tick(now)
        sent = camera.session.data_to_send()
        assert sent.startswith(b"GET_PARAMETER") == (now != 15)
    camera.session.feed(reply(5), 21)  # the late answer to the first
    assert camera.session.state is State.PLAYING


def test_forgotten_session_is_an_error():
    camera = Camera(GET_PARAMETER=[says("454 Session Not Found")]).play()
    camera.session.tick(10)
    with pytest.raises(RtspError, match="454 Session Not Found: it has forgotten the session"):
        camera.exchange()


@pytest.mark.parametrize("answered", range(4))
def test_deadline_of_each_request(answered):
    camera = Camera()
    camera.session.start(0)
    method = ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"][answered]
    for _ in range(answered):
        camera._parser.feed(camera.session.data_to_send())
        for request in camera._parser.events():
            camera.session.feed(camera.answer(request), 0)
    camera.session.tick(4.9)
    with pytest.raises(RtspError, match=f"did not answer {method} within 5 s"):
        camera.session.tick(5.0)


def test_teardown():
    camera = Camera().play()
    camera.session.teardown(0)
    camera.exchange()
    assert camera.methods[-1] == "TEARDOWN"
    assert camera.events[-1] == Ended()
    assert camera.session.state is State.CLOSED
    camera.session.eof()


def test_teardown_without_session_sends_nothing():
    camera = Camera()
    camera.session.start(0)
    camera.session.data_to_send()
    camera.session.teardown(0)
    assert camera.session.data_to_send() == b""
    assert camera.session.events() == [Ended()]


@pytest.mark.parametrize(("steps", "said"), [(0, "instead of answering OPTIONS"), (1, "while playing")])
def test_closed_connection(steps, said):
    camera = Camera()
    if steps:
        camera.play()
    else:
        camera.session.start(0)
    with pytest.raises(RtspError, match=said):
        camera.session.eof()


def challenge(nonce, extra=""):
    return says("401 Unauthorized", f'WWW-Authenticate: Digest realm="r", nonce="{nonce}"{extra}')


def answers(request, nonce):
    """True when the request's Digest (RFC 2069) is right."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', request.headers.get("Authorization") or ""))

    def md5(text):
        return hashlib.md5(text.encode()).hexdigest()

    expected = md5(f"{md5('user:r:p@ss')}:{nonce}:{md5(f'{request.method}:{request.uri}')}")
    return fields.get("nonce") == nonce and fields.get("response") == expected


def test_digest_then_every_request_is_signed():
    camera = Camera(OPTIONS=[challenge("n1")]).play()
    assert camera.methods == ["OPTIONS", "OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    assert camera.requests[0].headers.get("Authorization") is None
    assert all(answers(request, "n1") for request in camera.requests[1:])


@pytest.mark.parametrize("extra", [", stale=true", ""])
def test_new_nonce_mid_session(extra):
    camera = Camera(OPTIONS=[challenge("n1")], GET_PARAMETER=[challenge("n2", extra)]).play()
    camera.session.tick(10)
    camera.exchange()
    assert camera.methods[5:] == ["GET_PARAMETER", "GET_PARAMETER"]
    assert answers(camera.requests[-1], "n2")


def test_nonce_count_rises():
    camera = Camera(DESCRIBE=[challenge("n1", ', qop="auth"')]).play()
    counts = [
        re.search(r"nc=(\d+)", request.headers.get("Authorization"))[1] for request in camera.requests[2:]
    ]
    assert counts == ["00000001", "00000002", "00000003"]


@pytest.mark.parametrize(
    ("challenges", "error"),
    [
        ([challenge("1"), challenge("2")], "refuses the user name or password .401 to Digest MD5"),
        ([challenge("1", ", stale=true")] * 3, "refuses the user name or password"),
        ([says("401 No", "WWW-Authenticate: Basic realm=x")] * 2, "401 to Basic"),
        ([says("401 No")], "offers nothing to log in"),
    ],
)
def test_wrong_password_is_not_tried_for_ever(challenges, error):
    with pytest.raises(RtspError, match=error) as caught:
        Camera(DESCRIBE=challenges).play()
    assert "p@ss" not in str(caught.value) and "user:" not in str(caught.value)


def test_login_wanted_and_none_configured():
    with pytest.raises(RtspError, match="wants a user name and password for rtsp:"):
        Camera(url="rtsp://10.0.0.9/cam", DESCRIBE=[challenge("n")]).play()


REFUSED = {
    "404": ({"DESCRIBE": [says("404 Not Found")]}, "has no stream at rtsp://10.0.0.9/cam; check the path"),
    "403": ({"DESCRIBE": [says("403 Forbidden")]}, "may not watch"),
    "redirect": (
        {"DESCRIBE": [says("302 Found", "Location: rtsp://a:b@10.0.0.7/x")]},
        "it is at rtsp://10.0.0.7/x",
    ),
    "503": ({"PLAY": [says("503 Busy")]}, "PLAY with 503 Busy: it has too many connections"),
    "unknown": ({"SETUP": [says("499 \x1b[31mred")]}, r"SETUP with 499 \[31mred"),
    "not TCP": ({"SETUP": [says("461 Unsupported Transport")]}, "does not send over TCP"),
    "UDP all the same": (
        {"SETUP": [says("200 OK", "Transport: RTP/AVP;unicast;client_port=1-2;server_port=3-4")]},
        "although TCP was asked for",
    ),
    "channels": ({"SETUP": [says("200 OK", "Transport: RTP/AVP/TCP;interleaved=300-301")]}, "channels 300"),
    "no description": ({"DESCRIBE": [says("200 OK")]}, "holds no tracks"),
    "H.265": (
        {"DESCRIBE": [says("200 OK", body=b"m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\n")]},
        "as H265; set it to H.264",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    answers, error = REFUSED[name]
    with pytest.raises(RtspError, match=error):
        Camera(**answers).play()


def test_odd_cameras_that_work():
    camera = Camera(
        OPTIONS=[says("501 Not Implemented")],
        DESCRIBE=[says("200 OK", "Content-Base: /cam/", body=SDP)],
        SETUP=[says("200 OK", "Session: 7; timeout = 0")],
        PLAY=[lambda cseq, request: b"RTSP/1.0 200 OK\r\n\r\n"],
    ).play()
    assert camera.session.state is State.PLAYING
    assert camera.requests[2].uri == "rtsp://10.0.0.9/cam/track1"
    camera.session.feed(b"$\x00\x00\x01a$\x01\x00\x01b", 0)
    assert camera.session.events() == [RtpData([b"a"]), RtcpData([b"b"])]


@pytest.mark.parametrize(
    ("method", "status"), [("OPTIONS", 200), ("SET_PARAMETER", 200), ("ANNOUNCE", 200), ("RECORD", 501)]
)
def test_requests_of_the_camera_are_answered(method, status):
    camera = Camera().play()
    camera.session.feed(f"{method} * RTSP/1.0\r\nCSeq: 77\r\n\r\n".encode(), 0)
    assert camera.session.data_to_send().startswith(f"RTSP/1.0 {status} ".encode())


@pytest.mark.parametrize(
    ("request_", "error"),
    [(b"TEARDOWN * RTSP/1.0\r\n\r\n", "by TEARDOWN"), (b"REDIRECT * RTSP/1.0\r\n\r\n", "redirects")],
)
def test_the_camera_ends_it(request_, error):
    camera = Camera().play()
    with pytest.raises(RtspError, match=error):
        camera.session.feed(request_, 0)


def test_rtcp_goes_to_the_cameras_channel():
    camera = Camera()
    camera.session.send_rtcp(b"early")
    camera.play()
    camera.session.send_rtcp(b"\x80rr")
    assert camera.session.data_to_send() == b"$\x03\x00\x03\x80rr"


def test_every_state_leads_to_the_end():
    assert set(TRANSITIONS) == set(State)
    assert all(State.CLOSED in after for state, after in TRANSITIONS.items() if state is not State.CLOSED)


def test_answers_cut_anywhere():
    answers_ = (
        reply(1)
        + reply(2, body=SDP)
        + reply(3, "Session: 1")
        + reply(4)
        + serialize_interleaved(InterleavedFrame(0, b"\x80a"))
    )
    for pieces in splits(answers_):
        session = RtspSession(parse_camera_url(URL), b"")
        session.start(0)
        for piece in pieces:
            session.feed(piece, 0)
        assert [type(event) for event in session.events()] == [Playing, RtpData]


PIECES = st.one_of(
    st.binary(max_size=30),
    st.builds(
        lambda cseq, status, header, text: reply(cseq, f"{header}: {text}", status=f"{status} x", body=SDP),
        st.integers(1, 9),
        st.sampled_from([100, 200, 302, 401, 404, 454]),
        st.sampled_from(["Session", "Transport", "Content-Base", "WWW-Authenticate", "Public"]),
        st.text(max_size=20),
    ),
    st.sampled_from([reply(n, "Session: 1") for n in range(1, 6)]),
    st.builds(
        lambda c, p: serialize_interleaved(InterleavedFrame(c, p)), st.integers(0, 3), st.binary(max_size=9)
    ),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(PIECES, max_size=10))
def test_fuzz_only_the_documented_error(pieces):
    session = RtspSession(parse_camera_url(URL), b"")
    try:
        session.start(0)
        for now, piece in enumerate(pieces):
            session.feed(piece, now)
            session.tick(now)
            session.events()
            session.data_to_send()
        session.teardown(99)
    except RtspError:
        pass
