"""The system view in Chromium: who may see it, that its tables fill and stay calm, what operators do."""

import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from playwright.async_api import Browser, Locator, Page, expect

from tests.support.browser import ViewerPage, chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system

pytestmark = pytest.mark.peers

CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
SLOW_MS = 20_000

_DRAWN = """canvas => {
    const {width, height} = canvas;
    return canvas.getContext('2d').getImageData(0, 0, width, height).data.some(octet => octet > 0);
}"""
# Keeps the rows that are there, to be compared with those that are there later.
_KEEP = "() => { window.kept = [...document.querySelectorAll('#cameras tbody tr')]; }"
_KEPT = """() => {
    const rows = [...document.querySelectorAll('#cameras tbody tr')];
    return rows.length === window.kept.length && rows.every((row, index) => row === window.kept[index]);
}"""


def password_of(user: str) -> str:
    return f"s3cret-of-{user}"


USERS = {
    "wall": {"role": "viewer", "cameras": ["cam*"], "password": CHEAP.hash(password_of("wall"))},
    "otto": {"role": "operator", "password": CHEAP.hash(password_of("otto"))},
}


@contextlib.asynccontextmanager
async def watched(cameras: int = 1, workers: int = 1, **more: Any) -> AsyncIterator[tuple[System, Browser]]:
    """Cameras `cam0` … and one that nobody answers for, the system, and Chromium."""
    port = free_tcp_port()
    async with simulated_camera(port, width=320, height=180, fps=10) as url:
        listed = {f"cam{number}": {"url": url} for number in range(cameras)}
        listed["broken"] = {"url": f"rtsp://127.0.0.1:{free_tcp_port()}/nothing"}
        async with running_system(listed, workers=workers, more=more) as system, chromium() as browser:
            yield system, browser


async def opened(browser: Browser, url: str, user: str | None = None, **context: Any) -> ViewerPage:
    """A page in a tab and storage of its own, of somebody who is logged in."""
    page = await browser.new_page(**{"viewport": {"width": 1400, "height": 900}, **context})
    page.set_default_timeout(SLOW_MS)
    viewer = ViewerPage(page)
    if user is not None:
        root = url.partition("/system")[0].partition("/#")[0]
        credentials = {"user": user, "password": password_of(user)}
        response = await page.request.post(f"{root}/api/v1/login", data=credentials)
        assert response.status == 204, await response.text()
    await page.goto(url)
    return viewer


def row_of(page: Page, table: str, words: str) -> Locator:
    """The row of a table that has these words in it."""
    return page.locator(f"#{table} tbody tr", has_text=words)


async def shows(row: Locator, *patterns: str) -> None:
    for pattern in patterns:
        await expect(row).to_contain_text(re.compile(pattern), timeout=SLOW_MS)


async def comes_back_to_known_pages_alone(page: Page, root: str) -> None:
    """Whatever a link to the login says."""
    for asked, back in (
        ("?to=system", "/system"),
        ("?lang=en&to=system#cam0", "/system?lang=en#cam0"),
        ("?cameras=cam0,cam1&grid=4#cam0", "/?cameras=cam0,cam1&grid=4#cam0"),
        *(
            (f"?to={to}", "/")
            for to in ("https://example.org/", "//example.org", "system/../x", "constructor")
        ),
    ):
        await page.goto("about:blank")
        await page.goto(f"{root}/login{asked}")
        await expect(page.locator("#known-title")).to_have_text("otto")
        assert await page.locator("#back").evaluate("link => link.href") == root + back
        words = "System" if back.startswith("/system") else "To the cameras"
        assert await page.locator("#back").text_content() == words


async def test_it_is_for_operators() -> None:
    async with watched(workers=2, auth={"users": USERS}) as (system, browser):
        stranger = await opened(browser, f"{system.url}/system")
        await stranger.page.wait_for_url("**/login?to=system")
        await stranger.page.fill("#name", "otto")
        await stranger.page.fill("#password", "wrong")
        await stranger.page.click("#login button")
        await expect(stranger.page.locator("#refused")).to_contain_text("wrong")
        await expect(stranger.page.locator("#password")).to_have_value("")
        await stranger.page.fill("#password", password_of("otto"))
        await stranger.page.click("#login button")
        await stranger.page.wait_for_url(f"{system.url}/system")
        await expect(stranger.page.locator("#account")).to_have_text("otto")
        await comes_back_to_known_pages_alone(stranger.page, system.url)

        wall = await opened(browser, f"{system.url}/system", "wall")
        await expect(wall.page.locator("#refused")).to_contain_text("for operators and admins")
        await expect(wall.page.locator("#refused")).to_contain_text("wall, with the role viewer")
        await expect(wall.page.locator("#figures")).to_be_hidden()
        await wall.page.click("#refused a")
        await wall.page.wait_for_url(f"{system.url}/")
        await wall.page.close()

        page = (operator := await opened(browser, f"{system.url}/system", "otto")).page
        await expect(page.locator("#add")).to_be_hidden()
        await expect(page.locator("#account")).to_have_text("otto")

        # What is in trouble stands first, with its reason.
        rows = page.locator("#cameras tbody tr")
        await shows(rows.nth(0), "broken", "Not reachable", "refuses connections")
        await shows(row_of(page, "cameras", "cam0"), "Live", "H264", "320 . 180", "10 fps", r"\d+ kbit/s")
        assert await row_of(page, "cameras", "cam0").locator("a").get_attribute("href") == "./#cam0"
        assert await row_of(page, "cameras", "cam0").locator("canvas").evaluate(_DRAWN)
        await expect(page.locator("#cameras-sum")).to_have_text("1 of 2 live · 1 in trouble")

        # Sorted by a column, and the other way round.
        name = page.locator("#cameras th", has_text="Name")
        for order, first in (("ascending", "broken"), ("descending", "cam0")):
            await name.locator("button").click()
            assert await name.get_attribute("aria-sort") == order
            await expect(rows.nth(0)).to_contain_text(first)
        assert await page.locator("#cameras th[aria-sort]").count() == 1

        # Somebody watches.
        viewer = await opened(browser, f"{system.url}/#cam0", "wall")
        await viewer.until_playing(10)
        sessions = page.locator("#sessions tbody tr")
        await expect(sessions).to_have_count(1, timeout=SLOW_MS)
        await shows(sessions, "wall", "127.0.0.1", "cam0", "fanout-", "udp ", "Main stream", r"\d+ s")
        await expect(page.locator("#of-camera option")).to_have_text(["All cameras (1)", "cam0 (1)"])
        await expect(page.locator("#events")).to_contain_text("wall watches cam0")

        # The worker that serves it is drained, and takes viewers again.
        serving = re.search(r"fanout-\d", await sessions.inner_text())
        assert serving is not None
        worker = row_of(page, "workers", serving[0])
        await shows(worker, "Up", r"\d %", "cam0")
        await worker.get_by_role("button").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("takes no more viewers")
        await dialog.get_by_role("button", name="Cancel").click()
        await expect(worker).to_contain_text("Up")
        await worker.get_by_role("button").click()
        await dialog.get_by_role("button", name="Drain", exact=True).click()
        await expect(dialog).to_be_hidden()
        await expect(worker).to_contain_text("Draining")
        await expect(row_of(page, "sessions", serving[0])).to_have_count(0, timeout=SLOW_MS)
        await expect(sessions).to_have_count(1)
        await worker.get_by_role("button").click()
        await dialog.get_by_role("button", name="Take viewers again", exact=True).click()
        await shows(worker, "Up")
        facts = await viewer.until(lambda facts: facts["moves"] == 1)
        assert facts["reconnects"] == 0

        # The session is ended; whoever watched is told.
        await sessions.get_by_role("button").click()
        await expect(dialog).to_contain_text("The picture of cam0 ends for wall (127.0.0.1)")
        await dialog.get_by_role("button", name="End", exact=True).click()
        await expect(page.locator("#sessions-none")).to_be_visible(timeout=SLOW_MS)
        await viewer.until(lambda facts: facts["phase"] == "ended")
        assert stranger.errors == wall.errors == operator.errors == viewer.errors == []


async def test_it_stays_calm_and_says_when_the_server_is_silent() -> None:
    async with watched(cameras=9) as (system, browser):
        page = (opened_page := await opened(browser, f"{system.url}/system")).page
        await expect(page.locator("#cameras-sum")).to_contain_text("9 of 10 live", timeout=SLOW_MS)

        # Cells change in place: the rows stay, and so does what somebody is at.
        row = row_of(page, "cameras", "cam8")
        await row.locator("a").focus()
        await page.evaluate(_KEEP)
        before = await row.inner_text()
        await expect(row).not_to_have_text(before, use_inner_text=True, timeout=SLOW_MS)
        assert await page.evaluate(_KEPT)
        await expect(row.locator("a")).to_be_focused()

        # Above eight cameras they can be searched, by name and by what is wrong.
        await page.fill("#search", "CAM3")
        await expect(page.locator("#cameras tbody tr")).to_have_count(1)
        await page.fill("#search", "refuses connections")
        await expect(page.locator("#cameras tbody tr")).to_contain_text(["broken"])
        await page.fill("#search", "nothing like it")
        await expect(page.locator("#cameras-none")).to_be_visible()
        await page.fill("#search", "")

        signaling = system.pid("signaling")
        os.kill(signaling, signal.SIGSTOP)
        try:
            await expect(page.locator("#stale")).to_contain_text(
                "The server does not answer", timeout=SLOW_MS
            )
            await expect(page.locator("#stale-age")).to_have_text(re.compile(r"^[1-9]\d* s old$"))
            await expect(page.locator("#server")).to_have_text("Server not reachable")
            await expect(page.locator("#cameras tbody tr")).to_have_count(10)
        finally:
            os.kill(signaling, signal.SIGCONT)
        await expect(page.locator("#stale")).to_be_hidden(timeout=SLOW_MS)
        await expect(page.locator("#server")).to_have_text("Server connected")

        # On a telephone, in both languages, only the tables scroll sideways.
        for locale in ("en-US", "ko-KR"):
            narrow = await opened(
                browser, f"{system.url}/system", locale=locale, viewport={"width": 360, "height": 740}
            )
            await expect(narrow.page.locator("#cameras tbody tr")).to_have_count(10, timeout=SLOW_MS)
            assert await narrow.page.evaluate("document.scrollingElement.scrollWidth") == 360
            assert await narrow.page.evaluate("document.documentElement.lang") == locale[:2]
            await narrow.page.click("#add")
            assert await narrow.page.evaluate("document.querySelector('#camera-dialog').scrollWidth") <= 360
            assert narrow.errors == []
        assert opened_page.errors == []
