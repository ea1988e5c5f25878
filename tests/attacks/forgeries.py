"""Tokens that must not be believed: what is known to go wrong with JWT (RFC 8725)."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt

ISSUER, AUDIENCE = "https://issuer.example", "cctv3"


def claims(**changes: Any) -> dict[str, Any]:
    """Claims that would do, but for the changes; None leaves one out."""
    good = {
        "sub": "mallory",
        "role": "admin",
        "cameras": ["*"],
        "aud": AUDIENCE,
        "iss": ISSUER,
        "exp": int(time.time()) + 600,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(key: str, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token with these claims."""
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def _part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def forgeries(key: str) -> Iterator[tuple[str, str]]:
    """Name and token; `key` is the real one, as the last of them are signed with it."""
    now = int(time.time())
    good = signed(key)
    head, payload, signature = good.split(".")
    for name in ("none", "None", "nOnE", "NONE", ""):
        yield f"alg={name or '(empty)'}", f"{_part({'alg': name, 'typ': 'JWT'})}.{payload}."
    yield "alg=none, signature kept", f"{_part({'alg': 'none'})}.{payload}.{signature}"
    yield "no signature", f"{head}.{payload}."
    yield "payload changed", f"{head}.{_part(claims(sub='anna'))}.{signature}"
    yield "signature changed", f"{head}.{payload}.{signature[:-2]}{'AA' if signature[-2:] != 'AA' else 'BB'}"
    yield "another key", signed("k" * 32)
    yield "empty key", f"{head}.{payload}.{jwt.encode(claims(), 'x' * 64, algorithm='HS256').split('.')[2]}"
    yield "another algorithm, right key", signed(key, "HS512")
    yield (
        "key named in the header",
        signed("k" * 32, headers={"jwk": {"kty": "oct", "k": "a2s"}, "jku": "http://127.0.0.1:1/keys"}),
    )
    yield "key id is a path", signed("k" * 32, headers={"kid": "../../../dev/null"})
    yield "critical extension", signed(key, headers={"crit": ["x"], "x": 1})
    yield "expired", signed(key, exp=now - 3600)
    yield "without an end", signed(key, exp=None)
    yield "end is no number", signed(key, exp=str(now + 600) + "x")
    yield "not yet", signed(key, nbf=now + 3600)
    yield "another audience", signed(key, aud="another")
    yield "without audience", signed(key, aud=None)
    yield "another issuer", signed(key, iss="https://evil.example")
    yield "without a subject", signed(key, sub=None)
    yield "a role that is none", signed(key, role="root")
    yield "claims are a list", f"{head}.{_part([claims()])}.{signature}"
    yield "not base64", "!!!.???.***"
    yield "one part", "token"
    yield "six thousand octets", f"{head}.{'A' * 6000}.{signature}"
