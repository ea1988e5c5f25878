"""A session that the server ends for good: the page says why, and does not ask again."""

import asyncio
import time

import aiohttp
import pytest

from signaling.broker import KICKED
from signaling.settings_news import REMOVED
from tests.support.browser import chromium, open_viewer
from tests.support.processes import gst_camera
from tests.support.system import running_system

pytestmark = pytest.mark.peers


async def test_a_kick_and_a_removed_camera() -> None:
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}, "yard": {"url": camera.ready}}) as system,
        chromium() as browser,
        aiohttp.ClientSession() as http,
    ):
        viewer = await open_viewer(browser, f"{system.url}/#gate")
        other = await open_viewer(browser, f"{system.url}/#yard")
        facts, _ = [await each.until_playing(10) for each in (viewer, other)]
        veil = viewer.veil.locator(".veil-detail")

        async with http.delete(f"{system.url}/api/v1/sessions/{facts['session'][:6]}") as response:
            assert response.status < 300, await response.text()
        await viewer.until(lambda facts: facts["phase"] == "ended")
        assert await veil.is_visible()
        assert await veil.text_content() == KICKED
        assert await viewer.page.evaluate("window.cctv3.video.srcObject") is None
        await asyncio.sleep(2.0)  # two polls of the cameras: it is listed as before, and nothing begins anew
        facts = await viewer.facts()
        assert (facts["phase"], facts["reconnects"], facts["session"]) == ("ended", 0, None)
        await viewer.veil.get_by_text("Open again").click()
        await viewer.until_playing(5)

        url = f"{system.url}/api/v1/cameras/gate"
        async with http.delete(url, headers={"If-Match": "*"}) as response:
            assert response.status < 300, await response.text()
        await viewer.until(lambda facts: facts["phase"] == "ended")
        assert await veil.text_content() == REMOVED
        await viewer.until(lambda facts: facts["kind"] == "gone")
        assert await viewer.veil.locator(".veil-title").text_content() == "No permission, or removed"
        async with http.put(url, json={"url": camera.ready}, headers={"If-None-Match": "*"}) as response:
            assert response.status == 201, await response.text()
        await viewer.until_playing(5)
        assert (await other.facts())["reconnects"] == 0
        assert viewer.errors == other.errors == []


async def test_the_first_user_of_a_system_shuts_out_whoever_has_not_logged_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    password = "correct horse battery"
    async with (
        gst_camera(gop=25) as camera,
        running_system({"gate": {"url": camera.ready}}) as system,
        chromium() as browser,
    ):
        viewer = await open_viewer(browser, system.url)
        await viewer.until_playing(10)
        async with aiohttp.ClientSession() as http:
            url = f"{system.url}/api/v1/users/anna"
            user = {"role": "admin", "password": password}
            async with http.put(url, json=user, headers={"If-None-Match": "*"}) as response:
                assert response.status == 201, await response.text()
            began = time.monotonic()
            await system.until(lambda: "ended: access was withdrawn" in system.log_text())
            took_s = time.monotonic() - began
        await viewer.page.wait_for_url("**/login")
        await viewer.page.fill("#name", "anna")
        await viewer.page.fill("#password", password)
        await viewer.page.click("#login button")
        await viewer.page.wait_for_url(f"{system.url}/")
        await viewer.until_playing(5)
        await viewer.page.click("[popovertarget=settings]")
        assert await viewer.page.locator("#settings a").text_content() == "anna"
        session = (await viewer.facts())["session"]
        assert f"session {session[:6]}… of gate on fanout-0 user=anna" in system.log_text()
        with capsys.disabled():
            print(f"\naccess withdrawn: the session was over {took_s:.2f} s after the answer")
