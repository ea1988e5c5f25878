"""The external service: what it says counts, what it garbles does not."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from common.access_config import HttpAuthConfig
from signaling.access import external
from signaling.access.external import External, Vouched
from signaling.problems import Problem
from tests.support.fake_clock import FakeClock


class Service:
    def __init__(self) -> None:
        self.asked: list[object] = []
        self.status = 200
        self.body: object = {"role": "viewer", "cameras": ["front"]}

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        return web.json_response(self.body, status=self.status)


@pytest.fixture
async def service() -> AsyncIterator[tuple[Service, External, FakeClock]]:
    own, clock = Service(), FakeClock()
    app = web.Application()
    app.add_routes([web.post("/auth", own.answer)])
    async with TestServer(app) as server:
        yield own, External(HttpAuthConfig(str(server.make_url("/auth"))), clock), clock


async def test_login(service: tuple[Service, External, FakeClock]) -> None:
    own, asked, _ = service
    found = await asked.login("anna", "secret", "::1")
    assert found == Vouched("anna", "viewer", ("front",), external.LASTS_S)
    assert own.asked == [{"user": "anna", "password": "secret", "address": "::1"}]
    for own.status in (401, 403):
        assert await asked.login("anna", "secret", "::1") is None


async def test_token_answers_are_kept_for_a_moment(service: tuple[Service, External, FakeClock]) -> None:
    own, asked, clock = service
    own.body = {"user": "anna", "role": "operator", "cameras": ["*"], "expires_in": 60}
    for _ in range(3):
        assert await asked.token("t", "::1") == Vouched("anna", "operator", ("*",), 60.0)
    assert own.asked == [{"token": "t", "address": "::1"}]
    await clock.advance(external.REMEMBERED_S + 1)
    own.status = 401
    assert await asked.token("t", "::1") is None
    assert "secret" not in asked.credential and asked.credential.startswith("http:")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {}),
        (302, {}),
        (200, []),
        (200, {"role": "root", "cameras": []}),
        (200, {"role": "viewer", "cameras": "*"}),
        (200, {"role": "viewer", "cameras": [], "expires_in": "long"}),
        (200, {"role": "viewer", "cameras": [], "expires_in": -1}),
    ],
)
async def test_what_is_garbled_lets_nobody_in(
    service: tuple[Service, External, FakeClock], status: int, body: object
) -> None:
    own, asked, _ = service
    own.status, own.body = status, body
    with pytest.raises(Problem) as raised:
        await asked.login("anna", "secret", "::1")
    assert raised.value.status == 503


async def test_a_service_that_is_away(unused_tcp_port: int) -> None:
    asked = External(HttpAuthConfig(f"http://127.0.0.1:{unused_tcp_port}/"), FakeClock())
    with pytest.raises(Problem) as raised:
        await asked.token("t", "::1")
    assert raised.value.status == 503
