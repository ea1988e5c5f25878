"""What can be done with a tile, by mouse and by keyboard."""

import asyncio
import contextlib
import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import av
import pytest
import pytest_asyncio
from playwright.async_api import Download

from tests.support.browser import chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system
from tests.support.wall_page import WallPage, open_wall

pytestmark = [pytest.mark.peers, pytest.mark.asyncio(loop_scope="module")]

NAMES = ["door", "gate", "hall", "yard"]
"`hall` has no sub stream and no sound, at `yard` nothing listens."
WIDTH, HEIGHT = 480, 270
BARS = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1)]
"Red, green and blue of the simulated camera's picture, from left to right."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[tuple[System, WallPage]]:
    """The wall of four cameras, two of them with sound."""
    size = {"width": WIDTH, "height": HEIGHT, "fps": 10}
    async with (
        simulated_camera(free_tcp_port(), audio="opus", **size) as loud,
        simulated_camera(free_tcp_port(), **size) as silent,
        running_system(
            {
                "door": {"url": loud, "sub": f"{loud}-sub"},
                "gate": {"url": loud, "sub": f"{loud}-sub"},
                "hall": {"url": silent},
                "yard": {"url": f"rtsp://127.0.0.1:{free_tcp_port()}/"},
            }
        ) as system,
        chromium() as browser,
    ):
        for name in NAMES[:3]:
            await system.until_live(name)
        yield system, await open_wall(browser, system.url)


@pytest_asyncio.fixture(loop_scope="module")
async def wall(running: tuple[System, WallPage]) -> AsyncIterator[WallPage]:
    """The wall with all its tiles, the first one focused."""
    _, wall = running
    # Whatever the test before has left open.
    await wall.page.evaluate("document.fullscreenElement && document.exitFullscreen()")
    for _ in range(2):
        await wall.page.keyboard.press("Escape")
    await wall.until_large(None)
    await wall.page.click("#grids [data-grid=auto]")
    await wall.until_live(*NAMES[:3])
    await wall.tile("door").focus()
    yield wall
    assert wall.errors == []
    assert await wall.note("violations") == []


async def until(reached: Callable[[], Awaitable[Any]], deadline_s: float = 10.0) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(deadline_s):
            while not await reached():
                await asyncio.sleep(0.02)
    assert await reached()


async def muted(wall: WallPage) -> dict[str, bool]:
    return {name: facts["muted"] for name, facts in (await wall.tiles()).items()}


async def test_one_camera_is_heard_at_a_time(wall: WallPage) -> None:
    assert all((await muted(wall)).values())
    await wall.until_tiles(lambda tiles: tiles["door"]["hasSound"] and tiles["gate"]["hasSound"])
    tile = wall.tile("gate")
    await tile.hover()
    await tile.get_by_role("button", name="Sound on").click()
    assert await muted(wall) == {"door": True, "gate": False, "hall": True, "yard": True}
    assert await tile.get_by_role("button", name="Sound off").is_visible()
    assert await wall.large() is None
    await wall.tile("door").focus()
    await wall.page.keyboard.press("m")
    assert await muted(wall) == {"door": False, "gate": True, "hall": True, "yard": True}
    await wall.tile("hall").hover()
    assert not await wall.tile("hall").locator(".sound").is_visible()
    # Hangul is written by the same keys, and capitals where they are locked.
    for key, door in (("ㅡ", True), ("M", False), ("M", True)):
        await wall.page.evaluate(
            "(key) => document.activeElement.dispatchEvent("
            "new KeyboardEvent('keydown', { key, code: 'KeyM', bubbles: true, cancelable: true }))",
            key,
        )
        assert (await muted(wall))["door"] == door
    assert all((await muted(wall)).values())


def colours(download: bytes) -> tuple[tuple[int, int], list[tuple[int, ...]]]:
    """Size of a JPEG, and in the middle of each bar the usual colour from top to bottom."""
    with av.open(io.BytesIO(download), format="jpeg_pipe") as file:
        frame = next(file.decode(video=0)).reformat(format="rgb24")
    plane = frame.planes[0]
    octets, line = bytes(plane), plane.line_size
    found = []
    for bar in range(len(BARS)):
        x = 3 * int(frame.width * (bar + 0.5) / len(BARS))
        pixels = [octets[y * line + x : y * line + x + 3] for y in range(frame.height)]
        found.append(tuple(int(median(channel)) for channel in zip(*pixels, strict=True)))
    return (frame.width, frame.height), found


async def test_a_snapshot_is_the_picture_with_a_name_that_says_which(wall: WallPage) -> None:
    page = wall.page

    async def check(download: Download, size: tuple[int, int]) -> None:
        named = re.fullmatch(r"door_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)\.jpg", download.suggested_filename)
        assert named, download.suggested_filename
        at = datetime.strptime(named[1], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
        assert abs((datetime.now(UTC) - at).total_seconds()) < 5
        found_size, found = colours((await download.path()).read_bytes())
        assert found_size == size
        right = [
            tuple(value > 100 for value in colour) == bar for colour, bar in zip(found, BARS, strict=True)
        ]
        # What moves over the bars hides one at times.
        assert sum(right) >= len(BARS) - 1, found

    small = (await wall.until_tiles(lambda tiles: tiles["door"]["width"] == WIDTH // 2))["door"]
    async with page.expect_download() as by_key:
        await page.keyboard.press("s")
    await check(await by_key.value, (small["width"], small["height"]))
    await page.keyboard.press("Enter")
    await wall.until_large("door")
    await wall.until(lambda facts: facts["width"] == WIDTH)
    await page.keyboard.press("+")  # the whole picture all the same
    async with page.expect_download() as by_button:
        await wall.tile("door").get_by_role("button", name="Save snapshot").click()
    await check(await by_button.value, (WIDTH, HEIGHT))
    await page.keyboard.press("Escape")
    await wall.until_large(None)

    await wall.tile("yard").focus()
    await page.keyboard.press("s")
    said = "There is no picture to save"
    await until(lambda: page.evaluate(f"cctv3.journal.some(({{text}}) => text === '{said}')"))


async def test_zoom_and_pan(wall: WallPage) -> None:
    page, tile = wall.page, wall.tile("door")
    video = tile.locator("video")

    async def shift() -> tuple[float, float, float]:
        """How much larger than its frame the picture is, and how far off its centre, in frames."""
        picture, frame = await video.bounding_box(), await tile.locator(".stage").bounding_box()
        assert picture and frame
        scale = picture["width"] / frame["width"]
        across = (picture["x"] + picture["width"] / 2 - frame["x"]) / frame["width"] - 0.5
        down = (picture["y"] + picture["height"] / 2 - frame["y"]) / frame["height"] - 0.5
        assert abs(across) <= (scale - 1) / 2 + 0.001 and abs(down) <= (scale - 1) / 2 + 0.001
        return scale, across, down

    await page.keyboard.press("+")
    assert await shift() == (1, 0, 0)  # only the enlarged one
    await page.keyboard.press("Enter")
    await wall.until_large("door")
    await page.keyboard.press("+")
    assert await shift() == pytest.approx((1.5, 0, 0))
    await tile.get_by_role("button", name="Zoom in").click()
    assert (await shift())[0] == pytest.approx(2.25)
    await tile.get_by_role("button", name="Zoom out").click()
    await tile.focus()
    await page.keyboard.press("ArrowRight")  # of the picture, not to the next camera
    assert await shift() == pytest.approx((1.5, -0.15, 0))
    for _ in range(9):
        await page.keyboard.press("ArrowDown")
    assert await shift() == pytest.approx((1.5, -0.15, -0.25))
    box = await tile.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await page.mouse.move(x, y)
    await page.mouse.wheel(0, -600)
    assert (await shift())[0] == pytest.approx(1.5 * 2.61, abs=0.05)
    before = await shift()
    await page.mouse.down()
    await page.mouse.move(x + 120, y + 60, steps=4)
    await page.mouse.up()
    after = await shift()
    assert after[1] - before[1] == pytest.approx(120 / box["width"], abs=0.01)
    assert after[2] - before[2] == pytest.approx(60 / box["height"], abs=0.01)
    await page.mouse.down()
    await page.mouse.move(x + 2 * box["width"], y, steps=4)
    await page.mouse.up()
    await shift()  # within its bounds
    assert await wall.large() == "door"
    await page.keyboard.press("0")
    assert await shift() == (1, 0, 0)
    await page.keyboard.press("+")
    await page.keyboard.press("Escape")
    await wall.until_large(None)
    assert await shift() == (1, 0, 0)


async def test_quality_is_the_viewers_choice(wall: WallPage) -> None:
    page, tile = wall.page, wall.tile("door")
    session = (await wall.tiles())["door"]["session"]
    await page.keyboard.press("Enter")
    await wall.until(lambda facts: facts["width"] == WIDTH)
    given = tile.locator(".given")
    assert not await given.is_visible()
    await tile.get_by_label("Quality").select_option(label="Sub stream")
    await wall.until(lambda facts: facts["width"] == WIDTH // 2)
    await until(lambda: given.is_visible())
    assert await given.text_content() == "Sub stream: asked for"
    await tile.get_by_label("Quality").select_option(label="Keyframes only")
    await wall.until(lambda facts: facts["showing"] == "keyframes")
    assert (await wall.facts())["kind"] == "live"  # a picture every 2 s is as it should be
    await tile.get_by_label("Quality").select_option(label="Main stream")
    await wall.until(lambda facts: facts["width"] == WIDTH and facts["showing"] == "main")
    await until(lambda: given.is_hidden())
    assert (await wall.facts())["session"] == session
    await page.keyboard.press("Escape")  # the menu still has the focus
    await wall.until_large(None)
    # The choice stays, also in a small tile.
    await asyncio.sleep(1.2)
    assert (await wall.tiles())["door"]["showing"] == "main"
    await wall.tile("hall").click()
    await wall.until_large("hall")
    assert await wall.tile("hall").locator(".quality option[value=sub]").is_disabled()
    await page.keyboard.press("Escape")
    await wall.until_large(None)
    await wall.tile("door").focus()
    await page.keyboard.press("Enter")
    await tile.get_by_label("Quality").select_option(label="Automatic")


async def test_full_screen(wall: WallPage) -> None:
    page = wall.page
    full = "document.fullscreenElement?.dataset.camera ?? document.fullscreenElement?.tagName ?? null"
    await page.keyboard.press("f")
    await until(lambda: page.evaluate(f"({full}) === 'door'"))
    await wall.until(lambda facts: facts["width"] == WIDTH)  # it is large now
    await page.keyboard.press("f")
    await until(lambda: page.evaluate(f"({full}) === null"))
    await wall.tile("gate").click()
    await wall.until_large("gate")
    await wall.tile("gate").get_by_role("button", name="Full screen").click()
    await until(lambda: page.evaluate(f"({full}) === 'gate'"))
    await page.evaluate("document.exitFullscreen()")
    await page.locator("#actions").get_by_role("button", name="Full screen").click()
    await until(lambda: page.evaluate(f"({full}) === 'HTML'"))
    await page.evaluate("document.exitFullscreen()")


async def test_picture_in_picture_goes_on_out_of_view(wall: WallPage) -> None:
    page = wall.page
    await page.keyboard.press("Enter")
    await wall.until_large("door")
    button = wall.tile("door").get_by_role("button", name="Picture in picture")
    assert await button.is_visible() == await page.evaluate("document.pictureInPictureEnabled")
    await page.keyboard.press("p")
    floating = "document.pictureInPictureElement?.closest('.tile').dataset.camera ?? null"
    await until(lambda: page.evaluate(f"({floating}) === 'door'"))
    await page.keyboard.press("ArrowRight")
    await wall.until_large("gate")
    await wall.until_tiles(lambda tiles: tiles["hall"]["phase"] == "released")
    await asyncio.sleep(1)
    assert (await wall.tiles())["door"]["phase"] == "playing"
    await page.keyboard.press("ArrowLeft")
    await wall.until_large("door")
    await page.keyboard.press("p")
    await until(lambda: page.evaluate(f"({floating}) === null"))


async def test_one_tile_is_reached_by_tab_and_the_others_by_arrows(wall: WallPage) -> None:
    page = wall.page
    within = "[...document.querySelectorAll('.tile')].filter((tile) => tile.tabIndex === 0).length"
    for key, camera in (
        ("ArrowLeft", "door"),  # it is the first one
        ("ArrowRight", "gate"),
        ("ArrowDown", "yard"),
        ("ArrowDown", "yard"),
        ("ArrowLeft", "hall"),
        ("ArrowUp", "door"),
        ("ArrowRight", "gate"),
    ):
        await page.keyboard.press(key)
        assert (await wall.focused(), await page.evaluate(within)) == (camera, 1)
        assert (await wall.facts())["camera"] == camera
    await page.keyboard.press("Tab")  # into its buttons
    assert await page.evaluate("document.activeElement.closest('.tile').dataset.camera") == "gate"
    assert await page.evaluate("document.activeElement.tagName") == "BUTTON"
    await page.keyboard.press("Shift+Tab")
    assert await wall.focused() == "gate"
    await page.keyboard.press("Shift+Tab")
    assert await page.evaluate("document.activeElement.closest('header') !== null")
    await page.keyboard.press("Tab")
    assert await wall.focused() == "gate"
    await page.keyboard.press("Enter")
    await wall.until_large("gate")
    await page.keyboard.press("ArrowRight")
    await wall.until_large("hall")
    await page.keyboard.press("Escape")
    await wall.until_large(None)
    assert await wall.focused() == "hall"


async def test_tiles_say_what_they_are_and_how_they_are(wall: WallPage) -> None:
    page = wall.page
    for name in NAMES[:3]:
        assert await page.get_by_role("group", name=f"{name}, Live", exact=True).count() == 1
    assert await page.get_by_role("group", name="yard, Camera not reachable", exact=True).count() == 1
    assert await page.get_by_role("group", name="Tiles").count() == 1
    for button in await wall.tile("door").get_by_role("button", include_hidden=True).all():
        assert await button.get_attribute("aria-label") or await button.text_content()


async def test_digits_choose_how_many_are_seen(wall: WallPage) -> None:
    for key, grid in (("1", "1"), ("2", "4"), ("3", "9"), ("4", "16"), ("a", "Auto")):
        await wall.page.keyboard.press("Enter")
        await wall.until_large("door")
        await wall.page.keyboard.press(key)
        await wall.until_large(None)
        (pressed,) = await wall.page.locator("#grids [aria-pressed=true]").all()
        assert await pressed.text_content() == grid


async def test_the_panel_opens_and_gives_the_focus_back(wall: WallPage) -> None:
    page, panel = wall.page, wall.page.locator("#panel")
    for key, tab in (("i", "Statistics"), ("w", "Why no picture?"), ("l", "Log")):
        await page.keyboard.press(key)
        await panel.wait_for()
        assert await panel.get_by_role("tab", selected=True).text_content() == tab
        assert await page.evaluate("document.activeElement.closest('#panel') !== null")
        await page.keyboard.press("m")  # typed there, it means nothing
        assert all((await muted(wall)).values())
        await page.keyboard.press("Escape")
        await panel.wait_for(state="hidden")
        assert await wall.focused() == "door"
    # The same button of another tile is about that one.
    for name in ("door", "gate"):
        await wall.tile(name).hover()
        await wall.tile(name).locator(".tool.why").click()
        await panel.wait_for()
        assert await panel.locator("h2").text_content() == name
    await wall.tile("gate").locator(".tool.why").click()
    await panel.wait_for(state="hidden")


async def test_menus_and_help_give_the_focus_back(wall: WallPage) -> None:
    page = wall.page
    await page.keyboard.press("?")
    await page.get_by_role("dialog", name="Keys").wait_for()
    await page.keyboard.press("m")
    await page.keyboard.press("Escape")
    await page.get_by_role("dialog").wait_for(state="hidden")
    assert await wall.focused() == "door"
    await page.keyboard.press("Enter")
    await wall.until_large("door")
    for button in ("#layouts-button", "[popovertarget=settings]"):
        await page.focus(button)
        await page.keyboard.press("Enter")
        menu = page.locator(":popover-open")
        await menu.wait_for()
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.closest(':popover-open') !== null")
        assert "null" not in (await menu.inner_text())
        await page.keyboard.press("Escape")
        await menu.wait_for(state="hidden")
        assert await page.evaluate("(button) => document.activeElement.matches(button)", button)
        assert await wall.large() == "door"  # the same key would bring back the wall
    await page.click("#layouts-button")
    await page.get_by_label("Name of the layout").fill("1 m")
    assert all((await muted(wall)).values()) and await wall.large() == "door"


async def test_figures_are_shown_on_all_tiles(wall: WallPage) -> None:
    figures = wall.tile("gate").locator(".figures")
    assert not await figures.is_visible()
    button = wall.page.get_by_role("button", name="Figures on tiles")
    await button.click()
    assert await button.get_attribute("aria-pressed") == "true"
    await until(lambda: figures.is_visible())
    pattern = re.compile(rf"{WIDTH // 2} . \d+ · [\d.]+ fps · \d+ kbit/s · loss 0\.0 % · RTT \d+ ms")
    await wall.tile("gate").locator(".figures").filter(has_text=pattern).wait_for()
    await button.click()
    await until(lambda: figures.is_hidden())


async def test_the_colours_and_the_language_are_kept(wall: WallPage) -> None:
    page = wall.page
    ground = "getComputedStyle(document.body).backgroundColor"
    before = await page.evaluate(ground)
    await page.click("[popovertarget=settings]")
    await page.get_by_label("Colours").select_option("dark")
    assert await page.evaluate(ground) != before
    await page.get_by_label("Language").select_option("ko")
    await page.get_by_role("button", name="레이아웃").wait_for()
    assert await page.evaluate("document.documentElement.lang") == "ko"
    assert await page.evaluate(ground) != before
    await wall.until_live("door")
    assert await page.get_by_role("group", name="yard, 카메라에 연결할 수 없음").count() == 1
    await page.click("[popovertarget=settings]")
    await page.get_by_label("색상").select_option("auto")
    await page.get_by_label("언어").select_option("en")
    await page.get_by_role("button", name="Layouts").wait_for()
    assert await page.evaluate(ground) == before
