"""The description: complete, readable, and held to by the server."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from signaling_support import System, eventually, started

from common import config
from common.keeper.service import Keeper
from signaling.access.permissions import ROUTES
from signaling.api.description import OPERATIONS, document

from .conftest import TEXT, NoSupervisor

NOT_DESCRIBED = {
    ("GET", "/api/v1/"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/view"),
    ("GET", "/ws"),
    ("OPTIONS", "/whep/{camera}"),
    ("OPTIONS", "/whep/{camera}/{session}"),
}


def test_every_route_is_described() -> None:
    assert {(each.method, each.path) for each in OPERATIONS} == ROUTES.keys() - NOT_DESCRIBED


async def test_what_is_served_is_what_is_allowed(bare: System) -> None:
    """A route that nobody has listed is not reachable, so that it must not be there."""
    from signaling.pages import PAGES_PUBLIC

    app = bare.runner._runner.app
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    pages = {(method, path) for method, path in served if path in PAGES_PUBLIC}
    assert served - pages == ROUTES.keys()


async def test_served_to_programs_and_people(bare: System) -> None:
    async with bare.client.get(f"{bare.url}/api/v1/openapi.json") as response:
        assert await response.json() == document()
    async with bare.client.get(f"{bare.url}/api/v1/") as response:
        text = await response.text()
        assert response.content_type == "text/html" and "unsafe" not in str(response.headers)
    for operation in OPERATIONS:
        assert operation.path in text
    assert "<script" not in text and "style=" not in text


class Running:
    """The system in a thread of its own, as the tests of the description ask from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._main(),))

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        system = await started(self.folder)
        path = self.folder / "config.yaml"
        path.write_text(TEXT)
        keeper = Keeper(system.endpoint, self.folder / "r", path, config.load(path), None, NoSupervisor())
        await eventually(lambda: system.broker.settings is not None)
        self.url = system.url
        self._ready.set()
        await self._stop.wait()
        keeper.close()
        await system.close()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._loop.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("api"))
    running.start()
    yield running
    running.stop()


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def as_text(_ctx: object, value: object) -> bytes:
    return str(value).encode(errors="replace")


SCHEMA = schemathesis.openapi.from_dict(document())
# A stream of events does not end, and what removes users or logs in has tests of its own.
ENDLESS = "/api/v1/events"


@SCHEMA.exclude(path=ENDLESS).parametrize()
@settings(
    max_examples=12,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_server_keeps_to_it(case: schemathesis.Case, running: Running) -> None:
    case.call_and_validate(
        base_url=running.url,
        checks=[
            not_a_server_error_but_busy,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ],
    )


def not_a_server_error_but_busy(ctx: Any, response: Any, case: Any) -> bool | None:
    """503 and 504 are answers; 500 and 502 are faults."""
    return None if response.status_code in (503, 504) else not_a_server_error(ctx, response, case)
