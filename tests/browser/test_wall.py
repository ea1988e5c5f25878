"""The wall: tiles that fit, play, rest while nobody looks, and fill the window without a black picture."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system
from tests.support.wall_page import WallPage, is_live, open_wall, sessions_of

pytestmark = [pytest.mark.peers, pytest.mark.asyncio(loop_scope="module")]

NAMES = [f"cam-{number}" for number in range(1, 10)]
WIDTH, SUB_WIDTH = 480, 240
SWITCH_S = 2.0
"A probe of the link would take longer."
BACK_S = 2.0
"How soon tiles that are seen again have to play; half of that where the machine has nothing else to do."
CHOOSE = """async (choice) => {
    document.querySelector(`#grids [data-grid='${choice}']`).click();
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}"""
BOXES = """() => {
    const wall = document.querySelector('.wall');
    const view = wall.getBoundingClientRect();
    return {
        view: [view.left, view.top, view.left + wall.clientWidth, view.bottom],
        across: wall.scrollWidth - wall.clientWidth,
        page: document.documentElement.scrollWidth - innerWidth,
        tiles: [...wall.querySelectorAll('.tile')].map((tile) => {
            const { left, top, right, bottom } = tile.getBoundingClientRect();
            return [left, top, right, bottom];
        }),
    };
}"""


@dataclass(frozen=True)
class Site:
    system: System
    browser: Browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Site]:
    """Nine cameras with sub streams, all of one simulator, and Chromium."""
    async with (
        simulated_camera(free_tcp_port(), width=WIDTH, height=270, fps=10) as url,
        running_system({name: {"url": url, "sub": f"{url}-sub"} for name in NAMES}) as system,
        chromium() as browser,
    ):
        for name in NAMES:
            await system.until_live(name, 30)
        yield Site(system, browser)


@pytest_asyncio.fixture(loop_scope="module")
async def site(running: Site) -> AsyncIterator[Site]:
    """The same for each test, with nobody watching."""
    yield running
    for context in running.browser.contexts:
        for page in context.pages:
            await page.goto("about:blank")
        await context.close()
    await until_sessions(running.system, set())


async def until_sessions(system: System, cameras: set[str], deadline_s: float = 10.0) -> None:
    """Waits until exactly these cameras are watched."""

    async def reached() -> bool:
        return (await sessions_of(system)).keys() == cameras

    await system.until(reached, deadline_s)


async def close(wall: WallPage) -> None:
    assert wall.errors == []
    assert await wall.note("violations") == []
    await wall.page.goto("about:blank")
    await wall.page.context.close()


async def test_nine_tiles_play_and_each_has_its_session(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    wall = await open_wall(site.browser, site.system.url)
    tiles = await wall.until_live(*NAMES)
    took_s = time.monotonic() - began
    assert list(tiles) == NAMES
    sessions = await sessions_of(site.system)
    assert sessions.keys() == set(NAMES)
    for name, facts in tiles.items():
        assert facts["session"].startswith(sessions[name]["session"].removesuffix("…"))
        assert facts["reconnects"] == 0
    # Small tiles are given the small stream, from the first picture on.
    await wall.until_tiles(lambda tiles: all(facts["width"] == SUB_WIDTH for facts in tiles.values()))
    assert {entry["showing"] for entry in (await sessions_of(site.system)).values()} == {"sub"}
    most = await wall.note("mostConnecting")
    assert 1 < most <= 6
    await close(wall)
    # Whoever leaves the page leaves its sessions.
    await until_sessions(site.system, set(), 2)
    with capsys.disabled():
        print(f"\nnine tiles live {took_s:.2f} s after the address was opened, at most {most} connecting")


async def test_a_tile_is_enlarged_and_left_without_a_black_picture(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    camera, others = NAMES[4], {*NAMES} - {NAMES[4]}
    wall = await open_wall(site.browser, site.system.url)
    before = (await wall.until_live(*NAMES))[camera]
    sources = {entry["ssrc"]: entry["frameWidth"] for entry in await wall.inbound()}
    assert list(sources.values()) == [SUB_WIDTH] * len(NAMES)

    await wall.watch(camera)
    began = time.monotonic()
    await wall.tile(camera).click()
    await wall.until_large(camera)
    large = await wall.until(lambda facts: facts["showing"] == "main" and facts["width"] == WIDTH)
    switched_s = time.monotonic() - began
    assert large["camera"] == camera and switched_s < SWITCH_S
    await asyncio.sleep(0.3)
    looks = await wall.looks()
    assert {width for width, _ in looks} == {SUB_WIDTH, WIDTH}
    assert min(light for _, light in looks) > 50
    assert large["session"] == before["session"] and large["reconnects"] == large["moves"] == 0

    # Nobody looks at the others: a moment later they are given up, with their last pictures kept.
    await until_sessions(site.system, {camera})
    left_s = time.monotonic() - began
    assert 2.5 < left_s < switched_s + 6
    tiles = await wall.tiles()
    assert {tiles[name]["phase"] for name in others} == {"released"}
    (rtp,) = await wall.inbound()
    assert rtp["ssrc"] in sources and rtp["frameWidth"] == WIDTH
    assert rtp["packetsLost"] == 0 and rtp["framesDecoded"] > before["framesDecoded"]

    await wall.watch(camera)
    began = time.monotonic()
    await wall.page.keyboard.press("Escape")
    tiles = await wall.until_live(*NAMES)
    back_s = time.monotonic() - began
    assert tiles[camera]["session"] == before["session"]
    await wall.until_tiles(lambda tiles: tiles[camera]["width"] == SUB_WIDTH)
    assert min(light for _, light in await wall.looks()) > 50
    (again,) = [entry for entry in await wall.inbound() if entry["ssrc"] == rtp["ssrc"]]
    assert again["id"] == rtp["id"] and again["packetsLost"] == 0
    await until_sessions(site.system, set(NAMES))
    assert await wall.note("mostConnecting") <= 6
    await close(wall)
    with capsys.disabled():
        print(
            f"\nenlarged: main after {switched_s:.2f} s; "
            f"others given up after {left_s:.1f} s, back in {back_s:.2f} s"
        )
    assert back_s < BACK_S


async def test_every_way_back_to_the_wall(site: Site) -> None:
    camera = NAMES[1]
    wall = await open_wall(site.browser, f"{site.system.url}/#{camera}")
    page, tile = wall.page, wall.tile(camera)
    await wall.until_large(camera)
    assert (await page.title()).startswith(camera)

    async def button() -> None:
        await tile.get_by_role("button", name="Back to the wall").click()

    async def twice() -> None:
        await asyncio.sleep(0.5)  # not the second click of a double one
        await tile.locator(".stage").dblclick()

    ways = {
        "escape": lambda: page.keyboard.press("Escape"),
        "enter": lambda: page.keyboard.press("Enter"),
        "button": button,
        "double click": twice,
        "the browser's": page.go_back,
    }
    for way, back in ways.items():
        if await wall.large() is None:
            await tile.click()
            await wall.until_large(camera)
        assert page.url.endswith(f"#{camera}"), way
        await back()
        await wall.until_large(None)
        await page.wait_for_url(lambda url: "#" not in url)
        assert await wall.focused() == camera, way
        assert await page.title() == "cctv3"
    await page.go_forward()
    await wall.until_large(camera)
    await page.keyboard.press("ArrowRight")  # to the next camera, without a way back through each
    await wall.until_large(NAMES[2])
    await page.go_back()
    await wall.until_large(None)
    # Before the browser has gone back nothing takes it a second step, out of the page.
    await tile.click()
    await wall.until_large(camera)
    # The browser's own keys are left to it.
    assert await page.evaluate(
        "document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'ArrowLeft', altKey: true, bubbles: true, cancelable: true }))"
    )
    keys = ["Escape", "Escape", "Enter", "ArrowRight", "Escape", "Enter"]
    await page.evaluate(
        "(keys) => keys.forEach((key) => document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', { key, code: key, bubbles: true, cancelable: true })))",
        keys,
    )
    await asyncio.sleep(0.3)
    assert page.url.endswith(f"#{NAMES[2]}") and await wall.large() == NAMES[2]
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await asyncio.sleep(0.3)
    assert "#" not in page.url and await wall.large() is None
    # One that is taken off the wall while it is large leaves the address with it.
    await tile.click()
    await wall.until_large(camera)
    await page.click("#layouts-button")
    await page.locator("#layouts").get_by_label(camera).uncheck()
    await wall.until_large(None)
    await page.wait_for_url(lambda url: "#" not in url)
    await page.locator("#layouts").get_by_label(camera).check()
    await page.keyboard.press("Escape")
    await wall.until_live(camera)
    # Who is used to clicking twice has it large, not there and back.
    await tile.dblclick()
    await asyncio.sleep(0.3)
    assert await wall.large() == camera
    await close(wall)


async def test_tiles_out_of_view_rest(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    wall = await open_wall(site.browser, f"{site.system.url}/?grid=4")
    # Two rows are seen, one more is ready; the fifth is not asked for.
    await wall.until_live(*NAMES[:6])
    tiles = await wall.tiles()
    assert tiles[NAMES[8]]["phase"] == tiles[NAMES[6]]["phase"] == "idle"
    began = time.monotonic()
    await wall.tile(NAMES[8]).scroll_into_view_if_needed()
    await wall.until_tiles(lambda tiles: is_live(tiles[NAMES[8]]))
    scrolled_s = time.monotonic() - began
    await wall.until_tiles(lambda tiles: tiles[NAMES[0]]["phase"] == "released")
    rested_s = time.monotonic() - began
    assert 2.5 < rested_s < 5
    words = wall.tile(NAMES[0]).locator(".veil-title")
    assert await words.text_content() == "Paused while out of view"
    began = time.monotonic()
    await wall.tile(NAMES[0]).scroll_into_view_if_needed()
    await wall.until_tiles(lambda tiles: is_live(tiles[NAMES[0]]))
    again_s = time.monotonic() - began
    await close(wall)
    with capsys.disabled():
        print(
            f"\nscrolled to: {scrolled_s:.2f} s, scrolled back to: {again_s:.2f} s; "
            f"given up out of view after {rested_s:.1f} s"
        )
    assert max(scrolled_s, again_s) < BACK_S


async def test_hidden_tabs_rest(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    wall = await open_wall(site.browser, f"{site.system.url}/?cameras={NAMES[0]},{NAMES[1]}")
    sessions = {facts["session"] for facts in (await wall.until_live(*NAMES[:2])).values()}
    await wall.hide(True)
    await wall.skip(9)
    await asyncio.sleep(0.5)
    assert {facts["session"] for facts in (await wall.tiles()).values()} == sessions
    await wall.skip(1)
    await wall.until_tiles(lambda tiles: {facts["phase"] for facts in tiles.values()} == {"released"})
    await until_sessions(site.system, set())
    began = time.monotonic()
    await wall.hide(False)
    await wall.until_live(*NAMES[:2])
    shown_s = time.monotonic() - began
    await close(wall)
    with capsys.disabled():
        print(f"\nof a tab that is seen again: {shown_s:.2f} s")
    assert shown_s < BACK_S


async def test_tiles_fit_whatever_their_number(site: Site) -> None:
    wall = await open_wall(site.browser, f"{site.system.url}/?cameras=")
    for count in (1, 9, 64):
        # Cameras that are not there have tiles all the same, which say so.
        names = ",".join(f"none-{number}" for number in range(count))
        await wall.page.goto(f"{site.system.url}/?cameras={names}")
        await wall.until_tiles(lambda tiles, count=count: len(tiles) == count)
        for width, height in ((360, 740), (1440, 900), (3840, 2160)):
            await wall.page.set_viewport_size({"width": width, "height": height})
            for choice in ("auto", "1", "4", "9", "16"):
                await wall.page.evaluate(CHOOSE, choice)
                seen = check_boxes(await wall.page.evaluate(BOXES), count)
                if choice == "auto" and width > 560:
                    assert seen == count
                elif width > 560 or choice == "1":
                    assert seen == min(count, int(choice))
    await close(wall)


def check_boxes(boxes: dict[str, Any], count: int) -> int:
    """Tiles stand beside or below each other, none is too wide; gives how many are seen whole."""
    left, top, right, bottom = boxes["view"]
    tiles = boxes["tiles"]
    assert boxes["across"] <= 0 and boxes["page"] <= 0
    assert len(tiles) == count
    for x1, y1, x2, y2 in tiles:
        assert left <= x1 and x2 <= right + 0.5
        assert x2 - x1 > 100 and y2 - y1 > 40
    for (x1, y1, x2, y2), (next_x, next_y, _, _) in pairwise(tiles):
        assert (next_x >= x2 and abs(next_y - y1) < 1) or (next_x <= x1 and next_y >= y2)
    return sum(y1 >= top and y2 <= bottom + 0.5 for _, y1, _, y2 in tiles)
