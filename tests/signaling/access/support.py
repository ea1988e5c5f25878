"""An authority and an application behind the gate, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from argon2 import PasswordHasher

from common.access_config import AuthConfig, SignalingConfig, UserConfig
from signaling.access.authority import Authority
from signaling.access.gate import Gate
from signaling.access.permissions import ROUTES
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.access.routes import AccessRoutes
from signaling.http_body import problems
from tests.support.fake_clock import FakeClock

Client = TestClient[web.Request, web.Application]

CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
"The parameters are in the hash."
PASSWORD = "correct horse battery staple"
HASH = CHEAP.hash(PASSWORD)

ANNA = UserConfig("anna", "admin", ("*",), HASH)
OLGA = UserConfig("olga", "operator", ("*",), HASH)
VERA = UserConfig("vera", "viewer", ("front*",), HASH)
EVERYBODY = (ANNA, OLGA, VERA)


def configured(*users: UserConfig, **more: object) -> SignalingConfig:
    return SignalingConfig(auth=AuthConfig("users", users, **more))  # type: ignore[arg-type]


def authority(folder: Path, config: SignalingConfig, *, loopback: bool = True) -> Authority:
    return Authority(FakeClock(), folder / "state", config, loopback)


def application(of: Authority) -> web.Application:
    """Every route that there is, answering with who asks; the access routes are the real ones."""

    async def tell(request: web.Request) -> web.Response:
        principal = request.get(PRINCIPAL)
        return web.json_response({"name": principal.name if principal else None, "at": request[ADDRESS]})

    app = web.Application(middlewares=[problems, Gate(of).middleware])
    real = AccessRoutes(of).routes()
    app.add_routes(real)
    taken = {(route.method, route.path) for route in real}
    for method, path in ROUTES:
        if (method, path) not in taken:
            app.router.add_route(method, path, tell)
    app.router.add_get("/", tell)
    app.router.add_post("/forgotten", tell)
    return app


@asynccontextmanager
async def serving(of: Authority) -> AsyncIterator[Client]:
    async with TestClient(TestServer(application(of))) as client:
        yield client
    of.close()


async def log_in(client: Client, user: str, password: str = PASSWORD) -> int:
    async with client.post("/api/v1/login", json={"user": user, "password": password}) as response:
        return response.status
