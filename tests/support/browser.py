"""Chromium on the viewer page, and what the page says of itself."""

import asyncio
import contextlib
import shlex
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page, async_playwright

from tests.support.netns import Namespace

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
)

_PIXELS = """() => {
    const { video } = window.cctv3;
    const canvas = document.createElement('canvas');
    canvas.width = 64; canvas.height = 36;
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0, 64, 36);
    return Array.from(context.getImageData(0, 0, 64, 36).data);
}"""


class ViewerPage:
    """One open viewer page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def facts(self) -> dict[str, Any]:
        """Of the chosen tile: camera, kind, session, framesDecoded, firstFrameMs, width, lost, showing, …"""
        facts = await self.page.evaluate("() => ({...window.cctv3?.chosen})")
        assert isinstance(facts, dict)
        return facts

    async def until(
        self, reached: Callable[[dict[str, Any]], Any], deadline_s: float = 20.0
    ) -> dict[str, Any]:
        """Polls the facts until `reached` is true for them; fails with the last ones."""
        facts: dict[str, Any] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while True:
                    facts = await self.facts()
                    if reached(facts):
                        return facts
                    await asyncio.sleep(0.02)
        raise AssertionError(f"not reached within {deadline_s:g} s: {facts}")

    async def until_playing(self, frames: int = 1, deadline_s: float = 20.0) -> dict[str, Any]:
        """Waits for that many decoded frames in the present session."""
        return await self.until(lambda facts: (facts.get("framesDecoded") or 0) >= frames, deadline_s)

    @property
    def veil(self) -> Locator:
        """What lies over the picture of the first tile, or of the enlarged one, when it is not live."""
        return self.page.locator(".tile.large .veil, .wall:not(.has-large) .tile .veil").first

    async def enlarge(self) -> None:
        """Enlarges the first tile, unless one is."""
        if not await self.page.locator(".tile.large").count():
            await self.page.locator(".tile").first.click()

    async def select(self, quality: str) -> None:
        """Chooses `auto`, `main`, `sub` or `keyframes` in the menu of the enlarged tile."""
        await self.enlarge()
        await self.page.select_option(".tile.large .quality", quality)

    async def toggle_sound(self) -> None:
        """Clicks the sound button once it is there."""
        await self.page.locator(".tile").first.hover()
        await self.page.locator(".tile .sound").first.click()

    async def pixels(self) -> list[int]:
        """The picture as 64 x 36 RGBA values."""
        values = await self.page.evaluate(_PIXELS)
        assert isinstance(values, list)
        return values

    async def seconds_to_recover(self, deadline_s: float = 30.0) -> float:
        """Waits for the picture to stop and to move again; seconds since the call. 0 if it never stopped.

        Stopped means: no new frame for 300 ms. Never means: frames kept coming for 5 s.
        """
        started = moved = time.monotonic()
        stopped = False
        last = await self.page.evaluate("window.cctv3.video.getVideoPlaybackQuality().totalVideoFrames")
        while time.monotonic() - started < deadline_s:
            await asyncio.sleep(0.02)
            frames = await self.page.evaluate("window.cctv3.video.getVideoPlaybackQuality().totalVideoFrames")
            now = time.monotonic()
            if frames != last:
                if stopped:
                    return now - started
                last, moved = frames, now
            stopped = stopped or now - moved > 0.3
            if not stopped and now - started > 5:
                return 0.0
        raise AssertionError(f"no picture for {deadline_s:g} s: {await self.facts()}")


@contextlib.asynccontextmanager
async def chromium(inside: Namespace | None = None) -> AsyncIterator[Browser]:
    """A headless Chromium that takes loopback candidates and plays without a click."""
    async with async_playwright() as playwright:
        with _program(inside) as program:
            browser = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
            try:
                yield browser
            finally:
                await browser.close()


@contextlib.contextmanager
def _program(inside: Namespace | None) -> Iterator[str]:
    """Chromium as one file to start it by, since Playwright knows no other."""
    if inside is None:
        yield CHROMIUM
        return
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "chromium"
        program.write_text(f'#!/bin/sh\nexec {shlex.join(inside.command)} {CHROMIUM} "$@"\n')
        program.chmod(0o755)
        yield str(program)


async def open_viewer(browser: Browser, url: str, script: str | None = None) -> ViewerPage:
    """The viewer page in a tab (and storage) of its own; `script` runs before those of the page."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    viewer = ViewerPage(page)
    if script is not None:
        await page.add_init_script(script)
    await page.goto(url)
    return viewer
