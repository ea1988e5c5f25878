"""The client's side of a session against a camera of a few lines."""

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import CameraRefusal
from common.urls import parse_camera_url
from ingest.rtsp.messages import (
    InterleavedFrame,
    LoginInterrupted,
    Redirected,
    RtspError,
    RtspRefusal,
    TransportRefused,
    serialize_interleaved,
)
from ingest.rtsp.parser import RtspParser
from ingest.rtsp.session import (
    Ended,
    Playing,
    RtcpData,
    RtpData,
    RtspSession,
    SessionOptions,
    SetUp,
    State,
)
from ingest.rtsp.transport import Interleaved, Multicast, Unicast

from .feeding import splits

URL = "rtsp://user:p%40ss@10.0.0.9/cam"
SDP = b"v=0\no=- 1 1 IN IP4 0.0.0.0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:track1\n"
AUDIO = b"m=audio 0 RTP/AVP 8\na=control:track2\n"
TCP = SessionOptions()
UDP = SessionOptions(transport="udp", client_ports=((5000, 5001), (5002, 5003)))


def reply(cseq, *headers, status="200 OK", body=b""):
    lines = [f"RTSP/1.0 {status}", f"CSeq: {cseq}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Camera:
    """Answers requests; `answers` replaces those of a method, one for each time it is asked."""

    def __init__(self, url=URL, options=TCP, sdp=SDP, **answers):
        self.session = RtspSession(parse_camera_url(url), b"seed", options)
        self.sdp = sdp
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
        return reply(cseq, *headers, body=self.sdp if request.method == "DESCRIBE" else b"")

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
    setup, playing = camera.events
    assert setup == SetUp(0, playing.tracks[0], Interleaved(2, 3))
    assert playing.tracks[0].setup_url == "rtsp://10.0.0.9/cam/track1"
    assert camera.session.state is State.PLAYING
    assert camera.session.quirks == ("other-channels",)


def setup_answers(*transports):
    return [says("200 OK", "Session: abc", f"Transport: {transport}") for transport in transports]


def test_video_and_audio_with_an_aggregate_play():
    answers = setup_answers("RTP/AVP/TCP;interleaved=0-1", "RTP/AVP/TCP;interleaved=2-3")
    camera = Camera(sdp=SDP + AUDIO, SETUP=answers).play()
    assert camera.methods == ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY"]
    assert camera.requests[2].headers.get("Session") is None
    assert camera.requests[3].headers.get("Session") == "abc"
    assert camera.requests[3].headers.get("Transport") == "RTP/AVP/TCP;unicast;interleaved=2-3"
    assert [type(event) for event in camera.events] == [SetUp, SetUp, Playing]
    assert [track.encoding for track in camera.events[-1].tracks] == ["H264", "PCMA"]
    frames = [(0, b"\x80v"), (2, b"\x80a"), (3, b"\x80r"), (1, b"\x80s")]
    camera.session.feed(b"".join(serialize_interleaved(InterleavedFrame(*frame)) for frame in frames), 0)
    assert camera.session.events() == [
        RtpData(0, [b"\x80v"]),
        RtpData(1, [b"\x80a"]),
        RtcpData(1, [b"\x80r"]),
        RtcpData(0, [b"\x80s"]),
    ]
    camera.session.send_rtcp(1, b"\x80rr")
    assert camera.session.data_to_send() == b"$\x03\x00\x03\x80rr"


def test_audio_that_nobody_wants_is_not_set_up():
    camera = Camera(sdp=SDP + AUDIO, options=SessionOptions(audio=False)).play()
    assert camera.methods.count("SETUP") == 1
    assert camera.session.notes == ()


@pytest.mark.parametrize(
    "refusal",
    [
        "404 Not Found",
        "461 Unsupported Transport",
        "500 Internal Server Error",
        "454 Session Not Found",
        "401 Unauthorized",
    ],
)
def test_audio_that_the_camera_refuses_is_left_out(refusal):
    answers = [*setup_answers("RTP/AVP/TCP;interleaved=0-1"), says(refusal)]
    camera = Camera(sdp=SDP + AUDIO, SETUP=answers).play()
    assert [type(event) for event in camera.events] == [SetUp, Playing]
    assert len(camera.events[-1].tracks) == 1
    assert camera.session.quirks == ("audio-refused",)
    assert refusal[:3] in camera.session.notes[0] or refusal.startswith("401")


def test_audio_that_is_not_readable_is_left_out_and_said():
    sdp = SDP + b"m=audio 0 RTP/AVP 97\na=rtpmap:97 G726-32/8000\n"
    camera = Camera(sdp=sdp).play()
    assert camera.methods.count("SETUP") == 1
    assert "audio is left out: camera sends its sound as G726-32" in camera.session.notes[0]


def test_udp():
    answers = setup_answers(
        "RTP/AVP;unicast;client_port=5000-5001;server_port=6970-6971",
        "RTP/AVP;unicast;client_port=5002-5003;server_port=6972-6973;source=10.0.0.8",
    )
    camera = Camera(options=UDP, sdp=SDP + AUDIO, SETUP=answers).play()
    asked = [request.headers.get("Transport") for request in camera.requests[2:4]]
    assert asked == ["RTP/AVP;unicast;client_port=5000-5001", "RTP/AVP;unicast;client_port=5002-5003"]
    transports = [event.transport for event in camera.events[:2]]
    assert transports == [Unicast(5000, 5001, None, 6970, 6971), Unicast(5002, 5003, "10.0.0.8", 6972, 6973)]
    camera.session.send_rtcp(0, b"by the socket")
    assert camera.session.data_to_send() == b""


def test_multicast():
    options = SessionOptions(transport="multicast")
    answers = setup_answers("RTP/AVP;multicast;destination=239.0.0.7;port=5000-5001;ttl=3")
    camera = Camera(options=options, SETUP=answers).play()
    assert camera.events[0].transport == Multicast("239.0.0.7", 5000, 5001, None)


def test_media_on_the_channels_that_the_camera_chose():
    camera = Camera().play()
    frames = [(2, b"\x80a"), (2, b"\x80b"), (3, b"\x80c"), (5, b"\x80d"), (2, b"\x80e")]
    data = b"".join(serialize_interleaved(InterleavedFrame(*frame)) for frame in frames)
    camera.session.feed(data, 0)
    assert camera.session.events() == [
        RtpData(0, [b"\x80a", b"\x80b"]),
        RtcpData(0, [b"\x80c"]),
        RtpData(0, [b"\x80e"]),
    ]


def test_media_before_the_answer_to_play_comes_after_playing():
    def early(cseq, request):
        return serialize_interleaved(InterleavedFrame(2, b"\x80a")) + reply(cseq)

    camera = Camera(PLAY=[early]).play()
    assert [type(event) for event in camera.events] == [SetUp, Playing, RtpData]


def test_media_between_setup_and_play_comes_after_playing_and_is_bounded():
    frame = serialize_interleaved(InterleavedFrame(2, b"\x80" + bytes(60_000)))
    camera = Camera(SETUP=[says("200 OK", "Session: abc", "Transport: RTP/AVP/TCP;interleaved=2-3")])
    camera.session.start(0)
    for _ in range(3):
        camera._parser.feed(camera.session.data_to_send())
        for request in camera._parser.events():
            camera.session.feed(camera.answer(request), 0)
    for _ in range(100):
        camera.session.feed(frame, 0)
        assert all(isinstance(event, SetUp) for event in camera.session.events())
    camera.exchange()
    playing, *media = camera.events
    assert isinstance(playing, Playing)
    assert 30 < sum(len(event.packets) for event in media) < 40


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


@pytest.mark.parametrize(
    ("session", "period_s"),
    [
        ("Session: 7;timeout=1", 0.5),
        ("Session: 7;timeout=15", 7.5),
        ("Session: 7; Timeout = 10", 5.0),
        ("Session: 7", 30.0),
        ("Session: 7;timeout=0", 30.0),
        ("Session: 7;timeout=junk", 30.0),
        ("Session: 7;timeout=86400", 30.0),
        ("X: y", 30.0),
    ],
)
def test_session_timeout(session, period_s):
    camera = Camera(SETUP=[says("200 OK", session)]).play()
    for now in (0.0, period_s * 0.99):
        camera.session.tick(now)
        assert camera.session.data_to_send() == b""
    camera.session.tick(period_s)
    assert camera.session.data_to_send()


def test_a_short_timeout_is_kept_although_an_answer_stays_away():
    camera = Camera(SETUP=[says("200 OK", "Session: 7;timeout=2")]).play()
    sent = []
    for tenth in range(1, 50):
        camera.session.tick(tenth / 10)
        sent += [tenth / 10] if camera.session.data_to_send() else []
    assert sent == [1, 2, 3, 4]


def test_keep_alive_answered_by_401_for_good_is_borne():
    camera = Camera(OPTIONS=[challenge("n1")], GET_PARAMETER=[challenge("n2"), challenge("n3")]).play()
    for now in (10, 20):
        camera.session.tick(now)
        camera.exchange()
    assert camera.methods[5:] == ["GET_PARAMETER", "GET_PARAMETER", "OPTIONS"]
    signed = [request.headers.get("Authorization") is not None for request in camera.requests[5:]]
    assert signed == [True, True, False]
    assert camera.session.state is State.PLAYING


def test_after_a_refusal_while_playing_the_password_rests():
    refusals = [challenge(f"n{number}") for number in range(2, 9)]
    camera = Camera(OPTIONS=[challenge("n1")], GET_PARAMETER=refusals[:4]).play()
    camera.answers["OPTIONS"] = refusals[4:]
    for now in range(10, 100, 10):
        camera.session.tick(now)
        camera.exchange()
    assert camera.session.state is State.PLAYING
    assert sum(request.headers.get("Authorization") is not None for request in camera.requests[5:]) == 2


def test_unanswered_keep_alive_is_borne_and_repeated():
    camera = Camera().play()
    sent = []
    for now in (10, 15, 20):
        camera.session.tick(now)
        sent.append(camera.session.data_to_send().split(b" ")[0])
    assert sent == [b"GET_PARAMETER", b"", b"OPTIONS"]
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


def test_login_at_teardown_once():
    camera = Camera(OPTIONS=[challenge("n1")], TEARDOWN=[challenge("n2"), challenge("n3")]).play()
    camera.session.teardown(0)
    camera.exchange()
    assert camera.methods[5:] == ["TEARDOWN", "TEARDOWN"]
    assert camera.events[-1] == Ended()


def test_camera_that_closes_after_401():
    camera = Camera(OPTIONS=[challenge("n1")])
    camera.session.start(0)
    camera._parser.feed(camera.session.data_to_send())
    camera.session.feed(camera.answer(camera._parser.events()[0]), 0)
    with pytest.raises(LoginInterrupted):
        camera.session.eof()
    again = Camera(options=SessionOptions(challenge=camera.session.challenge)).play()
    assert all(answers(request, "n1") for request in again.requests)


def known(nonce="n1"):
    camera = Camera(OPTIONS=[challenge(nonce)]).play()
    return SessionOptions(challenge=camera.session.challenge)


def test_a_nonce_of_an_earlier_connection_is_renewed_once():
    camera = Camera(options=known(), OPTIONS=[challenge("n2")]).play()
    assert camera.methods[:3] == ["OPTIONS", "OPTIONS", "DESCRIBE"]
    assert answers(camera.requests[1], "n2")
    camera = Camera(options=known(), OPTIONS=[challenge("n2"), challenge("n3")])
    with pytest.raises(RtspRefusal, match="refuses the user name or password"):
        camera.play()
    assert camera.methods == ["OPTIONS", "OPTIONS"]


def test_a_remembered_login_that_options_did_not_mind_is_still_refused():
    camera = Camera(options=known(), DESCRIBE=[challenge("n2"), challenge("n3")])
    with pytest.raises(RtspRefusal, match="refuses the user name or password"):
        camera.play()
    assert camera.methods == ["OPTIONS", "DESCRIBE", "DESCRIBE"]


def test_a_camera_with_a_new_nonce_for_each_request():
    answers = {method: [challenge(f"{method}1")] for method in ("OPTIONS", "DESCRIBE", "SETUP", "PLAY")}
    camera = Camera(**answers).play()
    assert camera.session.state is State.PLAYING
    assert camera.session.quirks[0] == "nonce-renewed"


def test_a_login_that_is_no_longer_accepted_is_forgotten():
    camera = Camera(OPTIONS=[challenge("n1")], SETUP=[challenge("n2"), challenge("n3")])
    with pytest.raises(RtspError, match="no longer accepts"):
        camera.play()
    assert camera.session.challenge is None


def test_no_second_interruption():
    camera = Camera(options=known())
    camera.session.start(0)
    with pytest.raises(RtspError, match="when it got the user name and password") as caught:
        camera.session.eof()
    assert type(caught.value) is RtspError
    assert camera.session.challenge is None


def test_secrets_in_the_path_are_not_shown():
    url = "rtsp://10.0.0.9/user=admin_password=hunter2_channel=1.sdp"
    for answer in (says("404 Not Found"), challenge("n1")):
        with pytest.raises(RtspRefusal) as caught:
            Camera(url=url, DESCRIBE=[answer]).play()
        assert "hunter2" not in str(caught.value)
        assert "10.0.0.9" in str(caught.value)


def test_one_wrong_password_is_one_attempt():
    camera = Camera(DESCRIBE=[challenge("n1"), challenge("n2"), challenge("n3")])
    with pytest.raises(RtspRefusal, match="refuses the user name or password") as caught:
        camera.play()
    assert isinstance(caught.value, CameraRefusal)
    assert sum(request.headers.get("Authorization") is not None for request in camera.requests) == 1
    assert camera.session.challenge is None


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
        ([challenge("1", ", stale=true")] * 4, "refuses the user name or password"),
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
        "the stream is elsewhere",
    ),
    "gone": ({"DESCRIBE": [says("410 Gone")]}, "is gone; check the path"),
    "redirect to nowhere": ({"DESCRIBE": [says("302 Found")]}, "does not say where the stream is"),
    "503": ({"PLAY": [says("503 Busy")]}, "PLAY with 503 Busy: it has too many connections"),
    "unknown": ({"SETUP": [says("499 \x1b[31mred")]}, r"SETUP with 499 \[31mred"),
    "not TCP": ({"SETUP": [says("461 Unsupported Transport")]}, "does not send over TCP"),
    "UDP all the same": (
        {"SETUP": [says("200 OK", "Transport: RTP/AVP;unicast;client_port=1-2;server_port=3-4")]},
        "although TCP was asked for",
    ),
    "channels": ({"SETUP": [says("200 OK", "Transport: RTP/AVP/TCP;interleaved=300-301")]}, "channels '300"),
    "no description": ({"DESCRIBE": [says("200 OK")]}, "holds no tracks"),
    "H.263": (
        {"DESCRIBE": [says("200 OK", body=b"m=video 0 RTP/AVP 96\na=rtpmap:96 H263-1998/90000\n")]},
        "as H263-1998, which is not read; set it to H.264",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    answers, error = REFUSED[name]
    with pytest.raises(RtspError, match=error):
        Camera(**answers).play()


KINDS = {
    "redirect": Redirected,
    "404": RtspRefusal,
    "403": RtspRefusal,
    "gone": RtspRefusal,
    "H.263": RtspRefusal,
    "not TCP": TransportRefused,
    "UDP all the same": TransportRefused,
    "channels": TransportRefused,
}


@pytest.mark.parametrize("name", REFUSED)
def test_kind_of_the_error(name):
    with pytest.raises(RtspError) as caught:
        Camera(**REFUSED[name][0]).play()
    assert type(caught.value) is KINDS.get(name, RtspError)


def test_a_redirect_keeps_the_cameras_words_for_itself():
    with pytest.raises(Redirected) as caught:
        Camera(OPTIONS=[says("301 Moved", "Location: rtsp://a:b@10.0.0.7/x")]).play()
    assert caught.value.location == "rtsp://a:b@10.0.0.7/x"
    assert "a:b" not in str(caught.value)


def test_the_camera_redirects_while_it_plays():
    camera = Camera().play()
    with pytest.raises(Redirected) as caught:
        camera.session.feed(b"REDIRECT * RTSP/1.0\r\nCSeq: 1\r\nLocation: rtsp://10.0.0.7/x\r\n\r\n", 0)
    assert caught.value.location == "rtsp://10.0.0.7/x"


@pytest.mark.parametrize(
    ("number", "taken"), [("CSeq: 1", True), (None, True), ("CSeq: 9", True), ("CSeq: x", True)]
)
def test_whose_answer_it_is(number, taken):
    session = RtspSession(parse_camera_url(URL), b"")
    session.start(0)
    line = f"{number}\r\n" if number else ""
    session.feed(f"RTSP/1.0 200 OK\r\n{line}\r\n".encode(), 0)
    assert (session.state is State.DESCRIBE) == taken


def test_a_provisional_answer_is_none():
    session = RtspSession(parse_camera_url(URL), b"")
    session.start(0)
    session.feed(reply(1, status="100 Continue"), 0)
    assert session.state is State.OPTIONS
    session.feed(reply(1), 0)
    assert session.state is State.DESCRIBE


def test_garbage_is_counted_and_nobodys_media_is_passed_over():
    camera = Camera().play()
    camera.session.feed(b"junk" + serialize_interleaved(InterleavedFrame(2, b"\x80a")), 0)
    camera.session.feed(serialize_interleaved(InterleavedFrame(9, b"\x80a")), 0)
    assert camera.session.garbage_bytes == 4
    assert camera.session.events() == [RtpData(0, [b"\x80a"])]
    assert camera.session.quirks == ("other-channels", "junk-between-messages", "unasked-channels")


def test_empty_early_packets_are_bounded_too():
    camera = Camera()
    camera.session.start(0)
    for _ in range(3):
        camera._parser.feed(camera.session.data_to_send())
        for request in camera._parser.events():
            camera.session.feed(camera.answer(request), 0)
    for _ in range(100):
        camera.session.feed(serialize_interleaved(InterleavedFrame(2, b"")) * 1000, 0)
    camera.exchange()
    assert sum(len(event.packets) for event in camera.events if isinstance(event, RtpData)) < 40_000


def test_after_the_end_nothing_is_taken():
    camera = Camera().play()
    camera.session.teardown(0)
    camera.exchange()
    camera.session.teardown(0)
    camera.session.feed(reply(5) + b"TEARDOWN * RTSP/1.0\r\n\r\n", 0)
    camera.session.tick(1000)
    camera.session.eof()
    assert camera.session.events() == []


def test_the_camera_closes_instead_of_answering_teardown():
    camera = Camera().play()
    camera.session.teardown(0)
    camera.session.eof()
    assert camera.session.events() == [Ended()]


def test_a_session_starts_once():
    camera = Camera().play()
    with pytest.raises(RtspError, match="goes from PLAYING to CLOSED, TEARDOWN, not to OPTIONS"):
        camera.session.start(0)


def test_a_second_answer_is_nobodys():
    session = RtspSession(parse_camera_url(URL), b"")
    session.start(0)
    session.feed(reply(1) + reply(1, status="404 Not Found"), 0)
    assert session.state is State.DESCRIBE


def test_a_body_that_stays_away_is_not_waited_for_long():
    camera = Camera().play()
    camera.session.tick(10)
    camera.session.data_to_send()
    camera.session.feed(b"RTSP/1.0 200 OK\r\nCSeq: 5\r\nContent-Length: 4\r\n\r\n", 10)
    camera.session.tick(11.9)
    assert camera.session.quirks == ("other-channels",)
    camera.session.tick(12)
    assert camera.session.quirks == ("other-channels", "length-too-long")


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
    assert camera.session.events() == [RtpData(0, [b"a"]), RtcpData(0, [b"b"])]


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
    camera.session.send_rtcp(0, b"early")
    camera.play()
    camera.session.send_rtcp(0, b"\x80rr")
    assert camera.session.data_to_send() == b"$\x03\x00\x03\x80rr"


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
        assert [type(event) for event in session.events()] == [SetUp, Playing, RtpData]


PIECES = st.one_of(
    st.binary(max_size=30),
    st.builds(
        lambda cseq, status, header, text: reply(
            cseq, f"{header}: {text}", status=f"{status} x", body=SDP + AUDIO
        ),
        st.integers(1, 9),
        st.sampled_from([100, 200, 302, 401, 404, 454, 461]),
        st.sampled_from(["Session", "Transport", "Content-Base", "WWW-Authenticate", "Public"]),
        st.text(max_size=20),
    ),
    st.sampled_from([reply(n, "Session: 1") for n in range(1, 6)]),
    st.builds(
        lambda c, p: serialize_interleaved(InterleavedFrame(c, p)), st.integers(0, 3), st.binary(max_size=9)
    ),
)


@settings(max_examples=200)
@given(st.lists(PIECES, max_size=10), st.sampled_from([TCP, UDP]))
def test_fuzz_only_the_documented_error(pieces, options):
    session = RtspSession(parse_camera_url(URL), b"", options)
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
