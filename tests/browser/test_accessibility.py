"""The pages are for everybody: axe-core finds nothing serious. And nothing of them leaves the server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, Page

from tests.attacks.people import auth, cookie_of, link_to
from tests.support.browser import chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system
from tests.support.wall_page import NOTES, WallPage

pytestmark = [pytest.mark.peers, pytest.mark.asyncio(loop_scope="module")]

# Stylesheets and media are there already; axe would fetch them once more.
ALL_RULES = {"resultTypes": ["violations"], "preload": False}
CONTRAST = {**ALL_RULES, "runOnly": {"type": "rule", "values": ["color-contrast"]}}
GRAVE = {"serious", "critical"}


@dataclass
class Site:
    system: System
    known: BrowserContext
    "Logged in as an admin."
    stranger: BrowserContext
    link: str
    "The token of a link to the camera `front`."
    requests: list[str] = field(default_factory=list)

    async def open(self, path: str, *, known: bool = True) -> WallPage:
        context = self.known if known else self.stranger
        wall = WallPage(await context.new_page())
        wall.page.on("request", lambda request: self.requests.append(request.url))
        wall.page.on("websocket", lambda socket: self.requests.append(socket.url))
        await wall.page.add_init_script(NOTES)
        response = await wall.page.goto(f"{self.system.url}/{path}")
        assert response is not None
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy
        return wall


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """Two cameras that play, with sound, and two that do not, of a system with users."""
    async with (
        simulated_camera(free_tcp_port(), width=320, height=180, fps=10, audio="opus") as url,
        running_system(
            {
                "barn": {"url": url, "sub": f"{url}-sub"},
                "front": {"url": url, "sub": f"{url}-sub"},
                "gone": {"url": f"rtsp://127.0.0.1:{free_tcp_port()}/"},
                "off": {"url": f"rtsp://127.0.0.1:{free_tcp_port()}/"},
            },
            more={"auth": auth()},
        ) as system,
        chromium() as browser,
    ):
        viewport: Any = {"width": 1200, "height": 800}
        # What is still on its way to another colour has neither.
        known, stranger = [
            await browser.new_context(viewport=viewport, reduced_motion="reduce") for _ in range(2)
        ]
        cookie = (await cookie_of(system, "anna"))["Cookie"].removeprefix("cctv3=")
        await known.add_cookies([{"name": "cctv3", "value": cookie, "url": system.url}])
        _, headers = await link_to(system, "front")
        yield Site(system, known, stranger, headers["Authorization"].removeprefix("Bearer "))


async def grave(page: Page, options: dict[str, Any]) -> list[str]:
    """Serious and critical violations, each with the element and why."""
    found = (await Axe().run(page, options=options)).response["violations"]
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]} {node['failureSummary']}"
        for violation in found
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]


async def check(wall: WallPage, what: str) -> None:
    """In light by all rules, and in dark those of colours."""
    page = wall.page
    found = await grave(page, ALL_RULES)
    await page.emulate_media(color_scheme="dark")
    found += await grave(page, CONTRAST)
    await page.emulate_media(color_scheme="light")
    assert not found, f"{what}:\n" + "\n".join(found)


async def test_the_wall_and_all_that_opens_on_it(site: Site) -> None:
    wall = await site.open("")
    page = wall.page
    await wall.until_live("barn", "front")
    await wall.until_tiles(lambda tiles: tiles["gone"]["kind"] == tiles["off"]["kind"] == "offline")
    await wall.tile("barn").hover()  # its buttons are seen
    await page.get_by_role("button", name="Figures on tiles").click()
    await check(wall, "wall")
    await page.click("#layouts-button")
    await page.get_by_label("Name of the layout").fill("one")
    await page.get_by_role("button", name="Save as").click()
    await check(wall, "menu of layouts")
    await page.click("[popovertarget=settings]")
    await check(wall, "menu of settings")
    await page.keyboard.press("Escape")
    await wall.tile("barn").focus()
    await page.keyboard.press("?")
    await check(wall, "keys")
    await page.keyboard.press("Escape")
    for camera, keys in (("barn", "iwl"), ("gone", "w")):
        await wall.tile(camera).focus()
        await page.keyboard.press("Enter")
        await wall.until_large(camera)
        await check(wall, f"{camera} enlarged")
        for key in keys:
            await wall.tile(camera).focus()
            await page.keyboard.press(key)
            await page.locator("#panel").get_by_role("tab", selected=True).wait_for()
            await page.wait_for_timeout(1100)  # its figures come once a second
            await check(wall, f"panel {key} of {camera}")
        await page.keyboard.press("Escape")
        await wall.tile(camera).focus()
        await page.keyboard.press("Escape")
        await wall.until_large(None)
    await leave(site, wall)


async def test_the_other_pages(site: Site) -> None:
    pages: list[tuple[str, bool, Callable[[Page], Awaitable[object]]]] = [
        ("login", False, lambda page: page.locator("#name").wait_for()),
        ("login", True, lambda page: page.locator("#logout").wait_for()),
        ("system", True, lambda page: page.locator("#cameras tbody tr").nth(3).wait_for()),
        (f"embed/front#token={site.link}&controls", False, lambda page: page.locator(".tile").hover()),
        ("embed/gone#controls", True, lambda page: page.get_by_text("Camera not reachable").wait_for()),
        ("?kiosk&grid=4", False, lambda page: page.get_by_text("Log in to see it").wait_for()),
    ]
    for path, known, ready in pages:
        wall = await site.open(path, known=known)
        await ready(wall.page)
        await check(wall, path)
        await leave(site, wall)


async def test_a_phone(site: Site) -> None:
    wall = await site.open("")
    await wall.page.set_viewport_size({"width": 360, "height": 740})
    await wall.until_live("barn", "front")
    await check(wall, "wall of a phone")
    across = "document.documentElement.scrollWidth - innerWidth"
    assert await wall.page.evaluate(across) <= 0
    for key in "iwl":
        await wall.tile("barn").focus()
        await wall.page.keyboard.press(key)
        await wall.page.locator("#panel").get_by_role("tab", selected=True).wait_for()
        assert await wall.page.evaluate(across) <= 0, key
    await check(wall, "panel of a phone")
    await wall.page.locator("#panel").get_by_role("button", name="Close").click()
    for button in ("#layouts-button", "[popovertarget=settings]"):
        await wall.page.click(button)
        box = await wall.page.locator(":popover-open").bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 360 and box["y"] + box["height"] <= 740
    await leave(site, wall)


async def leave(site: Site, wall: WallPage) -> None:
    """The page did what its policy allows, and asked nobody else."""
    assert wall.errors == []
    assert await wall.note("violations") == []
    own = (site.system.url, site.system.url.replace("http", "ws"), "blob:", "data:")
    assert len(site.requests) > 3
    assert [url for url in site.requests if not url.startswith(own)] == []
    site.requests.clear()
    await wall.page.close()
