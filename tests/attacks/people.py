"""Who may come in, as the tests of attacks configure it, and how they say who they are."""

from typing import Any

import aiohttp
from argon2 import PasswordHasher

from tests.attacks.forgeries import AUDIENCE, ISSUER, signed
from tests.support.system import System

KEY = "the secret that tokens are signed with, of more octets than sixty-four"
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
Headers = dict[str, str]


def password_of(user: str) -> str:
    return f"s3cret-of-{user}"


def auth(*viewers: str) -> dict[str, Any]:
    """An admin anna, viewers of the camera `front`, and tokens."""
    users: dict[str, Any] = {name: {"role": "viewer", "cameras": ["front"]} for name in viewers}
    users["anna"] = {"role": "admin"}
    for name, user in users.items():
        user["password"] = CHEAP.hash(password_of(name))
    return {
        "users": users,
        "jwt": {"algorithms": ["HS256"], "key": KEY, "audience": AUDIENCE, "issuer": ISSUER},
    }


async def cookie_of(system: System, user: str) -> Headers:
    """Logs in."""
    credentials = {"user": user, "password": password_of(user)}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{system.url}/api/v1/login", json=credentials) as response,
    ):
        assert response.status == 204, await response.text()
        return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}


def token(**claims: Any) -> Headers:
    """A good token, an admin's unless the claims say otherwise."""
    return {"Authorization": f"Bearer {signed(KEY, **claims)}"}


async def link_to(system: System, camera: str) -> tuple[str, Headers]:
    """A view link's id, and its token."""
    async with (
        aiohttp.ClientSession(headers=token()) as client,
        client.post(f"{system.url}/api/v1/links", json={"camera": camera, "seconds": 3600}) as response,
    ):
        assert response.status == 201, await response.text()
        link = await response.json()
        return link["id"], {"Authorization": f"Bearer {link['token']}"}
