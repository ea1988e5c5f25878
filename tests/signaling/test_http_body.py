"""Bodies that never end, or not in time, or not at all."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from signaling import http_body
from signaling.http_body import problems, read_text

LIMIT = 100


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async def length(request: web.Request) -> web.Response:
        return web.json_response(len(await read_text(request, LIMIT)))

    app = web.Application(middlewares=[problems])
    app.add_routes([web.post("/", length)])
    async with TestServer(app) as server:
        yield server


async def begun(server: TestServer, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + head)
    return reader, writer


async def test_a_body_has_its_time_however_slowly_it_comes(
    server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_body, "BODY_DEADLINE_S", 0.3)
    reader, writer = await begun(server, b"Content-Length: 90\r\n\r\n")

    async def drip() -> None:
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.05)

    dripping = asyncio.ensure_future(drip())
    try:
        async with asyncio.timeout(5):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
    finally:
        dripping.cancel()
        writer.close()
    assert head.startswith("HTTP/1.1 408 ") and "Connection: close" in head
    assert "Content-Type: application/problem+json" in head


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 2\r\n\r\nab", b"200"),
        (b"Content-Length: 101\r\n\r\n", b"413"),
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"10\r\n0123456789abcdef\r\n" * 7, b"413"),
        (b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab", b"415"),
        (b"Content-Length: 1\r\n\r\n\xff", b"400"),
    ],
)
async def test_bodies(server: TestServer, head: bytes, status: bytes) -> None:
    reader, writer = await begun(server, head)
    async with asyncio.timeout(5):
        assert (await reader.readline()).split()[1] == status
    writer.close()


async def test_a_client_that_hangs_up_is_no_fault(
    server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    for head in (b"Content-Length: 90\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n10\r\n01"):
        _, writer = await begun(server, head)
        await asyncio.sleep(0.05)
        writer.transport.abort()
    await asyncio.sleep(0.2)
    assert not caplog.records
