"""A page that is open for long, or whose sessions break again and again, holds no more than at first."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psutil
import pytest
from playwright.async_api import Browser, CDPSession, Route

from tests.support.browser import ViewerPage, chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import running_system

pytestmark = pytest.mark.soak

RECONNECTS, WARM_RECONNECTS, ROUND = 1000, 200, 100
"Sessions that break under one tile."
TILES = 16
MINUTES, WARM_MINUTES = 10, 4
"Chromium's buffers grow for three minutes."
KEPT_S = 35
"By then what is kept for the replay is that of the present session."
MEGABYTE = 1 << 20
HEAP_MB = 2.0
RESIDENT_MB = 40.0
FEW = 100
"Nodes and listeners that come and go with the words of so many tiles."

# Peer connections by weak references, so that the garbage collector decides who is left.
_PEERS = """(() => {
    const made = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...given) {
            super(...given);
            made.push(new WeakRef(this));
        }
    };
    window.peers = () => made.map((one) => one.deref()).filter(Boolean);
})();"""

# The connection is closed without a word to the page: the worker hears of it, and signaling tells the page.
_BREAK = """async (count) => {
    const until = async (reached) => {
        const deadline = performance.now() + 20_000;
        while (!reached()) {
            if (performance.now() > deadline) throw new Error(JSON.stringify(window.cctv3.chosen));
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
    };
    for (let broken = 0; broken < count; broken++) {
        let peer;
        await until(() => {
            peer = window.peers().find(({ connectionState }) => connectionState === 'connected');
            const { phase, pictureAgeMs } = window.cctv3.chosen;
            return peer && phase === 'playing' && pictureAgeMs < 50;
        });
        const { session } = window.cctv3.chosen;
        peer.close();
        await until(() => window.cctv3.chosen.session !== null && window.cctv3.chosen.session !== session);
    }
}"""


_ALL_LIVE = """(count) => {
    const tiles = window.cctv3?.tiles ?? [];
    return tiles.length === count && tiles.every(({kind}) => kind === 'live');
}"""


@dataclass(frozen=True, slots=True)
class Held:
    """What a page holds after the garbage is collected."""

    heap_mb: float
    nodes: int
    listeners: int
    peers: int
    "Peer connections that are referred to."
    open_peers: int
    recordings: int
    "Of sessions, for the replay."
    resident_mb: float
    "Of its renderer process."

    def __str__(self) -> str:
        return (
            f"JS heap {self.heap_mb:.1f} MB, {self.nodes} nodes, {self.listeners} listeners, "
            f"{self.peers} peer connections ({self.open_peers} open), {self.recordings} recordings, "
            f"renderer {self.resident_mb:.0f} MB"
        )


def renderer_mb() -> float:
    """Resident memory of the renderer of the one page that is open."""
    sizes = [
        process.memory_info().rss
        for process in psutil.Process().children(recursive=True)
        if "--type=renderer" in process.cmdline()
    ]
    return max(sizes) / MEGABYTE


async def tidy(devtools: CDPSession) -> None:
    """Has the browser give back what it does not need; in life hours do."""
    for _ in range(3):  # what a finalizer lets go is garbage only then
        await devtools.send("HeapProfiler.collectGarbage")
        await asyncio.sleep(0.3)
    await devtools.send("Memory.simulatePressureNotification", {"level": "critical"})
    await asyncio.sleep(1)


async def held(viewer: ViewerPage, devtools: CDPSession) -> Held:
    await tidy(devtools)
    found = await devtools.send("Performance.getMetrics")
    metrics = {each["name"]: each["value"] for each in found["metrics"]}
    states = await viewer.page.evaluate("window.peers().map(({connectionState}) => connectionState)")
    return Held(
        metrics["JSHeapUsedSize"] / MEGABYTE,
        int(metrics["Nodes"]),
        int(metrics["JSEventListeners"]),
        len(states),
        sum(state != "closed" for state in states),
        await viewer.page.workers[0].evaluate("recordings()"),
        renderer_mb(),
    )


def assert_flat(before: Held, after: Held, peers: int) -> None:
    assert after.heap_mb < before.heap_mb + HEAP_MB
    assert after.nodes < before.nodes + FEW and after.listeners < before.listeners + FEW
    assert after.peers <= peers and after.open_peers <= peers and after.recordings <= peers
    assert after.resident_mb < before.resident_mb + RESIDENT_MB


async def let_recordings_be_counted(route: Route) -> None:
    response = await route.fetch()
    text = await response.text() + "globalThis.recordings = () => recordings.size;\n"
    await route.fulfill(response=response, body=text)


@contextlib.asynccontextmanager
async def opened(browser: Browser, url: str) -> AsyncIterator[tuple[ViewerPage, CDPSession]]:
    page = await browser.new_page(viewport={"width": 1600, "height": 900})
    await page.add_init_script(_PEERS)
    await page.route("**/replay/worker.js", let_recordings_be_counted)
    viewer = ViewerPage(page)
    await page.goto(url)
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Performance.enable")
    await devtools.send("HeapProfiler.enable")
    yield viewer, devtools
    assert viewer.errors == []
    await page.close()


async def test_a_thousand_reconnects() -> None:
    port = free_tcp_port()
    async with (
        simulated_camera(port, width=320, height=180, gop=25) as url,
        running_system({"door": {"url": url}}) as system,
        chromium() as browser,
        opened(browser, system.url) as (viewer, devtools),
    ):
        await viewer.until_playing()
        took_s = 0.0
        for done in range(0, WARM_RECONNECTS + RECONNECTS, ROUND):
            if done == WARM_RECONNECTS:
                await asyncio.sleep(KEPT_S)
                before = await held(viewer, devtools)
            began = time.monotonic()
            await viewer.page.evaluate(_BREAK, ROUND)
            took_s += time.monotonic() - began
            await tidy(devtools)
        await asyncio.sleep(KEPT_S)
        after = await held(viewer, devtools)
        reconnects = (await viewer.facts())["reconnects"]
        print(f"\n{reconnects} reconnects, {took_s / reconnects:.2f} s each")
        print(f"  before {before}\n  after  {after}")
        assert reconnects >= WARM_RECONNECTS + RECONNECTS
        # One that plays, one that waits for whoever needs it.
        assert_flat(before, after, peers=2)


async def test_sixteen_tiles_for_ten_minutes() -> None:
    port = free_tcp_port()
    names = [f"cam{number:02}" for number in range(TILES)]
    async with (
        simulated_camera(port, width=640, height=360, fps=10) as url,
        running_system({name: {"url": url} for name in names}) as system,
        chromium() as browser,
    ):
        for name in names:
            await system.until_live(name)
        async with opened(browser, system.url) as (viewer, devtools):
            await viewer.page.wait_for_function(_ALL_LIVE, arg=TILES)
            await asyncio.sleep(60 * WARM_MINUTES)
            before = await held(viewer, devtools)
            await asyncio.sleep(60 * MINUTES)
            after = await held(viewer, devtools)
            tiles = await viewer.page.evaluate("window.cctv3.tiles")
            reconnects = sum(tile["reconnects"] for tile in tiles)
            print(f"\n{TILES} tiles for {MINUTES} minutes, {reconnects} reconnects")
            print(f"  before {before}\n  after  {after}")
            assert all(tile["kind"] == "live" for tile in tiles)
            assert_flat(before, after, peers=TILES + 1)
