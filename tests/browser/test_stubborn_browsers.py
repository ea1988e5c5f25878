"""Browsers that fail now and then: what the page asked of them is asked again, and the picture comes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.support.browser import chromium, open_viewer
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system

pytestmark = pytest.mark.peers

_NO_PEERS = """(() => {
    let refused = 3;
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...given) {
            if (refused-- > 0) throw new DOMException('too many', 'UnknownError');
            super(...given);
        }
    };
})();"""
_DEAF_SOCKET = """(() => {
    let first = true;
    window.WebSocket = class extends WebSocket {
        constructor(address, ...more) {
            super(first ? 'ws://127.0.0.1:PORT/' : address, ...more);
            first = false;
        }
    };
})();"""
_CLOCK = """async () => {
    const { ServerClock } = await import('/media/server_clock.js');
    const signaling = new EventTarget();
    let offMs = 0;
    signaling.isOpen = true;
    signaling.request = async () => {
        await new Promise((resolve) => setTimeout(resolve, offMs ? 20 : 1));
        return { utc_ms: performance.now() + 1e12 + offMs };
    };
    const clock = new ServerClock(signaling);
    const error = () => Math.abs(clock.utcMs(performance.now()) - performance.now() - 1e12 - offMs);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const before = error();
    offMs = 3_600_000;
    signaling.dispatchEvent(new Event('open'));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return [before, error()];
}"""


@contextlib.asynccontextmanager
async def playing_system() -> AsyncIterator[tuple[System, Browser]]:
    port = free_tcp_port()
    async with (
        simulated_camera(port, width=640, height=360, gop=25) as url,
        running_system({"yard": {"url": url}}) as system,
        chromium() as browser,
    ):
        await system.until_live("yard")
        yield system, browser


async def test_what_a_browser_refuses_or_stops_is_asked_again() -> None:
    async with playing_system() as (system, browser):
        viewer = await open_viewer(browser, system.url, _NO_PEERS)
        # The first refusal is that of the offer made ahead of time.
        facts = await viewer.until_playing(5)
        assert 1 <= facts["reconnects"] <= 3
        assert viewer.errors == []

        frames = "window.cctv3.video.getVideoPlaybackQuality().totalVideoFrames"
        await viewer.page.evaluate("window.cctv3.video.pause()")
        await asyncio.sleep(0.3)
        before = await viewer.page.evaluate(frames)
        await asyncio.sleep(1.0)
        assert await viewer.page.evaluate(frames) > before + 10
        assert (await viewer.facts())["kind"] == "live"

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            other = await open_viewer(browser, system.url, _DEAF_SOCKET.replace("PORT", str(port)))
            await other.until_playing(5, 12)

        before_ms, after_ms = await viewer.page.evaluate(_CLOCK)
        assert before_ms < 20 and after_ms < 40
