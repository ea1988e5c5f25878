"""The wall page in Chromium: every tile of it, and what it does behind what is seen."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from playwright.async_api import Browser, BrowserContext, Locator

from tests.support.browser import ViewerPage
from tests.support.system import System

Tiles = dict[str, dict[str, Any]]

NOTES = """(() => {
    const notes = { peers: [], connecting: new Set(), mostConnecting: 0, words: {}, violations: [] };
    window.notes = notes;
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...given) {
            super(...given);
            notes.peers.push(this);
            this.addEventListener('connectionstatechange', () => {
                if (this.connectionState !== 'connecting') notes.connecting.delete(this);
            });
        }
        close() {
            notes.connecting.delete(this);
            super.close();
        }
    };
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (message) {
        const { type, sdp } = JSON.parse(message);
        if (type === 'offer') {
            notes.connecting.add(notes.peers.find((peer) => peer.localDescription?.sdp === sdp));
            notes.mostConnecting = Math.max(notes.mostConnecting, notes.connecting.size);
        }
        return send.call(this, message);
    };
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sourceFile }) => {
        notes.violations.push(`${violatedDirective} ${blockedURI} in ${sourceFile}`);
    });
    const hear = () => {
        for (const tile of document.querySelectorAll('.tile')) {
            const title = tile.querySelector('.veil:not([hidden]) .veil-title')?.textContent;
            const words = (notes.words[tile.dataset.camera] ??= []);
            if (title && words.at(-1) !== title) words.push(title);
        }
    };
    new MutationObserver(hear).observe(document, { childList: true, subtree: true, characterData: true });
    const now = performance.now.bind(performance);
    let skippedMs = 0;
    performance.now = () => now() + skippedMs;
    notes.skip = (ms) => { skippedMs += ms; };
})();"""
"""Before the page's own scripts: `peers`; `connecting`, those that have sent an offer and are not connected;
`words`, every title of a veil by camera; `violations` of the page's policy. `skip(ms)` lets time pass."""

_WATCH = """(camera) => {
    const video = document.querySelector(`.tile[data-camera="${camera}"] video`);
    const context = new OffscreenCanvas(32, 18).getContext('2d', { willReadFrequently: true });
    const looks = window.looks = [];
    const look = () => {
        context.clearRect(0, 0, 32, 18);
        context.drawImage(video, 0, 0, 32, 18);
        const { data } = context.getImageData(0, 0, 32, 18);
        const light = data.reduce((sum, value, at) => sum + (at % 4 === 3 ? 0 : value), 0) / (32 * 18 * 3);
        looks.push([video.videoWidth, light]);
        if (window.looks === looks) requestAnimationFrame(look);
    };
    look();
}"""

_INBOUND = """async () => {
    const found = [];
    for (const peer of window.notes.peers) {
        if (peer.connectionState !== 'connected') continue;
        for (const entry of (await peer.getStats()).values()) {
            if (entry.type === 'inbound-rtp' && entry.kind === 'video') found.push({ ...entry });
        }
    }
    return found;
}"""

_HIDE = """(hidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    const visibilityState = hidden ? 'hidden' : 'visible';
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => visibilityState });
    document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
}"""


class WallPage(ViewerPage):
    """One open wall."""

    async def tiles(self) -> Tiles:
        """The facts of each tile by camera, in the order of the wall."""
        tiles = await self.page.evaluate("() => (window.cctv3?.tiles ?? []).map((facts) => ({...facts}))")
        return {facts["camera"]: facts for facts in tiles}

    async def until_tiles(self, reached: Callable[[Tiles], Any], deadline_s: float = 20.0) -> Tiles:
        """Polls the facts of all tiles until `reached` is true for them; fails with the last ones."""
        tiles: Tiles = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while True:
                    tiles = await self.tiles()
                    if reached(tiles):
                        return tiles
                    await asyncio.sleep(0.02)
        raise AssertionError(f"not reached within {deadline_s:g} s: {tiles}")

    async def until_live(self, *cameras: str, deadline_s: float = 20.0) -> Tiles:
        """Waits until these cameras show a picture that is live."""
        return await self.until_tiles(
            lambda tiles: all(is_live(tiles.get(camera)) for camera in cameras), deadline_s
        )

    def tile(self, camera: str) -> Locator:
        return self.page.locator(f'.tile[data-camera="{camera}"]')

    async def large(self) -> str | None:
        """The camera that fills the wall."""
        large: str | None = await self.page.evaluate("window.cctv3.large")
        return large

    async def until_large(self, camera: str | None) -> None:
        """Waits until that camera fills the wall, or none does."""
        async with asyncio.timeout(5):
            while await self.large() != camera:
                await asyncio.sleep(0.02)

    async def focused(self) -> str | None:
        """The camera whose tile has the focus."""
        camera: str | None = await self.page.evaluate("document.activeElement?.dataset?.camera ?? null")
        return camera

    async def note(self, name: str) -> Any:
        """One of the notes that the page takes of itself."""
        return await self.page.evaluate(f"window.notes.{name}")

    async def watch(self, camera: str) -> None:
        """Begins to look at a tile's video at each frame of the screen."""
        await self.page.evaluate(_WATCH, camera)

    async def looks(self) -> list[tuple[int, float]]:
        """Width of the picture and its mean brightness, 0 to 255, at each frame since `watch`."""
        looks = await self.page.evaluate(
            "() => { const { looks } = window; window.looks = null; return looks; }"
        )
        return [(width, light) for width, light in looks]

    async def inbound(self) -> list[dict[str, Any]]:
        """Chromium's statistics of the videos that are received."""
        found = await self.page.evaluate(_INBOUND)
        assert isinstance(found, list)
        return found

    async def skip(self, seconds: float) -> None:
        """Lets that time go by at once, for the page."""
        await self.page.evaluate("(ms) => window.notes.skip(ms)", seconds * 1000)

    async def hide(self, hidden: bool) -> None:
        """Tells the page that its tab is hidden, or is seen again: headless Chromium hides none."""
        await self.page.evaluate(_HIDE, hidden)


def is_live(facts: dict[str, Any] | None) -> bool:
    """A picture of now is on screen."""
    return facts is not None and (facts["kind"], facts["phase"]) == ("live", "playing")


async def open_wall(where: Browser | BrowserContext, url: str, **options: Any) -> WallPage:
    """The page in a tab of its own; with a browser, in storage of its own too, as `options` say."""
    if isinstance(where, Browser):
        where = await where.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
    wall = WallPage(await where.new_page())
    await wall.page.add_init_script(NOTES)
    await wall.page.goto(url)
    return wall


async def sessions_of(system: System) -> dict[str, dict[str, Any]]:
    """What GET sessions lists, by camera; no camera may have two."""
    listed = (await system.get("/api/v1/sessions"))["sessions"]
    found = {entry["camera"]: entry for entry in listed}
    assert len(found) == len(listed), listed
    return found
