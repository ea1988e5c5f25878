"""Cameras in the page of another site, with what docs/embedding.md tells its author to write."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from playwright.async_api import Browser, Frame, Page

from tests.support.browser import chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, gst_camera
from tests.support.system import System, running_system

pytestmark = pytest.mark.peers

SERVER, TOKEN = "https://cams.example/", "view-…"
FRAMES = 25
_FRAMES = "() => document.querySelector('video')?.getVideoPlaybackQuality().totalVideoFrames ?? 0"
_COLOURS = """() => {
    const canvas = new OffscreenCanvas(64, 36);
    const context = canvas.getContext('2d');
    context.drawImage(document.querySelector('video'), 0, 0, 64, 36);
    return new Set(new Uint32Array(context.getImageData(0, 0, 64, 36).data.buffer)).size;
}"""


def documented(mark: str) -> str:
    """The one example of the document with `mark` in it."""
    text = (PROJECT / "docs" / "embedding.md").read_text()
    blocks: list[str] = re.findall(r"```(?:html|js)\n(.*?)```", text, re.DOTALL)
    (found,) = (block for block in blocks if mark in block)
    return found


class Site:
    """A site of somebody else with one page, and a system whose cameras it shows."""

    def __init__(self, system: System, browser: Browser, api: aiohttp.ClientSession, url: str) -> None:
        self.system = system
        self._browser = browser
        self._api = api
        self.url = url
        self.body = ""
        self.console: list[str] = []

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """The owner's way to the API."""
        async with self._api.request(method, f"http://localhost/api/v1/{path}", **options) as response:
            assert response.status < 300, await response.text()
            return await response.json()

    async def until(self, reached: Any, deadline_s: float = 20.0) -> None:
        await self.system.until(reached, deadline_s)

    async def allow(self, *origins: str) -> None:
        """Writes `http.embed` into the configuration of the running system."""
        path = self.system.run_folder.parent / "config.yaml"
        content = yaml.safe_load(path.read_text())
        content["http"]["embed"] = list(origins)
        path.write_text(yaml.safe_dump(content))
        await self.ask("POST", "configuration/reload")

    async def open(self, body: str, camera: str = "front") -> Page:
        """The site's page with an example, its names replaced by the real ones."""
        link = await self.ask("POST", "links", json={"camera": camera, "seconds": 600})
        self.body = body.replace(SERVER, f"{self.system.url}/").replace(TOKEN, link["token"])
        page = await self._browser.new_page()
        page.on("console", lambda message: self.console.append(message.text))
        await page.goto(self.url)
        return page

    async def page(self, request: web.Request) -> web.Response:
        html = f'<!doctype html><html lang="en"><title>Intranet</title><body>{self.body}</body></html>'
        return web.Response(text=html, content_type="text/html")

    async def sessions(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = (await self.ask("GET", "sessions"))["sessions"]
        return listed


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """The cameras `front` and `yard` of a system on 127.0.0.1, and a site on localhost, which is another."""
    port = free_tcp_port()
    async with (
        gst_camera(gop=25) as camera,
        running_system(
            {"front": {"url": camera.ready}, "yard": {"url": camera.ready}},
            more={"auth": {"users": {"anna": {"role": "viewer"}}}},
        ) as system,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(system.run_folder / "api.sock"))) as api,
        chromium() as browser,
    ):
        made = Site(system, browser, api, f"http://localhost:{port}/")

        async def live() -> bool:
            return all(camera["state"] == "live" for camera in await made.ask("GET", "cameras"))

        await made.until(live)
        app = web.Application()
        app.router.add_get("/", made.page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield made
        finally:
            await runner.cleanup()


async def until_playing(page: Page | Frame, beyond: int = 0, deadline_s: float = 20.0) -> None:
    """Waits for pictures in a video element that are not of one colour."""
    frames = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(deadline_s):
            while frames < beyond + FRAMES:
                frames = await page.evaluate(_FRAMES)
                await asyncio.sleep(0.05)
    assert frames >= beyond + FRAMES, f"{frames} frames within {deadline_s:g} s"
    assert await page.evaluate(_COLOURS) > 10


async def test_a_player_of_ones_own() -> None:
    example = documented("/whep/")
    assert example.count("\n") < 30
    body = f'<video autoplay muted playsinline></video><script type="module">{example}</script>'
    async with site() as own:
        page = await own.open(body)
        await own.until(lambda: any("Failed to fetch" in line for line in own.console))
        assert await own.sessions() == []  # it is not let in: the server answers no page of theirs
        await own.allow(own.url.removesuffix("/"))
        await until_playing(page)
        (session,) = await own.sessions()
        assert session["camera"] == "front" and session["kind"] == "link"

        own.system.kill("fanout-0")
        await until_playing(page, await page.evaluate(_FRAMES), 60.0)

        await page.goto("about:blank")

        async def nobody() -> bool:
            return not await own.sessions()

        await own.until(nobody, 3.0)


async def test_in_a_frame() -> None:
    async with site() as own:
        page = await own.open(documented("<iframe"))

        async def refused() -> bool:
            return page.frames[1].url.startswith("chrome-error://")

        await own.until(refused)
        await own.allow(own.url.removesuffix("/"))
        # The same tab, which has seen the page as it was before.
        await page.goto(own.url)
        await until_playing(page.frames[1])
        (session,) = await own.sessions()
        assert session["camera"] == "front" and session["kind"] == "link"
        assert TOKEN not in page.frames[1].url

        # Out of view it rests after a while, without a try to mend what is whole; in view again it is there.
        frame = page.frames[1]
        await page.evaluate(
            "document.body.prepend(Object.assign(document.createElement('div'), { id: 'long' }))"
        )
        await page.evaluate("document.getElementById('long').style.height = '9000px'")

        async def rests() -> bool:
            return not await own.sessions()

        await own.until(rests, 15.0)
        facts = await frame.evaluate("({ ...cctv3.chosen })")
        assert (facts["phase"], facts["reconnects"]) == ("released", 0)
        seen = await frame.evaluate(_FRAMES)
        await page.evaluate("scrollTo(0, 9000)")
        await until_playing(frame, seen)

        await own.allow("https://elsewhere.example")
        await page.goto(own.url)
        await own.until(refused)


async def test_as_an_element() -> None:
    watching = """<script>
        window.heard = [];
        addEventListener("cctv3-state", ({ target, detail }) => {
            heard.push({ tag: target.localName, ...detail });
        });
        const forged = { type: "cctv3-state", camera: "forged", phase: "playing" };
        setInterval(() => postMessage(forged, "*"), 100);
    </script>"""
    element = "document.querySelector('cctv3-camera')"
    async with site() as own:
        await own.allow(own.url.removesuffix("/"))
        page = await own.open(watching + documented("<cctv3-camera"))
        steps = await page.evaluate("history.length")

        async def heard(camera: str, **wanted: object) -> bool:
            last = await page.evaluate("heard.at(-1)") or {}
            return last.items() >= {"tag": "cctv3-camera", "camera": camera, **wanted}.items()

        await own.until(lambda: heard("front", state="playing", stale=False, reason=None))
        await until_playing(page.frames[1])
        frame = await page.frames[1].frame_element()
        title, allowed = await frame.evaluate("({ title, allow }) => [title, allow]")
        assert (title, allowed) == ("Camera front", "autoplay; fullscreen; picture-in-picture")
        width, height = await page.evaluate(f"[{element}.clientWidth, {element}.clientHeight]")
        assert width > 300 and abs(width * 9 / 16 - height) < 2

        # A link is for its camera alone, and so is its token here.
        await page.evaluate(f"{element}.setAttribute('camera', 'yard')")
        await own.until(lambda: heard("yard", stale=True, reason="gone"))
        link = await own.ask("POST", "links", json={"camera": "yard", "seconds": 600})
        await page.evaluate(
            f"token => {{ {element}.setAttribute('token', token); {element}.title = 'Hof'; }}", link["token"]
        )
        await own.until(lambda: heard("yard", state="playing", stale=False))
        assert await frame.evaluate("({ title }) => title") == "Hof"
        assert await page.evaluate("history.length") == steps and len(page.frames) == 2
        assert [session["camera"] for session in await own.sessions()] == ["yard"]

        await page.evaluate(f"{element}.remove()")

        async def nobody() -> bool:
            return not await own.sessions()

        await own.until(nobody, 5.0)
        await own.until(lambda: len(page.frames) == 1, 5.0)
        assert not await page.evaluate("heard.some(({ camera }) => camera === 'forged')")
