"""What a tile says when its camera shows nothing: what is the matter, in whose words, and what to do."""

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system
from tests.support.wall_page import WallPage, open_wall

pytestmark = [pytest.mark.peers, pytest.mark.asyncio(loop_scope="module")]

SIZES = [(360, 740), (640, 360), (1200, 800), (3840, 2160)]
TEXTS = """async () => {
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return [...document.querySelectorAll('.tile')].map((tile) => {
        const box = (element) => element.getBoundingClientRect();
        const text = (element) => {
            const range = new Range();
            range.selectNodeContents(element);
            return range.getBoundingClientRect();
        };
        const veil = tile.querySelector('.veil');
        const words = [...veil.children].filter((part) => box(part).height > 0);
        return {
            camera: tile.dataset.camera,
            shown: !veil.hidden,
            // Of what is said, the end above the camera's name, and the beginning within the tile.
            below: Math.max(...words.map((part) => box(part).bottom)) - box(tile.querySelector('.name')).top,
            above: box(tile).top - Math.min(...words.map((part) => box(part).top)),
            aside: Math.max(...words.map((part) => Math.max(
                box(tile).left - text(part).left, text(part).right - box(tile).right,
            ))),
        };
    });
}"""


@dataclass(frozen=True)
class Site:
    system: System
    browser: Browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """Cameras that are well, asleep, not there, locked, and of a codec that Chromium does not play."""
    size = {"width": 320, "height": 180, "fps": 10}
    locked_port = free_tcp_port()
    async with (
        simulated_camera(free_tcp_port(), **size) as well,
        simulated_camera(locked_port, user="admin", password="right", **size),
        simulated_camera(free_tcp_port(), codec="h265", **size) as strange,
        running_system(
            {
                "asleep": {"url": well, "on_demand": True},
                "gone": {"url": f"rtsp://127.0.0.1:{free_tcp_port()}/"},
                "locked": {"url": f"rtsp://admin:wrong@127.0.0.1:{locked_port}/simulated"},
                "strange": {"url": strange},
                "well": {"url": well},
            }
        ) as system,
        chromium() as browser,
    ):
        await system.until_live("well")
        await system.until_live("strange")
        yield Site(system, browser)


async def said(wall: WallPage, camera: str) -> dict[str, str]:
    """What is seen over the picture: title, detail, advice, …"""
    parts = await wall.tile(camera).locator(".veil:not([hidden]) > *").all()
    texts = {}
    for part in parts:
        if await part.is_visible():
            texts[(await part.get_attribute("class") or "").removeprefix("veil-")] = await part.inner_text()
    return texts


async def test_every_trouble_is_said_with_what_to_do(site: Site) -> None:
    wall = await open_wall(site.browser, site.system.url)
    tiles = await wall.until_tiles(
        lambda tiles: (
            [facts["kind"] for facts in tiles.values()]
            == ["live", "offline", "refused", "unsupported", "live"]
        )
    )
    assert "Waking the camera…" in (await wall.note("words"))["asleep"]
    assert await said(wall, "well") == {}

    gone = await said(wall, "gone")
    assert gone["title"] == "Camera not reachable"
    assert "refuses connections" in gone["detail"]
    assert gone["advice"] == "Check its power, its network cable and the address in the configuration."

    locked = await said(wall, "locked")
    assert locked["title"] == "Camera refuses"
    assert "wrong" not in locked["detail"] and "password" in locked["detail"]
    assert locked["advice"] == "Check user name, password and path in the configuration."

    strange = await said(wall, "strange")
    assert strange["title"] == "This browser cannot play it"
    assert "H265" in strange["detail"].replace(".", "")
    assert strange["advice"] == "Set the camera, or its sub stream, to H.264."

    for camera, facts in tiles.items():
        dot = wall.tile(camera).locator(".bar .state")
        assert await dot.get_attribute("data-level") == ("good" if facts["kind"] == "live" else "bad")
    assert wall.errors == []
    await wall.page.context.close()


async def test_in_korean(site: Site) -> None:
    wall = await open_wall(site.browser, f"{site.system.url}/?lang=ko")
    await wall.until_tiles(
        lambda tiles: [facts["kind"] for facts in tiles.values()][1:3] == ["offline", "refused"]
    )
    await wall.until_tiles(lambda tiles: tiles["strange"]["kind"] == "unsupported")
    for camera, title in (
        ("gone", "카메라에 연결할 수 없음"),
        ("locked", "카메라가 거부함"),
        ("strange", "이 브라우저에서 재생할 수 없음"),
    ):
        words = await said(wall, camera)
        assert words["title"] == title
        assert words["advice"].endswith(("세요.", "니다."))
    assert await wall.page.locator("header nav").inner_text() == "월\n시스템"
    # Who chooses another language gets it, whatever the address asked for.
    await wall.page.click("[popovertarget=settings]")
    await wall.page.get_by_label("언어").select_option("en")
    await wall.page.locator("header nav").get_by_text("Wall").wait_for()
    assert wall.page.url == f"{site.system.url}/"
    await wall.page.context.close()


async def test_what_is_said_has_room(site: Site) -> None:
    more = ",".join(f"none-{number}" for number in range(11))
    wall = await open_wall(site.browser, f"{site.system.url}/?cameras=")
    for cameras, language in product(("gone,locked,strange", f"gone,locked,strange,{more}"), ("en", "ko")):
        await wall.page.goto(f"{site.system.url}/?lang={language}&cameras={cameras}")
        await wall.until_tiles(
            lambda tiles: {"offline", "refused", "unsupported"} <= {facts["kind"] for facts in tiles.values()}
        )
        for width, height in SIZES:
            await wall.page.set_viewport_size({"width": width, "height": height})
            across = "document.documentElement.scrollWidth - innerWidth"
            assert await wall.page.evaluate(across) <= 0, (width, language)
            for text in await wall.page.evaluate(TEXTS):
                assert text["shown"]
                assert text["below"] <= 1 and text["above"] <= 0 and text["aside"] <= 0, (width, text)
    await wall.page.context.close()


async def test_a_server_that_does_not_answer(site: Site) -> None:
    wall = await open_wall(site.browser, site.system.url)
    await wall.until_live("well")
    await wall.until_tiles(lambda tiles: tiles["strange"]["kind"] == "unsupported")
    state = wall.page.locator("#server")
    signaling = site.system.pid("signaling")
    os.kill(signaling, signal.SIGSTOP)
    try:
        await state.filter(has_text="Server not reachable").wait_for(timeout=10_000)
        await wall.until_tiles(lambda tiles: tiles["strange"]["kind"] == "away")
        words = await said(wall, "strange")
        assert words["title"] == "Server not reachable"
        assert words["advice"] == "Check the network of this device. It is tried again by itself."
        facts = (await wall.tiles())["well"]
        assert facts["kind"] == "live"  # the picture does not pass there
    finally:
        os.kill(signaling, signal.SIGCONT)
    await state.filter(has_text="Server connected").wait_for(timeout=15_000)
    tiles = await wall.until_tiles(lambda tiles: tiles["strange"]["kind"] == "unsupported")
    assert tiles["well"]["reconnects"] == 0 and tiles["well"]["session"] == facts["session"]
    assert wall.errors == []
    await wall.page.context.close()
