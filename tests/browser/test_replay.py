"""The last half minute once more: from what the browser received, marked as a replay, while live goes on."""

import asyncio
import time

import pytest
from playwright.async_api import Route

from tests.support import barcode
from tests.support.browser import ViewerPage, chromium, open_viewer
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import running_system

pytestmark = pytest.mark.peers

BEFORE_S = 6.0
"On the wall, before somebody enlarges it."

_DRAWN = """async () => {
    const canvas = document.querySelector('.replay-over canvas');
    return canvas ? readBarcode(await createImageBitmap(canvas), Date.now()) : null;
}"""


async def drawn_ms(viewer: ViewerPage) -> float | None:
    """The UTC that the camera drew into the picture that is replayed; None while there is none."""
    value = await viewer.page.evaluate(_DRAWN)
    assert value is None or isinstance(value, int | float)
    return value


async def replayed_ms(viewer: ViewerPage) -> float:
    async with asyncio.timeout(10):
        while True:
            value = await drawn_ms(viewer)
            if value is not None:
                return value
            await asyncio.sleep(0.02)


async def let_replays_be_seen(route: Route) -> None:
    response = await route.fetch()
    text = await response.text() + "globalThis.replaying = () => replay !== null;\n"
    await route.fulfill(response=response, body=text)


async def test_what_was_seen_on_the_wall_is_seen_again_enlarged() -> None:
    port = free_tcp_port()
    async with (
        simulated_camera(port, width=1280, height=720, gop=25, audio="opus") as url,
        running_system({"yard": {"url": url, "sub": f"{url}-sub"}, "gate": {"url": url}}) as system,
        chromium() as browser,
    ):
        await system.until_live("yard")
        viewer = await open_viewer(browser, "about:blank", barcode.SCRIPT)
        await viewer.page.route("**/replay/worker.js", let_replays_be_seen)
        await viewer.page.goto(system.url)
        page = viewer.page
        await viewer.until_playing(1)
        await asyncio.sleep(BEFORE_S)
        await page.locator(".tile[data-camera=yard]").click()
        button = page.locator(".tile.large .tool.replay")
        await button.wait_for()
        await viewer.until(lambda facts: facts["camera"] == "yard" and facts["width"] == 1280)
        await page.locator(".tile.large .sound").click()
        assert not (await viewer.facts())["muted"]

        live_frames = (await viewer.facts())["framesDecoded"]
        began_ms = time.time() * 1000
        await button.click()
        first_ms = await replayed_ms(viewer)
        # From before it was enlarged.
        assert 4000 < began_ms - first_ms < 31_000
        assert (await viewer.facts())["muted"]
        words = page.locator(".replay-words")
        await words.filter(has_text="Replay, not live · ").wait_for()
        assert "s ago" in (await words.text_content() or "")
        assert not await page.locator(".tile.large .bar").is_visible()
        await asyncio.sleep(2.0)
        second_ms = await replayed_ms(viewer)
        assert 1200 < second_ms - first_ms < 3000, "it plays at the speed of life"
        await viewer.until(lambda facts: facts["framesDecoded"] > live_frames + 25)

        await page.locator(".replay-controls .tool").first.click()
        await asyncio.sleep(0.3)
        paused_ms = await replayed_ms(viewer)
        await asyncio.sleep(1.0)
        assert await replayed_ms(viewer) == paused_ms
        await page.locator(".replay-controls input").fill("0")
        async with asyncio.timeout(5):
            while await replayed_ms(viewer) > first_ms:
                await asyncio.sleep(0.05)

        await page.locator(".replay-live").click()
        assert await page.locator(".replay-over").count() == 0
        facts = await viewer.facts()
        assert (facts["kind"], facts["reconnects"], facts["muted"]) == ("live", 0, False)

        # At its end the live picture is back, and the replay's pictures are not held any longer.
        await page.keyboard.press("r")
        slider = page.locator(".replay-controls input")
        await replayed_ms(viewer)
        assert await page.workers[0].evaluate("replaying()")
        await slider.fill(await slider.get_attribute("max") or "")
        await page.locator(".replay-over").wait_for(state="detached")
        assert not await page.workers[0].evaluate("replaying()")
        assert (await viewer.facts())["kind"] == "live"

        # Going back to the wall ends a replay, too; its slider takes the arrows, and no other key.
        await page.keyboard.press("r")
        await replayed_ms(viewer)
        await slider.focus()
        await page.keyboard.press("r")
        await page.locator(".replay-over").wait_for(state="detached")
        await page.keyboard.press("r")
        await replayed_ms(viewer)
        await slider.focus()
        await page.keyboard.press("Escape")
        await page.locator(".replay-over").wait_for(state="detached")
        assert await page.locator(".tile.large").count() == 0
        assert viewer.errors == []


async def test_a_browser_that_hands_out_no_pictures_has_no_replay() -> None:
    port = free_tcp_port()
    async with (
        simulated_camera(port, width=640, height=360) as url,
        running_system({"yard": {"url": url}}) as system,
        chromium() as browser,
    ):
        viewer = await open_viewer(browser, f"{system.url}/#yard", "delete window.RTCRtpScriptTransform;")
        await viewer.until_playing(25)
        assert await viewer.page.locator(".tool.replay").count() == 0
        assert viewer.errors == []
