"""An admin's cameras on the system page in Chromium: tried, added, changed, arranged, removed."""

import asyncio

import aiohttp
import pytest
import yaml
from playwright.async_api import Locator, Page, Route, expect

from tests.support.browser import ViewerPage, chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system

pytestmark = pytest.mark.peers

PASSWORD = "s3cret-pass"
TRY_MS = 40_000
SLOW_MS = 20_000

_COLOURS = """canvas => {
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let at = 0; at < data.length; at += 400) {
        seen.add(`${data[at] >> 5} ${data[at + 1] >> 5} ${data[at + 2] >> 5}`);
    }
    return seen.size;
}"""


class Admin:
    """The page and its form."""

    def __init__(self, page: Page, system: System) -> None:
        self.page = page
        self._system = system
        self.form = page.locator("#camera-dialog")
        self.save = page.locator("#camera-save")
        self.anyway = page.locator("#camera-anyway")
        self.problem = page.locator("#camera-problem")
        self.trial = page.locator("#camera-trial")

    def row(self, camera: str) -> Locator:
        return self.page.locator(
            "#cameras tbody tr", has=self.page.get_by_role("link", name=camera, exact=True)
        )

    def button(self, name: str) -> Locator:
        return self.page.locator("#cameras").get_by_role("button", name=name, exact=True)

    async def new(self, name: str, url: str) -> None:
        """Fills in the form of a new camera."""
        await self.page.click("#add")
        await self.page.fill("#camera-name", name)
        await self.page.fill("#camera-url", url)
        await expect(self.save).to_be_disabled()
        await expect(self.anyway).to_be_hidden()

    async def attempt(self) -> None:
        """Tries the camera out."""
        await self.page.click("#camera-try")
        await expect(self.page.locator("#camera-try")).to_have_text("Trying…")
        await expect(self.page.locator("#camera-try")).to_have_text("Try it", timeout=TRY_MS)

    async def settings(self, camera: str) -> tuple[dict[str, object], str]:
        """As the API gives them, and their ETag."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self._system.url}/api/v1/cameras/{camera}") as response,
        ):
            return await response.json(), response.headers["ETag"]

    async def names(self) -> list[str]:
        """The cameras in the order of the wall."""
        return [camera["name"] for camera in await self._system.get("/api/v1/cameras")]


async def test_cameras_are_added_changed_arranged_and_removed() -> None:
    ports = [free_tcp_port() for _ in range(2)]
    async with (
        simulated_camera(ports[0], width=320, height=180, fps=10) as front,
        simulated_camera(ports[1], width=320, height=180, fps=10, user="anna", password=PASSWORD) as guarded,
        running_system({"front": {"url": front}}) as system,
        chromium() as browser,
    ):
        page = await browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(SLOW_MS)
        errors = ViewerPage(page).errors
        admin = Admin(page, system)
        await page.goto(f"{system.url}/system")
        await expect(admin.row("front")).to_contain_text("Live", timeout=SLOW_MS)

        # A wrong password: the camera's words; it can be saved only against better advice.
        await admin.new("yard", guarded.replace("rtsp://", "rtsp://anna:wrong@"))
        await admin.attempt()
        await expect(admin.trial).to_contain_text("Does not work")
        await expect(admin.trial).to_contain_text("camera refuses the user name or password")
        await expect(admin.save).to_be_disabled()
        await expect(admin.anyway).to_be_visible()

        # The right one: its picture and what it sends.
        await page.fill("#camera-url", guarded.replace("rtsp://", f"rtsp://anna:{PASSWORD}@"))
        await expect(admin.anyway).to_be_hidden()
        await expect(admin.trial).to_be_hidden()
        await admin.attempt()
        for words in ("Works", "H264", "320 \N{MULTIPLICATION SIGN} 180", "RTSP over TCP"):
            await expect(admin.trial).to_contain_text(words)
        assert await admin.trial.locator("canvas").evaluate(_COLOURS) > 4
        await admin.save.click()
        await expect(admin.form).to_be_hidden()
        await expect(page.locator("#cameras-done")).to_have_text("yard is saved.")
        await system.until_live("yard", 10.0)
        await expect(admin.row("yard")).to_contain_text("Live", timeout=SLOW_MS)

        # What is not understood is said, and cannot be saved at all; nor can a name that is taken.
        await admin.new("bad", "ftp://camera/stream")
        await admin.attempt()
        await expect(admin.problem).to_contain_text("url must be a URL")
        await expect(admin.anyway).to_be_hidden()
        await page.fill("#camera-name", "front")
        await page.fill("#camera-url", front)
        await admin.attempt()
        await admin.save.click()
        await expect(admin.problem).to_contain_text("front")
        await expect(admin.form).to_be_visible()

        # Nobody answers there yet.
        await page.fill("#camera-name", "later")
        await page.fill("#camera-url", f"rtsp://127.0.0.1:{free_tcp_port()}/later")
        await admin.attempt()
        await expect(admin.trial).to_contain_text("refuses connections")
        await admin.anyway.click()
        await expect(admin.row("later")).to_contain_text("Not reachable", timeout=SLOW_MS)

        # Changed without its login, which is never shown and stays; what decides over the picture is tried.
        await admin.button("Change yard").click()
        await expect(page.locator("#camera-url")).to_have_value(guarded)
        await expect(page.locator("#camera-stored-login")).to_contain_text(
            "A login is stored and never shown"
        )
        await page.check("#camera-on-demand")
        await expect(admin.save).to_be_enabled()
        await page.fill("#camera-sub", f"{guarded}-sub".replace("rtsp://", f"rtsp://anna:{PASSWORD}@"))
        await expect(admin.save).to_be_disabled()
        await admin.attempt()
        await expect(admin.trial.locator("h3")).to_have_text(["Main streamWorks", "Sub streamWorks"])
        await admin.save.click()
        await expect(admin.form).to_be_hidden()
        changed, tag = await admin.settings("yard")
        assert changed["on_demand"] is changed["credentials"] is True and changed["sub"] == f"{guarded}-sub"
        await expect(admin.row("yard")).to_contain_text("On demand", timeout=SLOW_MS)

        # Somebody else was faster.
        await admin.button("Change yard").click()
        await page.uncheck("#camera-audio")
        theirs = {**changed, "on_demand": False}
        async with (
            aiohttp.ClientSession() as http,
            http.put(f"{system.url}/api/v1/cameras/yard", json=theirs, headers={"If-Match": tag}) as response,
        ):
            assert response.status == 200, await response.text()
        await admin.save.click()
        await expect(admin.problem).to_contain_text("Somebody else changed this camera meanwhile")
        await page.click("#camera-theirs")
        await expect(page.locator("#camera-on-demand")).not_to_be_checked()
        await expect(page.locator("#camera-audio")).to_be_checked()
        await page.uncheck("#camera-audio")
        await admin.save.click()
        await expect(admin.form).to_be_hidden()
        changed, _ = await admin.settings("yard")
        assert (changed["on_demand"], changed["audio"], changed["credentials"]) == (False, False, True)
        assert PASSWORD not in await page.content()

        # Arranged, by keyboard too, while the table stands in that order.
        await expect(admin.button("yard up")).to_have_attribute("aria-disabled", "true")
        await page.get_by_role("button", name="No.", exact=True).click()
        assert await admin.names() == ["front", "yard", "later"]
        await admin.button("later up").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#cameras-done")).to_have_text("later is number 2 now.")
        await page.keyboard.press("Enter")
        await expect(page.locator("#cameras-done")).to_have_text("later is number 1 now.")
        await expect(admin.button("later up")).to_be_focused()
        await expect(page.locator("#cameras tbody tr a")).to_have_text(["later", "front", "yard"])
        await admin.button("front down").click()
        await expect(page.locator("#cameras-done")).to_have_text("front is number 3 now.")
        assert await admin.names() == ["later", "yard", "front"]

        # Removed, after a question that names it.
        await admin.button("Remove later").click()
        question = page.get_by_role("dialog")
        await expect(question).to_contain_text("later is taken out of the configuration file")
        await question.get_by_role("button", name="Remove", exact=True).click()
        await expect(admin.row("later")).to_have_count(0)
        file = yaml.safe_load((system.run_folder.parent / "config.yaml").read_text())
        assert list(file["cameras"]) == await admin.names() == ["yard", "front"]
        assert PASSWORD in file["cameras"]["yard"]["url"]
        assert errors == []


async def test_a_form_that_was_left_while_it_was_saved_leaves_the_next_one_alone() -> None:
    nowhere = f"rtsp://127.0.0.1:{free_tcp_port()}/nothing"
    async with running_system({"front": {"url": nowhere}}) as system, chromium() as browser:
        page = await browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(SLOW_MS)
        errors = ViewerPage(page).errors
        admin = Admin(page, system)
        held: asyncio.Queue[Route] = asyncio.Queue()

        async def hold(route: Route) -> None:
            if route.request.method == "PUT":
                await held.put(route)
            else:
                await route.continue_()

        async def left() -> Route:
            """Saves a change of `front`, leaves the form and begins another one."""
            await admin.button("Change front").click()
            await page.click("#camera-on-demand")
            await admin.save.click()
            route = await held.get()
            await expect(admin.save).to_be_disabled()
            await page.click("#camera-audio")
            await expect(admin.save).to_be_disabled()  # one after the other
            await page.keyboard.press("Escape")
            await expect(admin.form).to_be_hidden()
            await admin.new("yard", nowhere)
            return route

        async def untouched() -> None:
            await expect(admin.form).to_be_visible()
            await expect(page.locator("#camera-name")).to_have_value("yard")
            await expect(page.locator("#camera-url")).to_have_value(nowhere)
            await expect(admin.problem).to_be_empty()
            await page.keyboard.press("Escape")

        await page.goto(f"{system.url}/system")
        await page.route("**/api/v1/cameras/front", hold)
        route = await left()
        await route.continue_()
        await expect(page.locator("#cameras-done")).to_have_text("front is saved.")
        await untouched()
        changed, tag = await admin.settings("front")
        assert (changed["on_demand"], changed["audio"]) == (True, True)

        # What fails is said where somebody sees it.
        route = await left()
        async with (
            aiohttp.ClientSession() as http,
            http.put(
                f"{system.url}/api/v1/cameras/front",
                json={**changed, "audio": False},
                headers={"If-Match": tag},
            ) as response,
        ):
            assert response.status == 200, await response.text()
        await route.continue_()
        await expect(page.locator("#cameras-problem")).to_contain_text("front: ")
        await untouched()
        assert errors == []
