"""Answers that come in pieces, and those that are too large."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from signaling.access.answers import read_answer


async def test_whole_or_not_at_all() -> None:
    further = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one ")
        await further.wait()  # the first piece is there alone
        await response.write(b"two")
        return response

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    async with TestServer(app) as server, aiohttp.ClientSession() as client:
        async with client.get(server.make_url("/")) as response:
            reading = asyncio.create_task(read_answer(response, 7))
            while not response.content.total_bytes:
                await asyncio.sleep(0.001)
            further.set()
            assert await reading == b"one two"
        async with client.get(server.make_url("/")) as response:
            with pytest.raises(ValueError, match="larger than 6 octets"):
                await read_answer(response, 6)
