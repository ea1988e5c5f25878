"""Crowds of connections that send nothing, or a little now and then, against the real process."""

import asyncio
import resource
import time
from collections.abc import Iterator

import aiohttp
import pytest

from signaling.connections import HEAD_S, MAX_IDLE
from tests.attacks import raw
from tests.support.processes import gst_camera
from tests.support.system import System, running_system
from tests.support.viewer import Viewer
from tests.support.viewer_carriers import whep

pytestmark = pytest.mark.peers

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "


@pytest.fixture
def descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 30_000), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def page_answers(system: System) -> float:
    """A new client gets the page; seconds that it took."""
    began_s = time.monotonic()
    async with (
        asyncio.timeout(5.0),
        aiohttp.ClientSession() as client,
        client.get(system.url) as response,
    ):
        assert response.status == 200 and "cctv3" in await response.text()
    return time.monotonic() - began_s


async def crowd(system: System, number: int) -> None:
    """That many idle ones at once, while somebody watches and somebody comes."""
    async with aiohttp.ClientSession() as http:
        viewer = Viewer()
        try:
            await whep(http, f"{system.url}/whep/gate", viewer)
            async with raw.connections(system.url, number, addresses=200) as opened:
                took_s = await page_answers(system)
                left = number - raw.ended(opened)
                print(f"{number} idle connections: {left} left, the page takes {1000 * took_s:.0f} ms")
                assert left <= MAX_IDLE
            seen = viewer.reception.packets
            await viewer.until(lambda: viewer.reception.packets > seen + 50)
            assert viewer.totals().lost == 0
        finally:
            viewer.close()


async def test_slow_heads_and_crowds_lock_nobody_out(descriptors: None) -> None:
    async with gst_camera() as camera, running_system({"gate": {"url": camera.ready}}) as system:
        await system.until_live("gate")
        began_s = time.monotonic()
        async with raw.connections(system.url, 500, HEAD) as opened:
            await page_answers(system)
            # Those that the bound of one address leaves go when their time is over, though octets come.
            while raw.ended(opened) < len(opened):
                assert time.monotonic() - began_s < HEAD_S + 5.0
                for each in opened:
                    try:
                        each.send(b"a")
                    except (BlockingIOError, ConnectionError):
                        continue
                await asyncio.sleep(0.25)
        print(f"500 heads that go on for ever: all closed after {time.monotonic() - began_s:.1f} s")
        await crowd(system, 2_000)
        assert "Traceback" not in system.log_text()


@pytest.mark.soak
async def test_ten_thousand(descriptors: None) -> None:
    async with gst_camera() as camera, running_system({"gate": {"url": camera.ready}}) as system:
        await system.until_live("gate")
        await crowd(system, 10_000)
