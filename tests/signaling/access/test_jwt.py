"""Tokens of somebody else: good ones, and every way to forge one that is known."""

import base64
import dataclasses
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt as pyjwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from common.access_config import JwtConfig
from signaling.access import jwt
from signaling.access.jwt import Jwt
from signaling.problems import Problem
from tests.support.fake_clock import FakeClock

RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
PUBLIC = (
    RSA.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
SECRET = "x" * 40
BY_KEY = JwtConfig(("RS256",), "cctv3", issuer="https://id.example", key=PUBLIC)
BY_SECRET = JwtConfig(("HS256",), "cctv3", key=SECRET)


def claims(**changes: object) -> dict[str, Any]:
    good = {
        "sub": "anna",
        "aud": "cctv3",
        "iss": "https://id.example",
        "exp": int(time.time()) + 86_400,
        "cameras": ["front*"],
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(**changes: object) -> str:
    return pyjwt.encode(claims(**changes), RSA, "RS256")


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


async def test_good() -> None:
    own = Jwt(BY_KEY, FakeClock())
    found = await own.identify(token(aud=["other", "cctv3"]))
    assert (found.name, found.kind, found.role, found.cameras) == ("anna", "token", "viewer", ("front*",))
    assert found.expires_at is not None and found.expires_at > time.time()
    admin = await own.identify(token(role="admin", cameras=None))
    assert admin.cameras == ("*",)
    assert (
        await Jwt(BY_SECRET, FakeClock()).identify(pyjwt.encode(claims(), SECRET, "HS256"))
    ).name == "anna"
    assert own.credential != Jwt(BY_SECRET, FakeClock()).credential and SECRET not in own.credential


def unsigned(algorithm: str) -> str:
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims())}."


def confused() -> str:
    """Signed with the public key as if it were a secret."""
    signed = f"{part({'alg': 'HS256'})}.{part(claims())}"
    mac = hmac.new(PUBLIC.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def tampered() -> str:
    header, _, signature = token().split(".")
    return f"{header}.{part(claims(role='admin'))}.{signature}"


FORGED = {
    "alg none": (unsigned("none"), "algorithm"),
    "alg None": (unsigned("None"), "algorithm"),
    "alg RS256 without signature": (unsigned("RS256"), "not signed"),
    "HS with the public key": (confused(), "algorithm"),
    "tampered": (tampered(), "not signed"),
    "another key": (pyjwt.encode(claims(), OTHER, "RS256"), "not signed"),
    "expired": (token(exp=int(time.time()) - 60), "expired"),
    "no exp": (token(exp=None), "lacks the claim exp"),
    "no sub": (token(sub=None), "lacks the claim sub"),
    "no aud": (token(aud=None), "lacks the claim aud"),
    "another audience": (token(aud="other"), "another audience"),
    "another issuer": (token(iss="https://evil.example"), "another issuer"),
    "not yet": (token(nbf=int(time.time()) + 600), "not signed by a configured key, or not well-formed"),
    "sub is no name": (token(sub="a\nb"), "sub"),
    "a role that is none": (token(role="root"), "role"),
    "without cameras": (token(cameras=None), "cameras"),
    "cameras is text": (token(cameras="*"), "cameras"),
    "kid injection": (
        pyjwt.encode(claims(), SECRET, "HS256", headers={"kid": "../../etc/passwd"}),
        "algorithm",
    ),
    "huge": ("e" * 9000, "longer"),
    "empty": ("", "no JWT"),
    "rubbish": ("a.b.c", "no JWT"),
    "header is a list": (f"{part([1])}.{part(claims())}.", "no JWT"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_forged(name: str) -> None:
    text, says = FORGED[name]
    with pytest.raises(Problem) as raised:
        await Jwt(BY_KEY, FakeClock()).identify(text)
    assert raised.value.status == 401 and says in raised.value.detail
    assert "WWW-Authenticate" in raised.value.headers


@settings(max_examples=150)
@given(
    st.text(max_size=80) | st.binary(max_size=60).map(lambda raw: f"{part({'alg': 'RS256'})}.{raw.hex()}.")
)
async def test_any_text(text: str) -> None:
    with pytest.raises(Problem):
        await Jwt(BY_KEY, FakeClock()).identify(text)


class KeySet:
    """A server of keys."""

    def __init__(self) -> None:
        self.asked = 0
        self.body: object = {"keys": []}
        self.status = 200

    def publish(self, **keys: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
        entries = []
        for key_id, key in keys.items():
            algorithm = pyjwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else None
            assert algorithm is not None
            entries.append(json.loads(algorithm.to_jwk(key.public_key())) | {"kid": key_id, "alg": "RS256"})
        self.body = {"keys": entries}

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(self.body, status=self.status)


@pytest.fixture
async def key_set() -> AsyncIterator[tuple[KeySet, JwtConfig]]:
    keys = KeySet()
    app = web.Application()
    app.add_routes([web.get("/keys", keys.answer)])
    async with TestServer(app) as server:
        yield keys, JwtConfig(("RS256",), "cctv3", jwks=str(server.make_url("/keys")))


def with_kid(key: rsa.RSAPrivateKey, key_id: str) -> str:
    return pyjwt.encode(claims(), key, "RS256", headers={"kid": key_id})


async def test_key_set_is_kept_and_fetched_again(key_set: tuple[KeySet, JwtConfig]) -> None:
    keys, config = key_set
    clock = FakeClock()
    own = Jwt(config, clock)
    keys.publish(one=RSA)
    for _ in range(5):
        assert (await own.identify(with_kid(RSA, "one"))).name == "anna"
    assert keys.asked == 1
    # An unknown key makes it ask again, but not at everybody's wish.
    keys.publish(one=RSA, two=OTHER)
    for _ in range(5):
        with pytest.raises(Problem):
            await own.identify(with_kid(OTHER, "two"))
    assert keys.asked == 1
    await clock.advance(jwt.REFETCH_S + 1)
    assert (await own.identify(with_kid(OTHER, "two"))).name == "anna"
    with pytest.raises(Problem):
        await own.identify(with_kid(OTHER, "one"))
    assert keys.asked == 2


async def test_keys_that_cannot_be_fetched(key_set: tuple[KeySet, JwtConfig]) -> None:
    keys, config = key_set
    clock = FakeClock()
    own = Jwt(config, clock)
    keys.body = "x" * 10
    with pytest.raises(Problem) as raised:
        await own.identify(with_kid(RSA, "one"))
    assert raised.value.status == 503
    keys.publish(one=RSA)
    await clock.advance(jwt.REFETCH_S + 1)
    await own.identify(with_kid(RSA, "one"))
    keys.status = 500
    await clock.advance(jwt.FRESH_S + 1)
    await own.identify(with_kid(RSA, "one"))
    await clock.advance(jwt.STALE_S)
    with pytest.raises(Problem) as raised:
        await own.identify(with_kid(RSA, "one"))
    assert raised.value.status == 503


@pytest.mark.parametrize("named", [None, "RS256", "PS256", "RS512"])
async def test_a_key_without_alg_checks_every_configured_algorithm(
    key_set: tuple[KeySet, JwtConfig], named: str | None
) -> None:
    keys, config = key_set
    key = json.loads(pyjwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key())) | {"kid": "one"}
    curve = json.loads(pyjwt.algorithms.ECAlgorithm.to_jwk(EC.public_key())) | {"kid": "curve"}
    # What cannot be used takes nothing from what can.
    rubbish = [
        7,
        {},
        {"kty": "oct", "k": []},
        key | {"alg": "RSA-OAEP"},
        key | {"alg": [7]},
        key | {"kid": []},
    ]
    keys.body = {"keys": [key if named is None else key | {"alg": named}, curve, *rubbish]}
    own = Jwt(dataclasses.replace(config, algorithms=("RS512", "PS256", "ES256")), FakeClock())
    for algorithm in ("RS512", "PS256", "RS256"):
        signed = pyjwt.encode(claims(), RSA, algorithm, headers={"kid": "one"})
        if algorithm == "RS256" or named not in (None, algorithm):
            with pytest.raises(Problem) as raised:
                await own.identify(signed)
            assert raised.value.status == 401
        else:
            assert (await own.identify(signed)).name == "anna"
    by_curve = pyjwt.encode(claims(), EC, "ES256", headers={"kid": "curve"})
    assert (await own.identify(by_curve)).name == "anna"
    for kid, forged in (("one", EC), ("curve", RSA)):
        algorithm = "ES256" if forged is EC else "PS256"
        with pytest.raises(Problem, match="not signed") as raised:
            await own.identify(pyjwt.encode(claims(), forged, algorithm, headers={"kid": kid}))
        assert raised.value.status == 401
    assert keys.asked == 1
