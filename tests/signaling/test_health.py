"""What load balancers are told, and that strangers learn no names from it."""

import dataclasses
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from signaling_support import System, eventually, worker_report

from common.messages import SettingsState
from signaling.broker import SETTLING_S
from signaling.health import Health
from signaling.http_body import problems

SETTINGS = SettingsState(1, 1, ("front", "yard"), True, None, ())


class Asked:
    """Both answers of one system."""

    def __init__(self, system: System, client: "TestClient[web.Request, web.Application]") -> None:
        self.broker = system.broker
        self.system = system
        self._client = client

    async def __call__(self, path: str) -> tuple[int, str]:
        async with self._client.get(path) as response:
            text = await response.text()
            assert "front" not in text and "yard" not in text and "w0" not in text
            assert ("Retry-After" in response.headers) == (response.status == 503)
            return response.status, text


@pytest.fixture
async def asked(system: System) -> AsyncIterator[Asked]:
    app = web.Application(middlewares=[problems])
    app.add_routes(Health(system.broker).routes())
    async with TestClient(TestServer(app)) as client:
        yield Asked(system, client)


async def test_ready(asked: Asked) -> None:
    asked.broker.settings = SETTINGS
    assert await asked("/healthz") == (200, '{"status": "ok", "workers": 1}')
    assert await asked("/readyz") == (200, '{"status": "ready"}')


async def test_without_a_worker(asked: Asked) -> None:
    asked.broker.settings = SETTINGS
    asked.system.clock.now_s += 10.0
    asked.broker.tick()
    for path in ("/healthz", "/readyz"):
        status, text = await asked(path)
        assert status == 503 and "no media worker is up" in text


async def test_without_the_keeper(asked: Asked) -> None:
    asked.broker.settings = None
    status, text = await asked("/readyz")
    assert status == 503 and "keeper" in text and "worker" not in text
    assert (await asked("/healthz"))[0] == 200


async def test_draining(asked: Asked) -> None:
    asked.broker.settings = SETTINGS
    worker = asked.system.worker
    worker.client.notify(dataclasses.replace(worker_report("w0"), draining=True))
    await eventually(lambda: any(w.report and w.report.draining for w in asked.broker.registry.workers()))
    status, text = await asked("/readyz")
    assert status == 503 and "every media worker is draining" in text
    assert (await asked("/healthz"))[0] == 200
    await asked.system.add_worker("w1")
    assert (await asked("/readyz"))[0] == 200


async def test_after_a_start(asked: Asked) -> None:
    asked.broker.settings = SETTINGS
    asked.system.clock.now_s -= SETTLING_S
    status, text = await asked("/readyz")
    assert status == 503 and "just been started" in text
