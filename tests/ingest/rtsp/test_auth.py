"""Basic and Digest answers, with the vectors of the RFCs."""

import base64
import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError
from ingest.rtsp.auth import (
    MAX_CHALLENGE_CHARACTERS,
    Challenge,
    Credentials,
    authorization,
    parse_challenges,
)
from ingest.rtsp.messages import RtspRefusal
from tests.support.growth import assert_linear

MUFASA = Credentials("Mufasa", "Circle of Life")
# RFC 7616 section 3.9.1, and RFC 2069 errata 749 (no qop).
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
VECTORS = [
    (
        Challenge(
            "MD5", "http-auth@example.org", NONCE, "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", True
        ),
        'response="8ca523f5e9506fed4657c9700eebdbec"',
    ),
    (
        Challenge("SHA-256", "http-auth@example.org", NONCE, None, True),
        'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"',
    ),
]


@pytest.mark.parametrize(("challenge", "response"), VECTORS)
def test_vectors_of_rfc_7616(challenge, response):
    value = authorization(challenge, MUFASA, "GET", "/dir/index.html", 1, CNONCE)
    assert response in value
    assert "nc=00000001" in value
    assert ("opaque=" in value) == (challenge.opaque is not None)
    assert ("algorithm=SHA-256" in value) == (challenge.scheme == "SHA-256")


def test_digest_without_qop_is_rfc_2069():
    challenge = Challenge("MD5", "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093")
    value = authorization(
        challenge, Credentials("Mufasa", "CircleOfLife"), "GET", "/dir/index.html", 1, "unused"
    )
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in value  # RFC 2069 section 2.4, errata 749
    assert "qop" not in value and "nc=" not in value


def test_the_algorithm_is_named_when_the_camera_named_it():
    for named in (False, True):
        challenge = Challenge("MD5", "r", "n", algorithm_named=named)
        value = authorization(challenge, MUFASA, "PLAY", "rtsp://h", 1, "")
        assert ("algorithm=MD5" in value) == named


def test_credentials_of_any_script():
    credentials = Credentials("câmera", 'пароль"\\:@/?#%')
    value = authorization(Challenge("MD5", "r", "n"), credentials, "PLAY", "rtsp://h", 1, "")
    md5 = [hashlib.md5(text.encode()).hexdigest() for text in ('câmera:r:пароль"\\:@/?#%', "PLAY:rtsp://h")]
    assert f'response="{hashlib.md5(f"{md5[0]}:n:{md5[1]}".encode()).hexdigest()}"' in value
    assert 'username="câmera"' in value


def test_basic_holds_any_character():
    value = authorization(Challenge("Basic", "cam"), Credentials("us er", 'p:@"é'), "PLAY", "rtsp://h", 1, "")
    assert base64.b64decode(value.removeprefix("Basic ")).decode() == 'us er:p:@"é'


def test_quotes_are_escaped():
    challenge = Challenge("MD5", 'the "realm"', "a\\b")
    value = authorization(challenge, Credentials('o"neil', "x"), "PLAY", "rtsp://h", 1, "")
    assert 'username="o\\"neil"' in value
    assert 'realm="the \\"realm\\""' in value


@pytest.mark.parametrize("name", ["a\r\nX: y", "a\x00"])
def test_control_characters_never_reach_a_header(name):
    with pytest.raises(ConfigError, match="control character"):
        authorization(Challenge("MD5", "r", "n"), Credentials(name, "p"), "PLAY", "rtsp://h", 1, "")


def test_basic_cannot_carry_a_colon_in_the_name():
    with pytest.raises(ConfigError, match="':'"):
        authorization(Challenge("Basic", "r"), Credentials("a:b", "p"), "PLAY", "rtsp://h", 1, "")


CHALLENGES = {
    "plain": (['Digest realm="r", nonce="n"'], Challenge("MD5", "r", "n")),
    "all": (
        ['Digest realm="a, Basic b", nonce="n", opaque="o", qop="auth-int, auth", algorithm=md5, stale=TRUE'],
        Challenge("MD5", "a, Basic b", "n", "o", True, True, True),
    ),
    "two headers": (
        ['Basic realm="r"', 'Digest realm="r",nonce="n",algorithm="SHA-256"'],
        Challenge("SHA-256", "r", "n", algorithm_named=True),
    ),
    "two in one": (['Basic realm="x", Digest realm="r", nonce="n"'], Challenge("MD5", "r", "n")),
    "strongest of two digests": (
        ['Digest realm="r", nonce="1"', 'Digest realm="r", nonce="2", algorithm=SHA-256'],
        Challenge("SHA-256", "r", "2", algorithm_named=True),
    ),
    "unknown algorithm beside Basic": (
        ['Digest realm="r", nonce="1", algorithm=SHA-512-256', "Basic realm=r"],
        Challenge("Basic", "r"),
    ),
    "bare Basic": (["Basic"], Challenge("Basic", "")),
}


@pytest.mark.parametrize("name", CHALLENGES)
def test_challenges(name):
    values, expected = CHALLENGES[name]
    assert parse_challenges(values) == expected


@pytest.mark.parametrize("values", [[], [""], ["Bearer realm=x"], ['Digest realm="no nonce"']])
def test_no_usable_challenge(values):
    with pytest.raises(RtspRefusal, match="Basic and Digest"):
        parse_challenges(values)


def test_an_endless_challenge_is_refused():
    challenge = 'Digest realm="r", nonce="n", opaque="'.ljust(MAX_CHALLENGE_CHARACTERS - 1, "o") + '"'
    assert parse_challenges([challenge]).nonce == "n"
    with pytest.raises(RtspRefusal, match="4097 characters"):
        parse_challenges(["Basic", challenge + " "])


@pytest.mark.parametrize(
    "piece", ["a", '"\\', '"', "\\", 'a="\\', 'a="', "a ", "a=", ", ", "Digest ", ",Basic", " "]
)
def test_time_in_proportion_to_the_challenge(piece):
    def parse(value):
        with contextlib.suppress(RtspRefusal):
            parse_challenges([value])

    def of_size(size):
        # As long as it may be, at the most.
        return 'Digest realm="x",nonce="y",' + piece * (size // 8 // len(piece))

    assert_linear(parse, of_size)


def test_repr_hides_credentials():
    assert "Circle" not in repr(MUFASA) and "Mufasa" not in repr(MUFASA)


@given(st.lists(st.one_of(st.text(max_size=60), st.text(max_size=40).map("Digest ".__add__)), max_size=3))
def test_fuzz_only_the_documented_error(values):
    try:
        challenge = parse_challenges(values)
        authorization(challenge, MUFASA, "PLAY", "rtsp://h/", 1, "c")
    except RtspRefusal:
        pass
