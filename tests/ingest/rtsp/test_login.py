"""When a password is tried, and how often."""

import re

import pytest

from common.errors import LoginRefused
from common.urls import parse_camera_url
from ingest.rtsp.auth import Challenge
from ingest.rtsp.login import Login
from ingest.rtsp.messages import Headers, Response, RtspError, RtspRefusal
from ingest.rtsp.quirks import Quirks

URL = "rtsp://user:p%40ss@10.0.0.9/cam"


def login(url=URL, known=None):
    return Login(parse_camera_url(url), b"seed", known, Quirks())


def unauthorized(nonce, extra=""):
    value = f'Digest realm="r", qop="auth", nonce="{nonce}"{extra}'
    return Response(401, "Unauthorized", Headers((("WWW-Authenticate", value),)))


def signed(it):
    return it.sign("PLAY", "rtsp://10.0.0.9/cam")


def test_nothing_is_signed_before_the_camera_asks():
    assert signed(login()) is None


def test_counts_start_again_with_each_nonce_and_client_nonces_differ():
    it = login()
    it.refused(unauthorized("n1"), None, 0)
    values = [signed(it), signed(it)]
    it.accepted("DESCRIBE")
    it.refused(unauthorized("n2"), it.challenge, 0)
    values.append(signed(it))
    assert [re.search(r"nc=(\w+)", value)[1] for value in values] == ["00000001", "00000002", "00000001"]
    assert len({re.search(r'cnonce="(\w+)"', value)[1] for value in values}) == 3


def test_no_credentials():
    with pytest.raises(
        RtspRefusal, match=r"wants a user name and password for rtsp://10\.0\.0\.9/cam"
    ) as caught:
        login("rtsp://10.0.0.9/cam").refused(unauthorized("n1"), None, 0)
    # Nothing was tried that a camera would count.
    assert not isinstance(caught.value, LoginRefused)


def test_options_prove_the_password_only_when_the_camera_asked():
    it = login(known=Challenge("MD5", "r", "n0"))
    it.accepted("OPTIONS")
    assert not it.was_accepted
    it.refused(unauthorized("n1"), it.challenge, 0)
    it.accepted("OPTIONS")
    assert it.was_accepted


CASES = {
    # Nonce of the second 401, what stands behind it, accepted before, challenge of an earlier connection,
    # renewals so far; whether it is tried again.
    "wrong password": ("n2", "", False, False, 0, False),
    "wrong password, same nonce": ("n1", "", False, False, 0, False),
    "stale": ("n2", ", stale=TRUE", False, False, 0, True),
    "stale for ever": ("n2", ", stale=true", False, False, 1, False),
    "renewed while playing": ("n2", ', stale="FALSE"', True, False, 0, True),
    "renewed for ever": ("n2", "", True, False, 1, False),
    "same nonce while playing": ("n1", "", True, False, 0, False),
    "of an earlier connection": ("n2", "", False, True, 0, True),
    "of an earlier connection, refused": ("n2", "", False, True, 1, False),
}


@pytest.mark.parametrize("name", CASES)
def test_second_401(name):
    nonce, extra, accepted, foreign, renewals, again = CASES[name]
    first = Challenge("MD5", "r", "n1", qop_auth=True)
    it = login(known=first if foreign else None)
    if not foreign:
        it.refused(unauthorized("n1"), None, 0)
    assert signed(it)
    if accepted:
        it.accepted("DESCRIBE")
    if again:
        it.refused(unauthorized(nonce, extra), it.challenge, renewals)
        assert f'nonce="{nonce}"' in signed(it)
    else:
        with pytest.raises(RtspError, match="401 to Digest MD5") as caught:
            it.refused(unauthorized(nonce, extra), it.challenge, renewals)
        assert isinstance(caught.value, RtspRefusal) != accepted
        assert isinstance(caught.value, LoginRefused) != accepted
        assert "p@ss" not in str(caught.value)


def test_basic_is_tried_once():
    it = login()
    basic = Response(401, "", Headers((("WWW-Authenticate", "Basic realm=x"),)))
    it.refused(basic, None, 0)
    assert signed(it).startswith("Basic ")
    with pytest.raises(RtspRefusal, match="401 to Basic"):
        it.refused(basic, it.challenge, 0)
