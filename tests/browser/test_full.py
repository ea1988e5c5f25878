"""No worker takes viewers: the page says so and comes back by itself; whoever plays goes on playing."""

import aiohttp
import pytest

from tests.support.browser import chromium, open_viewer
from tests.support.processes import gst_camera
from tests.support.system import System, running_system

pytestmark = pytest.mark.peers


async def drain(system: System, worker: str, draining: bool) -> None:
    """As an operator does over the API."""
    async with aiohttp.ClientSession() as http:
        method = "POST" if draining else "DELETE"
        async with http.request(method, f"{system.url}/api/v1/workers/{worker}/drain") as response:
            assert response.status < 300, await response.text()


async def test_a_system_without_room_says_so_on_the_page() -> None:
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}) as system,
        chromium() as browser,
    ):
        playing = await open_viewer(browser, system.url)
        await playing.until_playing(25)
        await drain(system, "fanout-0", True)
        refused = await open_viewer(browser, system.url)
        await (
            refused.veil.locator(".veil-again")
            .filter(has_text="Trying again in 5 s")
            .wait_for(timeout=10_000)
        )
        assert await refused.veil.locator(".veil-title").text_content() == "The server is full"
        assert "every media worker" in (await refused.veil.locator(".veil-detail").text_content() or "")
        # It is not asked again before the time that the server named.
        assert (await refused.facts())["reconnects"] <= 2
        async with aiohttp.ClientSession() as http:
            headers = {"Content-Type": "application/sdp"}
            async with http.post(f"{system.url}/whep/gate", data="v=0\r\n", headers=headers) as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "5")
        frames = (await playing.facts())["framesDecoded"]
        facts = await playing.until(lambda facts: facts["framesDecoded"] > frames + 25)
        assert (facts["reconnects"], facts["moves"], facts["phase"]) == (0, 0, "playing")
        await drain(system, "fanout-0", False)
        await refused.until_playing(5)
        assert playing.errors == refused.errors == []
