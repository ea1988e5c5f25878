"""Chromium on the viewer page, and what the page says of itself."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
)

_PIXELS = """() => {
    const video = document.querySelector('video');
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
        """`window.cctv3`: session, framesDecoded, firstFrameMs, width, height, lost, showing, hasSound, …"""
        facts = await self.page.evaluate("() => ({...window.cctv3})")
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

    async def select(self, quality: str) -> None:
        """Chooses `auto`, `main`, `sub` or `keyframes` in the page's menu."""
        await self.page.select_option("#quality", quality)

    async def toggle_sound(self) -> None:
        """Clicks the sound button once it is there."""
        await self.page.click("#sound")

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
        last = await self.page.evaluate(
            "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames"
        )
        while time.monotonic() - started < deadline_s:
            await asyncio.sleep(0.02)
            frames = await self.page.evaluate(
                "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames"
            )
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
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium that takes loopback candidates and plays without a click."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


async def open_viewer(browser: Browser, url: str) -> ViewerPage:
    """The viewer page in a tab (and storage) of its own."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    viewer = ViewerPage(page)
    await page.goto(url)
    return viewer
