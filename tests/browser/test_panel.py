"""The side panel of the wall on a whole system: figures of a tile, why it has no picture, what happened."""

import asyncio
import os
import re
import signal

import pytest
from playwright.async_api import Browser, Page, expect

from common.commands.user import hash_password
from tests.support.browser import ViewerPage, chromium, open_viewer
from tests.support.ports import free_tcp_port
from tests.support.processes import gst_camera
from tests.support.system import System, running_system

pytestmark = pytest.mark.peers

STEPS = ["Camera", "Camera process", "Internal bus", "Media worker", "Network to this browser"]
PASSWORD = "correct horse battery"
SOON_MS = 15_000
"Readings are two seconds apart."

_COLOURED = """(canvas) => {
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) count += data[at + 3] > 200 && data[at + 2] - data[at] > 40;
    return count;
}"""


async def open_panel(viewer: ViewerPage, tab: str) -> None:
    """Presses the key of a tab on the wall."""
    await viewer.page.keyboard.press({"Statistics": "i", "Why no picture?": "w", "Log": "l"}[tab])
    await expect(viewer.page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")


async def playing(browser: Browser, url: str) -> ViewerPage:
    """The wall with a picture in the chosen tile."""
    viewer = await open_viewer(browser, url)
    await viewer.until_playing(10)
    return viewer


def step(page: Page, name: str) -> str:
    """A selector for the state of a step."""
    return f".chain li:has(h3:text-is('{name}')) .state"


async def test_figures_of_a_live_tile() -> None:
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}) as system,
        chromium() as browser,
    ):
        await system.until_live("gate")
        viewer = await playing(browser, system.url)
        page = viewer.page
        await open_panel(viewer, "Statistics")
        assert await page.locator("#panel h2").text_content() == "gate"
        values = page.locator(".plots .value")
        await expect(values.nth(0)).to_have_text(re.compile(r"^2[3-7] fps$"), timeout=SOON_MS)
        await expect(values.nth(1)).to_have_text(re.compile(r"bit/s$"))
        await expect(values.nth(2)).to_have_text("0.0 %")
        await expect(values.nth(5)).to_have_text(re.compile(r"^\d+ ms, at worst \d+ ms$"), timeout=SOON_MS)
        await asyncio.sleep(2.0)  # so that there is a line to see
        assert await page.locator(".plots canvas").first.evaluate(_COLOURED) > 0
        said = await page.locator(".plots canvas").first.get_attribute("aria-label")
        assert re.fullmatch(r"Frame rate, last 3 minutes: now [\d.]+ fps, between .+ and .+", said or "")
        facts = await viewer.facts()
        rows = dict(
            zip(
                await page.locator("#panel-statistics .facts dt").all_text_contents(),
                await page.locator("#panel-statistics .facts dd").all_text_contents(),
                strict=True,
            )
        )
        assert rows["Resolution"].split()[::2] == [str(facts["width"]), str(facts["height"])]
        assert rows["Codec"] == "H264" and rows["Given"].startswith("Main stream")
        assert rows["Session"] == f"{facts['session'][:6]}…"
        assert facts["session"] not in await page.locator("#panel").inner_html()
        assert viewer.errors == []


async def test_the_way_of_a_live_picture_is_good_and_can_be_copied() -> None:
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}) as system,
        chromium() as browser,
    ):
        await system.until_live("gate")
        viewer = await playing(browser, system.url)
        page = viewer.page
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=system.url)
        await open_panel(viewer, "Statistics")
        # By keyboard alone: arrows go through the tabs, Escape leads back.
        await page.keyboard.press("ArrowRight")
        for name in STEPS[:4]:
            await expect(page.locator(step(page, name))).to_have_text("All right", timeout=SOON_MS)
        await expect(page.locator(step(page, "Decoder of this browser"))).to_have_text("All right")
        session = (await viewer.facts())["session"]
        await page.get_by_role("button", name="Copy as text").click()
        await expect(page.locator("#panel-why .copy [role=status]")).to_have_text("Copied")
        report = await page.evaluate("navigator.clipboard.readText()")
        assert f"Session {session[:6]}…" in report and session not in report
        assert all(re.search(rf"^{name} \[", report, re.MULTILINE) for name in STEPS)
        assert "  Connected by: RTSP over TCP" in report.splitlines()
        await page.get_by_role("tab", name="Why no picture?").focus()
        await page.keyboard.press("End")
        await expect(page.get_by_role("tab", name="Log")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.locator("#panel")).to_be_hidden()
        assert viewer.errors == []


async def test_the_camera_is_named_as_the_culprit_with_its_own_words() -> None:
    nowhere = f"rtsp://127.0.0.1:{free_tcp_port()}/none"
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}, "yard": {"url": nowhere}}) as system,
        chromium() as browser,
    ):
        await system.until_live("gate")
        viewer = await playing(browser, system.url)
        summary = viewer.page.locator("#panel-why .summary")
        advice = viewer.page.locator("#panel-why .verdict .advice")
        await open_panel(viewer, "Why no picture?")
        await expect(viewer.page.locator(step(viewer.page, "Camera"))).to_have_text(
            "All right", timeout=SOON_MS
        )

        # The panel follows the chosen tile.
        await viewer.page.keyboard.press("Escape")
        await viewer.page.locator(".tile").nth(1).focus()
        await viewer.until(lambda facts: facts.get("camera") == "yard")
        await open_panel(viewer, "Why no picture?")
        (report,) = (await system.get("/api/v1/cameras/yard/report"))["renditions"]
        await expect(summary).to_have_text(
            f"Camera: It cannot be reached: {report['error']}", timeout=SOON_MS
        )
        await expect(advice).to_have_text(" ".join(report["advice"]))
        await expect(viewer.page.locator(step(viewer.page, "Camera process"))).to_have_text("All right")

        await viewer.page.keyboard.press("Escape")
        await viewer.page.locator(".tile").nth(0).focus()
        await viewer.until(lambda facts: facts.get("camera") == "gate")
        await open_panel(viewer, "Why no picture?")
        await camera.stop()
        await expect(summary).to_have_text(re.compile("^Camera: It (cannot|is)"), timeout=SOON_MS)
        assert viewer.errors == []


async def test_a_worker_that_stands_still_is_the_culprit() -> None:
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}) as system,
        chromium() as browser,
    ):
        await system.until_live("gate")
        viewer = await playing(browser, system.url)
        await open_panel(viewer, "Why no picture?")
        summary = viewer.page.locator("#panel-why .summary")
        await expect(viewer.page.locator(step(viewer.page, "Media worker"))).to_have_text(
            "All right", timeout=SOON_MS
        )
        worker = system.pid("fanout-0")
        os.kill(worker, signal.SIGSTOP)
        try:
            await expect(summary).to_have_text(re.compile("^Media worker: "), timeout=SOON_MS)
        finally:
            os.kill(worker, signal.SIGCONT)
        await viewer.until_playing(10)
        await expect(summary).to_have_text(re.compile("live"), timeout=2 * SOON_MS)


async def logged(page: Page, pattern: str) -> None:
    """Waits for a row of the log."""
    await expect(page.locator(".row", has_text=re.compile(pattern)).first).to_be_visible(timeout=SOON_MS)


async def users(system: System, browser: Browser, name: str) -> ViewerPage:
    """The wall of somebody who has logged in."""
    context = await browser.new_context(viewport={"width": 1200, "height": 800})
    answer = await context.request.post(
        f"{system.url}/api/v1/login", data={"user": name, "password": PASSWORD}
    )
    assert answer.ok, await answer.text()
    viewer = ViewerPage(await context.new_page())
    await viewer.page.goto(system.url)
    await viewer.until_playing(10)
    return viewer


async def test_the_log_tells_each_what_they_may_know() -> None:
    accounts = {
        "olga": {"role": "operator", "password": hash_password(PASSWORD)},
        "vera": {"role": "viewer", "cameras": ["gate"], "password": hash_password(PASSWORD)},
    }
    async with (
        gst_camera(gop=25) as camera,
        running_system(
            {"gate": {"url": camera.ready}, "yard": {"url": camera.ready}}, more={"auth": {"users": accounts}}
        ) as system,
        chromium() as browser,
    ):
        operator, viewer = [await users(system, browser, name) for name in ("olga", "vera")]
        for each in (operator, viewer):
            await open_panel(each, "Log")
            await logged(each.page, "first picture after")  # of the browser
            await logged(
                each.page, "gate.*main stream: live"
            )  # of the server, from before the page was there
        await logged(operator.page, "vera watches gate")
        await logged(operator.page, "yard.*main stream: live")
        await expect(viewer.page.locator(".log > .note")).to_be_visible()
        await expect(operator.page.locator(".log > .note")).to_be_hidden()
        for hidden in ("watches", "yard"):
            assert await viewer.page.locator(".row", has_text=hidden).count() == 0

        system.kill("signaling")
        away = operator.page.locator(".log .state")
        await expect(away).to_contain_text("Events of the server do not come at present", timeout=SOON_MS)
        await expect(away).to_be_hidden(timeout=2 * SOON_MS)
        # The one that was started again knows of the worker.
        await expect(operator.page.locator(".row", has_text="fanout-0 is up")).to_have_count(2)
        os.kill(system.pid("fanout-0"), signal.SIGKILL)
        await logged(operator.page, "Error.*fanout-0")
        assert operator.errors == viewer.errors == []


async def test_on_a_narrow_screen_it_is_a_sheet_from_below() -> None:
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}) as system,
        chromium() as browser,
    ):
        await system.until_live("gate")
        page = await browser.new_page(viewport={"width": 360, "height": 740})
        viewer = ViewerPage(page)
        await page.goto(system.url)
        await viewer.until_playing(5)
        for tab in ("Statistics", "Why no picture?", "Log"):
            await open_panel(viewer, tab)
            box = await page.locator("#panel").bounding_box()
            assert box is not None
            assert (box["x"], box["width"], box["y"] + box["height"]) == (0, 360, 740)
            assert 740 / 2 < box["height"] < 740 - 100
            await asyncio.sleep(3.0)
            widest = "Math.max(...[...document.querySelectorAll('#panel *')].map((e) => e.scrollWidth))"
            assert await page.evaluate(widest) <= 360
            await page.keyboard.press("Escape")
        assert viewer.errors == []
