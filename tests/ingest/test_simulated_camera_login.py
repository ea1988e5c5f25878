"""Logins, answered by hand and by the project's own client."""

import base64
import hashlib

import pytest

from ingest.rtsp.auth import Credentials, authorization, parse_challenges
from ingest.simulated.login import REALM, Login
from ingest.simulated.options import LoginOptions

URL = "rtsp://127.0.0.1/simulated/"


def login(scheme, user="admin", password='pa:ss"word') -> Login:
    return Login(LoginOptions(user, password, scheme), "n0nce")


@pytest.mark.parametrize("scheme", ["basic", "digest", "digest-sha256"])
def test_the_client_of_this_project_gets_in(scheme: str) -> None:
    peer = login(scheme)
    challenge = parse_challenges([peer.challenge()])

    def answer(password: str, method: str = "PLAY") -> str:
        return authorization(challenge, Credentials("admin", password), method, URL, 1, "c1")

    assert peer.allows("PLAY", URL, answer('pa:ss"word'))
    assert not peer.allows("PLAY", URL, answer("another"))
    assert not peer.allows("PLAY", URL, "")
    if scheme != "basic":
        assert not peer.allows("PLAY", URL, answer('pa:ss"word', "SETUP"))
        assert not peer.allows("PLAY", URL + "other", answer('pa:ss"word'))


def test_basic_by_hand() -> None:
    assert login("basic", "u", "p").allows("PLAY", URL, "basic " + base64.b64encode(b"u:p").decode())
    assert not login("basic").allows("PLAY", URL, "Basic ?")


def test_digest_by_hand() -> None:
    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    response = md5(f"{md5(f'u:{REALM}:p')}:n0nce:{md5(f'PLAY:{URL}')}")
    fields = f'Digest username="u", realm="{REALM}", nonce="n0nce", uri="{URL}", response="{response}"'
    assert login("digest", "u", "p").allows("PLAY", URL, fields)
    assert not login("digest", "u", "p").allows("PLAY", URL, fields.replace("n0nce", "old"))
    assert not login("digest", "u", "p").allows("PLAY", URL, fields.replace("Digest", "Basic"))
    assert not login("digest", "u", "p").allows("PLAY", URL, fields.partition(", response")[0])


def test_a_challenge_for_each_scheme() -> None:
    assert login("basic").challenge() == f'Basic realm="{REALM}"'
    assert login("digest").challenge() == f'Digest realm="{REALM}", nonce="n0nce"'
    assert 'algorithm=SHA-256, qop="auth"' in login("digest-sha256").challenge()
