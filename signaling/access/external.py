"""An external service that says who may come in: asked by HTTP for logins and tokens that are not known here.

It gets `POST` with JSON, {"user", "password", "address"} or {"token", "address"}, and answers 200 with
{"user": …, "role": …, "cameras": […], "expires_in": seconds}, or 401 or 403.
"""

import hashlib
import json
import logging
from collections import OrderedDict
from dataclasses import dataclass

import aiohttp

from common.access_config import ROLES, HttpAuthConfig, Role
from common.clock import Clock
from signaling.access.answers import read_answer
from signaling.problems import Problem

log = logging.getLogger(__name__)

DEADLINE_S = 3.0
MAX_ANSWER_BYTES = 64 << 10
REMEMBERED_S = 10.0
"How long an answer about a token holds for further requests."
MAX_REMEMBERED = 1024
LASTS_S = 3600.0
"How long one is let in when the service does not say."


@dataclass(frozen=True, slots=True)
class Vouched:
    """Whom the service knows."""

    user: str
    role: Role
    cameras: tuple[str, ...]
    expires_in_s: float


class External:
    """The service."""

    def __init__(self, config: HttpAuthConfig, clock: Clock) -> None:
        self._url = config.url
        self._clock = clock
        self._remembered: OrderedDict[str, tuple[float, Vouched | None]] = OrderedDict()
        self.credential = "http:" + hashlib.sha256(config.url.encode()).hexdigest()[:12]
        "Of everybody whom this service let in; ends with it."

    async def login(self, user: str, password: str, address: str) -> Vouched | None:
        """None when the service refuses; raises Problem 503 when it cannot be asked."""
        return await self._ask({"user": user, "password": password, "address": address}, user)

    async def token(self, token: str, address: str) -> Vouched | None:
        """The same for a bearer token."""
        key = hashlib.sha256(token.encode()).hexdigest()
        now_s = self._clock.monotonic_s()
        if key in self._remembered and now_s - self._remembered[key][0] < REMEMBERED_S:
            return self._remembered[key][1]
        found = await self._ask({"token": token, "address": address}, "")
        self._remembered[key] = (now_s, found)
        self._remembered.move_to_end(key)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return found

    async def _ask(self, question: dict[str, str], user: str) -> Vouched | None:
        try:
            timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
            async with (
                aiohttp.ClientSession(timeout=timeout) as client,
                client.post(self._url, json=question, allow_redirects=False) as response,
            ):
                if response.status in (401, 403):
                    return None
                if response.status != 200:
                    raise ValueError(f"it answers {response.status}, expected are 200, 401 or 403")
                body = await read_answer(response, MAX_ANSWER_BYTES)
            return _vouched(json.loads(body), user)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as exc:
            log.warning("! the service of auth.http fails: %s", exc or type(exc).__name__)
            raise Problem(503, "the service that knows the users does not answer as it should", 5) from None


def _vouched(content: object, user: str) -> Vouched:
    match content:
        case {"role": str(role), "cameras": list(cameras)} if role in ROLES:
            assert isinstance(content, dict)
            name = user or content.get("user")
            lasts = content.get("expires_in", LASTS_S)
            if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 128:
                raise ValueError("its answer does not name the user")
            if isinstance(lasts, bool) or not isinstance(lasts, int | float) or not lasts > 0:
                raise ValueError("its expires_in is no number of seconds")
            patterns = tuple(each for each in cameras if isinstance(each, str))
            return Vouched(name, role, patterns, min(float(lasts), 30 * 86_400.0))
    raise ValueError(f"its answer lacks a role ({', '.join(ROLES)}) or a list of cameras")
