"""Bearer tokens of somebody else: JWT (RFC 7519), signed by a configured key or one of a key set (RFC 7517).

Claims: `sub`, `exp` and `aud` are required; `role` is viewer where it is missing; `cameras` is a list of name
patterns, which only an admin does without: a token that forgot to say what it is for opens nothing.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
from typing import Any

import aiohttp
import jwt as pyjwt

from common.access_config import ROLES, JwtConfig
from common.clock import Clock
from signaling.access.answers import read_answer
from signaling.access.principal import Principal
from signaling.problems import Problem

log = logging.getLogger(__name__)

MAX_TOKEN = 8192
MAX_KEY_SET_BYTES = 256 << 10
FETCH_DEADLINE_S = 3.0
LEEWAY_S = 10
"How far the clocks may be apart."
REFETCH_S = 30.0
"At most so often is the key set fetched because of a key that is not in it."
FRESH_S = 600.0
STALE_S = 3600.0
"How long keys are believed that cannot be fetched again."
MAX_PATTERNS = 256


def _refused(why: str) -> Problem:
    challenge = 'Bearer error="invalid_token"'  # RFC 6750 section 3
    return Problem(401, f"the token is refused: {why}", headers={"WWW-Authenticate": challenge})


class Jwt:
    """Checks tokens."""

    def __init__(self, config: JwtConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._keys: dict[str, dict[str, Any]] = {}
        "Of the key set, by key id."
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        self._fetching = asyncio.Lock()
        self.credential = "jwt:" + hashlib.sha256(repr(_parts(config)).encode()).hexdigest()[:12]
        "Of every token that this configuration lets in; ends with it."

    async def identify(self, token: str) -> Principal:
        """Whom the token names; raises Problem 401, or 503 when the keys cannot be had."""
        if len(token) > MAX_TOKEN:
            raise _refused(f"it is longer than {MAX_TOKEN} characters")
        try:
            header = pyjwt.get_unverified_header(token)
        except (pyjwt.PyJWTError, ValueError):
            raise _refused("it is no JWT") from None
        if header.get("alg") not in self._config.algorithms:
            raise _refused("its algorithm is not one that is configured")
        try:
            key = self._config.key if self._config.key is not None else await self._key(header)
            claims = pyjwt.decode(
                token,
                key,
                algorithms=list(self._config.algorithms),
                audience=self._config.audience,
                issuer=self._config.issuer,
                leeway=LEEWAY_S,
                options={"require": ["sub", "exp", "aud"]},
            )
        except pyjwt.ExpiredSignatureError:
            raise _refused("it has expired") from None
        except pyjwt.InvalidAudienceError:
            raise _refused("it is for another audience") from None
        except pyjwt.InvalidIssuerError:
            raise _refused("it is from another issuer") from None
        except pyjwt.MissingRequiredClaimError as exc:
            raise _refused(f"it lacks the claim {exc.claim}") from None
        except (pyjwt.PyJWTError, TypeError, ValueError):
            raise _refused("it is not signed by a configured key, or not well-formed") from None
        return self._principal(claims)

    def _principal(self, claims: dict[str, Any]) -> Principal:
        name, role, cameras = claims["sub"], claims.get("role", "viewer"), claims.get("cameras")
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 128:
            raise _refused("its sub is not a name")
        if role not in ROLES:
            raise _refused(f"its role is not one of {', '.join(ROLES)}")
        if role == "admin":
            cameras = ["*"]
        if not isinstance(cameras, list) or len(cameras) > MAX_PATTERNS:
            raise _refused('its claim cameras is not a list of camera names or patterns, such as ["*"]')
        patterns = tuple(each for each in cameras if isinstance(each, str) and len(each) <= 128)
        return Principal(name, "token", role, patterns, self.credential, float(claims["exp"]))

    async def _key(self, header: dict[str, Any]) -> pyjwt.PyJWK:
        """The key that a token names, whose algorithm is known to be a configured one."""
        key_id = header.get("kid")
        wanted = key_id if isinstance(key_id, str) else ""
        async with self._fetching:
            now_s = self._clock.monotonic_s()
            aged = self._fetched_s is None or now_s - self._fetched_s > FRESH_S
            tried = self._tried_s is not None and now_s - self._tried_s < REFETCH_S
            if (aged or wanted not in self._keys) and not tried:
                self._tried_s = now_s
                await self._fetch(now_s)
        if self._fetched_s is None or now_s - self._fetched_s > STALE_S:
            raise Problem(503, "the keys that tokens are checked with cannot be fetched", 5)
        if wanted in self._keys:
            # Many key sets name no algorithm (RFC 7517 section 4.4), and an RSA key is good for several.
            key = self._keys[wanted]
            return pyjwt.PyJWK(key, key.get("alg") or header["alg"])
        raise _refused("its key is not in the configured key set")

    async def _fetch(self, now_s: float) -> None:
        assert self._config.jwks is not None
        try:
            timeout = aiohttp.ClientTimeout(total=FETCH_DEADLINE_S)
            async with (
                aiohttp.ClientSession(timeout=timeout) as client,
                client.get(self._config.jwks, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise ValueError(f"status {response.status}")
                body = await read_answer(response, MAX_KEY_SET_BYTES)
            content = json.loads(body)
            if not isinstance(content, dict) or not isinstance(content.get("keys"), list):
                raise ValueError("it is no key set (RFC 7517 section 5)")
            keys = _usable(content["keys"])
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as exc:
            log.warning("! the key set of auth.jwt.jwks cannot be had: %s", exc or type(exc).__name__)
            return
        self._keys = keys
        self._fetched_s = now_s


def _usable(listed: list[object]) -> dict[str, dict[str, Any]]:
    """By key id the keys that can be read; raises ValueError when there is none."""
    keys = {}
    for key in listed:
        if isinstance(key, dict):
            with contextlib.suppress(pyjwt.PyJWTError, TypeError, ValueError):
                keys[pyjwt.PyJWK(key).key_id or ""] = key
    if not keys:
        raise ValueError("it holds no key that can be used")
    return keys


def _parts(config: JwtConfig) -> tuple[object, ...]:
    return config.algorithms, config.audience, config.issuer, config.key, config.jwks
