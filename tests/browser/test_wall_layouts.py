"""What stands where on the wall: moved by hand, kept by name, said by an address, shown on a wall monitor."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, CDPSession, Route

from tests.attacks.forgeries import signed
from tests.attacks.people import KEY, auth, cookie_of, link_to
from tests.support.browser import chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system
from tests.support.wall_page import WallPage, is_live, open_wall

pytestmark = [pytest.mark.peers, pytest.mark.asyncio(loop_scope="module")]

NAMES = ["attic", "barn", "cellar", "front"]


@dataclass
class Site:
    system: System
    browser: Browser
    login: str
    "The cookie of an admin."
    contexts: list[BrowserContext] = field(default_factory=list)

    async def context(self, *, known: bool = True, **options: Any) -> BrowserContext:
        """Storage of its own; logged in where it is to be known."""
        context = await self.browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        self.contexts.append(context)
        if known:
            await context.add_cookies([{"name": "cctv3", "value": self.login, "url": self.system.url}])
        return context

    async def open(self, search: str = "", **options: Any) -> WallPage:
        """The wall with such an end of its address."""
        return await open_wall(await self.context(**options), f"{self.system.url}/{search}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Site]:
    """Four cameras of one simulator, of a system that wants to know who one is."""
    async with (
        simulated_camera(free_tcp_port(), width=320, height=180, fps=10) as url,
        running_system({name: {"url": url} for name in NAMES}, more={"auth": auth("wall")}) as system,
        chromium() as browser,
    ):
        cookie = await cookie_of(system, "anna")
        yield Site(system, browser, cookie["Cookie"].removeprefix("cctv3="))


@pytest_asyncio.fixture(loop_scope="module")
async def site(running: Site) -> AsyncIterator[Site]:
    """The same for each test, with the pages of the one before closed."""
    yield running
    while running.contexts:
        await running.contexts.pop().close()


async def order_of(wall: WallPage) -> list[str]:
    """Cameras as they stand in the document, which is how they are seen and read out."""
    seen, known = await wall.page.evaluate(
        """() => [
            [...document.querySelectorAll('.tile')].map((tile) => tile.dataset.camera),
            (window.cctv3?.tiles ?? []).map(({ camera }) => camera),
        ]"""
    )
    assert seen == known
    return list(seen)


async def until_order(wall: WallPage, *names: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while await order_of(wall) != list(names):
                await asyncio.sleep(0.02)
    assert await order_of(wall) == list(names)


async def centre(wall: WallPage, camera: str) -> tuple[float, float]:
    box = await wall.tile(camera).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


async def drag(wall: WallPage, camera: str, over: str, steps: int = 8) -> None:
    """With a mouse."""
    mouse = wall.page.mouse
    await mouse.move(*await centre(wall, camera))
    await mouse.down()
    await mouse.move(*await centre(wall, over), steps=steps)
    await mouse.up()


async def until_listed(wall: WallPage) -> None:
    """Waits until the page has taken in a list of cameras that it had not asked for yet."""
    for _ in range(
        3
    ):  # one that was on its way, the one that counts, and the next, before which that is taken in
        await wall.page.wait_for_event("response", lambda response: response.url.endswith("/api/v1/cameras"))


async def pressed_grid(wall: WallPage) -> str:
    (pressed,) = await wall.page.locator("#grids [aria-pressed=true]").all()
    return await pressed.text_content() or ""


async def test_tiles_are_moved_with_a_mouse_and_stay_where_they_are(site: Site) -> None:
    wall = await site.open()
    before = await wall.until_live(*NAMES)
    await drag(wall, "attic", "cellar")
    await until_order(wall, "barn", "cellar", "attic", "front")
    # However fast it was: a browser that has much to do tells only where the pointer is at last.
    await drag(wall, "front", "barn", steps=1)
    await until_order(wall, "front", "barn", "cellar", "attic")
    # The end of a drag is no click, and what is moved goes on playing.
    assert await wall.large() is None
    await asyncio.sleep(0.5)
    tiles = await wall.tiles()
    for name in NAMES:
        assert is_live(tiles[name]) and tiles[name]["session"] == before[name]["session"]
        assert tiles[name]["pictureAgeMs"] < 400
    await wall.page.reload()
    await until_order(wall, "front", "barn", "cellar", "attic")
    assert wall.errors == []


async def test_a_tile_that_is_held_stays_where_it_is_held(site: Site) -> None:
    wall = await site.open()
    mouse = wall.page.mouse
    await wall.until_live(*NAMES)
    await mouse.move(*await centre(wall, "attic"))
    await mouse.down()
    await mouse.move(*await centre(wall, "cellar"), steps=4)
    await until_order(wall, "barn", "cellar", "attic", "front")
    await until_listed(wall)
    assert await order_of(wall) == ["barn", "cellar", "attic", "front"]
    await mouse.up()
    await until_order(wall, "barn", "cellar", "attic", "front")
    # A button that was let go of elsewhere holds nothing.
    box = await wall.tile("barn").bounding_box()
    assert box
    await mouse.move(box["x"] + 40, box["y"] + 4)
    await mouse.down()
    await mouse.move(box["x"] + 40, box["y"] + 2)
    await wall.page.evaluate(
        "document.querySelector('.wall').inert = true"
    )  # the pointer is not over the wall
    await mouse.up()
    await wall.page.evaluate("document.querySelector('.wall').inert = false")
    await mouse.move(*await centre(wall, "front"), steps=4)
    assert await wall.page.locator(".tile.dragged").count() == 0
    await until_order(wall, "barn", "cellar", "attic", "front")
    assert wall.errors == []


async def test_a_camera_that_is_listed_again_has_its_place(site: Site) -> None:
    wall = await site.open()
    await wall.until_live(*NAMES)
    hidden = {"barn"}

    async def listed(route: Route) -> None:
        response = await route.fetch()
        cameras = [each for each in await response.json() if each["name"] not in hidden]
        await route.fulfill(response=response, json=cameras)

    await wall.page.route("**/api/v1/cameras", listed)
    await until_listed(wall)
    assert await order_of(wall) == NAMES
    hidden.clear()
    await until_listed(wall)
    assert await order_of(wall) == NAMES
    assert wall.errors == []


async def test_two_fingers_zoom_the_picture_and_not_the_page(site: Site) -> None:
    wall = await site.open("#front", viewport={"width": 420, "height": 700}, has_touch=True, is_mobile=True)
    await wall.until_large("front")
    client = await wall.page.context.new_cdp_session(wall.page)
    x, y = await centre(wall, "front")
    for apart in range(20, 120, 8):
        await touch(client, "touchStart" if apart == 20 else "touchMove", (x - apart, y), (x + apart, y))
        await asyncio.sleep(0.03)
    await touch(client, "touchEnd")
    assert await wall.page.evaluate("visualViewport.scale") == 1
    assert await wall.tile("front").locator(".stage.zoomed").count() == 1
    assert wall.errors == []


async def test_colours_and_language_change_where_nothing_may_be_kept(site: Site) -> None:
    context = await site.context()
    await context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('blocked'); } });"
    )
    wall = await open_wall(context, f"{site.system.url}/?grid=4")
    page = wall.page
    await page.click("[popovertarget=settings]")
    await page.get_by_label("Colours").select_option("dark")
    assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
    await page.get_by_label("Language").select_option("ko")
    await page.get_by_role("button", name="레이아웃").wait_for()
    assert page.url.endswith("/?grid=4&lang=ko")
    assert wall.errors == []


async def test_tiles_are_moved_with_keys(site: Site) -> None:
    wall = await site.open()
    await wall.until_tiles(lambda tiles: len(tiles) == len(NAMES))
    await wall.tile("attic").focus()
    for key, order in (
        ("Alt+ArrowRight", ["barn", "attic", "cellar", "front"]),
        ("Alt+ArrowDown", ["barn", "cellar", "front", "attic"]),
        ("Alt+ArrowRight", ["barn", "cellar", "front", "attic"]),  # it is the last one
        ("Alt+ArrowUp", ["barn", "attic", "cellar", "front"]),
        ("Alt+ArrowLeft", ["attic", "barn", "cellar", "front"]),
    ):
        await wall.page.keyboard.press(key)
        await until_order(wall, *order)
        assert await wall.focused() == "attic"
    assert await wall.page.locator("#spoken").text_content() == "attic moved to place 1"
    await wall.page.keyboard.press("Alt+ArrowDown")
    await wall.page.reload()
    await until_order(wall, "barn", "cellar", "attic", "front")


async def touch(client: CDPSession, kind: str, *points: tuple[float, float]) -> None:
    at = [{"x": x, "y": y} for x, y in points]
    await client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})


async def test_tiles_are_moved_with_a_finger_that_stays(site: Site) -> None:
    wall = await site.open("?grid=1", viewport={"width": 420, "height": 700}, has_touch=True, is_mobile=True)
    await wall.until_tiles(lambda tiles: len(tiles) == len(NAMES))
    await wall.page.locator("#grids [data-grid='4']").tap()
    client = await wall.page.context.new_cdp_session(wall.page)

    async def swipe(camera: str, over: str, *, holds: bool) -> None:
        (x, y), (to_x, to_y) = await centre(wall, camera), await centre(wall, over)
        await touch(client, "touchStart", (x, y))
        if holds:
            await wall.page.locator(".tile.dragged").wait_for()
        for step in range(1, 9):
            await touch(client, "touchMove", (x + (to_x - x) * step / 8, y + (to_y - y) * step / 8))
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)  # a finger that leaves while it moves lets the wall roll on
        await touch(client, "touchEnd")

    scrolled = "document.querySelector('.wall').scrollTop"
    await swipe("barn", "attic", holds=False)  # upwards: that scrolls
    assert await wall.page.evaluate(scrolled) > 50
    await until_order(wall, *NAMES)
    await wall.page.evaluate(f"{scrolled} = 0")
    await swipe("attic", "barn", holds=True)
    await until_order(wall, "barn", "attic", "cellar", "front")
    assert await wall.page.evaluate(scrolled) == 0
    assert await wall.large() is None
    await wall.tile("barn").tap()
    await wall.until_large("barn")
    assert wall.errors == []


async def test_layouts_are_kept_by_name(site: Site) -> None:
    wall = await site.open()
    page, menu = wall.page, wall.page.locator("#layouts")
    await wall.until_tiles(lambda tiles: len(tiles) == len(NAMES))
    await drag(wall, "attic", "barn")
    await page.click("#grids [data-grid='9']")
    await page.click("#layouts-button")
    await menu.get_by_label("cellar").uncheck()
    await until_order(wall, "barn", "attic", "front")
    await menu.get_by_label("Name of the layout").fill("Tor & Hof")
    await menu.get_by_role("button", name="Save as").click()
    await page.wait_for_url(f"**/?layout={quote('Tor & Hof').replace('%20', '+')}")

    # What is changed while it is shown is kept in it, and the wall of all cameras stays as it was.
    await page.keyboard.press("Escape")
    await drag(wall, "front", "barn")
    await page.reload()
    await until_order(wall, "front", "barn", "attic")
    assert await pressed_grid(wall) == "9"
    await page.click("#layouts-button")
    await menu.get_by_role("button", name="All cameras").click()
    await until_order(wall, "barn", "attic", "cellar", "front")
    assert page.url == f"{site.system.url}/"
    assert await page.evaluate("document.activeElement.closest('#layouts') !== null")
    await page.reload()
    await until_order(wall, "barn", "attic", "cellar", "front")

    await page.click("#layouts-button")
    await menu.get_by_role("button", name="Tor & Hof", exact=True).click()
    await until_order(wall, "front", "barn", "attic")
    await menu.get_by_role("button", name="Remove: Tor & Hof").click()
    await menu.get_by_role("button", name="Tor & Hof").first.wait_for(state="detached")
    await page.goto(f"{site.system.url}/?layout=Tor+%26+Hof")
    await wall.until_tiles(lambda tiles: len(tiles) == len(NAMES))
    assert wall.errors == []


async def test_an_address_says_a_layout_whole(site: Site) -> None:
    wall = await site.open(
        "?cameras=front,nosuch,attic&grid=4", permissions=["clipboard-read", "clipboard-write"]
    )
    page = wall.page
    await until_order(wall, "front", "nosuch", "attic")
    assert await pressed_grid(wall) == "4"
    await wall.until_live("front", "attic")
    gone = wall.tile("nosuch")
    assert await gone.locator(".veil-title").text_content() == "No permission, or removed"
    await gone.get_by_role("button", name="Take it off the wall").click()
    await until_order(wall, "front", "attic")
    await drag(wall, "front", "attic")
    await until_order(wall, "attic", "front")
    await page.click("#layouts-button")
    await page.get_by_role("button", name="Copy link").click()
    await page.locator("#layouts").get_by_text("Copied").wait_for()
    link = await page.evaluate("navigator.clipboard.readText()")
    assert link == f"{site.system.url}/?cameras=attic,front&grid=4"

    other = await site.open(link.removeprefix(f"{site.system.url}/"))
    await until_order(other, "attic", "front")
    # What an address says is nobody's own wall.
    await other.page.goto(site.system.url)
    await until_order(other, *NAMES)

    await page.click("#grids [data-grid='1']")
    await page.goto(site.system.url)
    await until_order(wall, *NAMES)
    assert await pressed_grid(wall) == "Auto"
    await page.goto(link)
    await page.click("#layouts-button")
    await page.locator("#layouts").get_by_role("button", name="All cameras").click()
    await until_order(wall, *NAMES)
    await page.keyboard.press("Escape")
    await drag(wall, "attic", "barn")  # now it is their own again
    await page.reload()
    await until_order(wall, "barn", "attic", "cellar", "front")
    assert wall.errors == other.errors == []


async def test_the_menu_opens_a_kiosk(site: Site) -> None:
    wall = await site.open("?cameras=attic,front&grid=4")
    await wall.until_tiles(lambda tiles: len(tiles) == 2)
    await wall.page.click("#layouts-button")
    await wall.page.get_by_role("button", name="Open as kiosk").click()
    await wall.page.wait_for_url("**/?cameras=attic,front&grid=4&kiosk=")
    await wall.until_live("attic", "front")
    assert await wall.page.locator("button:visible, select:visible, a:visible").count() == 0


async def test_a_kiosk_plays_by_itself(site: Site) -> None:
    everything = signed(KEY, role="viewer", cameras=["*"])
    _, headers = await link_to(site.system, "front")
    link = headers["Authorization"].removeprefix("Bearer ")
    walls = {}
    for name, token in (("jwt", everything), ("link", link), ("nobody", None)):
        end = "" if token is None else f"#token={token}"
        walls[name] = await site.open(f"?kiosk{end}", known=False)
    said = walls["nobody"]

    await walls["jwt"].until_live(*NAMES)
    await walls["link"].until_live("front")
    assert list(await walls["link"].tiles()) == ["front"]
    tile = walls["jwt"].tile("attic")
    await tile.hover()
    assert await walls["jwt"].page.locator("header:visible, button:visible, select:visible").count() == 0
    await tile.click()
    await walls["jwt"].until_large("attic")
    await tile.focus()
    await walls["jwt"].page.reload()  # as after a power cut: the address still says whose wall it is
    await walls["jwt"].until_live(*NAMES)
    async with asyncio.timeout(5):
        while "still-pointer" not in await walls["jwt"].page.evaluate("document.body.className"):
            await asyncio.sleep(0.1)

    # Without anything it asks nobody to log in: it says what it needs, and goes on as soon as it has it.
    assert await said.page.locator("#nothing h2").text_content() == "Log in to see it"
    assert await said.page.locator("#nothing").is_visible()
    assert said.page.url == f"{site.system.url}/?kiosk"
    await said.page.context.add_cookies([{"name": "cctv3", "value": site.login, "url": site.system.url}])
    await said.until_live(*NAMES)
    assert not await said.page.locator("#nothing").is_visible()
    assert said.page.url == f"{site.system.url}/?kiosk"
    assert [wall.errors for wall in walls.values()] == [[], [], []]


async def test_a_kiosk_comes_back_after_its_login_is_over(site: Site) -> None:
    cookie = (await cookie_of(site.system, "wall"))["Cookie"].removeprefix("cctv3=")
    wall = await site.open("?kiosk&cameras=front", known=False)
    assert await wall.page.evaluate("() => document.querySelector('.tile .veil-title') !== null")
    await wall.until(lambda facts: facts.get("kind") == "login")
    assert await wall.tile("front").locator(".veil-title").text_content() == "Log in to see it"
    jar = wall.page.context
    await jar.add_cookies([{"name": "cctv3", "value": cookie, "url": site.system.url}])
    await wall.until_live("front")
    # Logging out ends what plays by that login, for good.
    await jar.request.post(f"{site.system.url}/api/v1/logout")
    await wall.until(lambda facts: facts["kind"] == "login" and facts["phase"] == "ended")
    again = (await cookie_of(site.system, "wall"))["Cookie"].removeprefix("cctv3=")
    await jar.add_cookies([{"name": "cctv3", "value": again, "url": site.system.url}])
    await wall.until_live("front")
    assert "login" not in wall.page.url and wall.errors == []


async def test_a_kiosk_opens_again_what_was_ended(site: Site) -> None:
    wall = await site.open("?kiosk&cameras=front")
    await wall.until_live("front")
    api = wall.page.context.request
    (entry,) = (await (await api.get(f"{site.system.url}/api/v1/sessions")).json())["sessions"]
    ended = await api.delete(f"{site.system.url}/api/v1/sessions/{entry['session'].removesuffix('…')}")
    assert ended.ok, await ended.text()
    await wall.until(lambda facts: facts["phase"] == "ended")
    await asyncio.sleep(1.5)
    assert (await wall.facts())["phase"] == "ended"
    await wall.skip(61)
    await wall.until_live("front")
    assert wall.errors == []


async def test_whoever_is_at_a_screen_is_asked_to_log_in(site: Site) -> None:
    wall = await site.open("?grid=4#front", known=False)
    await wall.page.wait_for_url("**/login?grid=4#front")
