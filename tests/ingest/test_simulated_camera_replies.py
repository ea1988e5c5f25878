"""The simulated camera's side of RTSP, without IO."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.simulated.login import Login
from ingest.simulated.options import LoginOptions
from ingest.simulated.replies import (
    Conversation,
    Ended,
    OfferedTrack,
    Playing,
    Presentation,
    Ready,
    Waiting,
)
from ingest.simulated.requests import RequestError
from ingest.simulated.transports import Interleaved, Multicast, Offered, Unicast

URL = "rtsp://127.0.0.1:8554/simulated"
TCP = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
GROUP = Multicast("239.255.1.2", 10_000, 10_001)
TRACK = OfferedTrack(Offered((40_000, 40_001), GROUP), ssrc=0xABCD)


def conversation(login: Login | None = None) -> Conversation:
    paths = {
        "/simulated": Presentation(lambda: "v=0\r\n", (TRACK,)),
        "/two": Presentation(lambda: "v=2\r\n", (TRACK, TRACK)),
    }
    return Conversation(paths, "5e551071", login)


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
    assert peer.state == Ready("/simulated", {0: Interleaved(4, 5)})
    assert status(ask(peer, "PLAY", "Session: 5e551071", url=f"{URL}/")) == 200
    assert peer.state == Playing("/simulated", {0: Interleaved(4, 5)})
    assert status(ask(peer, "GET_PARAMETER", "Session: 5e551071")) == 200
    assert status(ask(peer, "TEARDOWN", "Session: 5e551071")) == 200
    assert peer.state == Ended()
    assert ask(peer, "OPTIONS") == ""


def test_two_tracks_each_over_its_own_transport() -> None:
    peer = conversation()
    url = URL.replace("/simulated", "/two")
    assert ask(peer, "DESCRIBE", url=url).endswith("v=2\r\n")
    assert status(ask(peer, "SETUP", TCP, url=url)) == 459
    reply = ask(peer, "SETUP", "Transport: RTP/AVP;unicast;client_port=5000-5001", url=f"{url}/track1")
    assert "client_port=5000-5001;server_port=40000-40001;ssrc=0000ABCD" in reply
    assert status(ask(peer, "SETUP", "Transport: RTP/AVP;multicast", url=f"{url}/track2")) == 200
    assert status(ask(peer, "SETUP", TCP)) == 455  # another path
    assert status(ask(peer, "PLAY")) == 455
    assert status(ask(peer, "PLAY", url=url)) == 200
    assert peer.state == Playing("/two", {0: Unicast(5000, 5001), 1: GROUP})


def test_a_channel_belongs_to_one_track() -> None:
    peer = conversation()
    url = URL.replace("/simulated", "/two")
    assert status(ask(peer, "SETUP", TCP, url=f"{url}/track1")) == 200
    assert status(ask(peer, "SETUP", "Transport: RTP/AVP/TCP;interleaved=1-2", url=f"{url}/track2")) == 461
    assert status(ask(peer, "SETUP", TCP, url=f"{url}/track1")) == 200
    assert "interleaved=2-3" in ask(peer, "SETUP", "Transport: RTP/AVP/TCP", url=f"{url}/track2")


@pytest.mark.parametrize(
    ("method", "headers", "url", "version", "expected"),
    [
        ("PLAY", [], URL, "RTSP/1.0", 455),
        ("TEARDOWN", [], URL, "RTSP/1.0", 455),
        ("RECORD", [], URL, "RTSP/1.0", 405),
        ("SETUP", [], URL, "RTSP/1.0", 461),
        ("SETUP", [TCP], f"{URL}/track2", "RTSP/1.0", 404),
        ("DESCRIBE", [], "rtsp://127.0.0.1/other", "RTSP/1.0", 404),
        ("DESCRIBE", [], "rtsp://[::1/simulated", "RTSP/1.0", 404),
        ("DESCRIBE", [], "*", "RTSP/1.0", 404),
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


def test_a_login_is_asked_of_every_request_but_options() -> None:
    peer = conversation(Login(LoginOptions("u", "p", "basic"), ""))
    assert status(ask(peer, "OPTIONS")) == 200
    reply = ask(peer, "DESCRIBE")
    assert status(reply) == 401
    assert 'WWW-Authenticate: Basic realm="simulated"' in reply
    right = "Authorization: Basic " + base64.b64encode(b"u:p").decode()
    assert status(ask(peer, "DESCRIBE", right)) == 200
    assert status(ask(peer, "SETUP", TCP)) == 401
    assert status(ask(peer, "SETUP", TCP, right)) == 200


def test_octets_may_come_in_any_pieces() -> None:
    data = (
        f"SETUP {URL} RTSP/1.0\r\nCSeq: 1\r\n{TCP}\r\n\r\n".encode()
        + b"$\x01\x00\x04RTCP"
        + f"PLAY {URL} RTSP/1.0\r\nCSeq: 2\r\n\r\n".encode()
    )
    whole, bytewise = conversation(), conversation()
    replies = whole.feed(data)
    assert b"".join(bytewise.feed(data[at : at + 1]) for at in range(len(data))) == replies
    assert replies.count(b"RTSP/1.0 200 OK") == 2
    assert whole.state == bytewise.state == Playing("/simulated", {0: Interleaved(0, 1)})


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_any_octets_are_answered_or_refused(pieces: list[bytes]) -> None:
    peer = conversation()
    try:
        for piece in pieces:
            peer.feed(piece)
            peer.feed(b"PLAY " + piece + b" RTSP/1.0\r\n" + piece + b":1\r\n\r\n")
    except RequestError:
        return
