"""A worker is drained under a playing page: the picture goes on, frame by frame, from another worker."""

import asyncio
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from tests.support.browser import ViewerPage, chromium, open_viewer
from tests.support.processes import gst_camera
from tests.support.system import System, running_system

pytestmark = pytest.mark.peers

FRAME_MS = 40.0
"Of the camera: 25 pictures a second."
REPAINT_MS = 17.0
"Pictures are shown at one of 60 moments a second."

# Each picture as it is shown: when, which, how bright; and at each repaint whether there is one at all.
_WATCH = """() => {
    const { video } = window.cctv3;
    const canvas = document.createElement('canvas');
    canvas.width = 16; canvas.height = 9;
    const context = canvas.getContext('2d', {willReadFrequently: true});
    const seen = window.seen = {pictures: [], luminances: [], sizes: new Set(), going: true};
    const repaint = () => {
        context.drawImage(video, 0, 0, 16, 9);
        const pixels = context.getImageData(0, 0, 16, 9).data;
        let sum = 0;
        for (let i = 0; i < pixels.length; i += 4) sum += pixels[i] + pixels[i + 1] + pixels[i + 2];
        seen.luminances.push(sum / (pixels.length / 4 * 3));
        seen.sizes.add(`${video.videoWidth}x${video.videoHeight} ${video.readyState}`);
        if (seen.going) requestAnimationFrame(repaint);
    };
    requestAnimationFrame(repaint);
    const picture = (now, {mediaTime}) => {
        seen.pictures.push({at: now, session: window.cctv3.chosen.session, time: video.currentTime});
        if (seen.going) video.requestVideoFrameCallback(picture);
    };
    video.requestVideoFrameCallback(picture);
}"""
_SEEN = """() => {
    window.seen.going = false;
    const {pictures, luminances, sizes} = window.seen;
    return {pictures, luminances, sizes: [...sizes]};
}"""


async def drain(system: System, worker: str) -> None:
    """As an operator does over the API."""
    url = f"{system.url}/api/v1/workers/{worker}/drain"
    async with aiohttp.ClientSession() as http, http.post(url) as response:
        assert response.status == 204, await response.text()


async def moved(viewer: ViewerPage, moves: int) -> dict[str, Any]:
    """Waits until the page has gone to another worker that often, and plays on for a second."""
    await viewer.until(lambda facts: facts["moves"] >= moves)
    await asyncio.sleep(1.0)
    return await viewer.facts()


async def test_a_drained_worker_is_left_without_a_gap(capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        gst_camera(width=640, height=360, gop=50, bitrate=1000, pattern="smpte") as camera,
        running_system({"gate": {"url": camera.ready}}, workers=2) as system,
        chromium() as browser,
    ):
        await system.until(lambda: "fanout-1 is up" in system.log_text())
        viewer = await open_viewer(browser, system.url)
        facts = await viewer.until_playing(50)
        first = (await system.session(facts["session"]))["worker"]
        await viewer.page.evaluate(_WATCH)
        await asyncio.sleep(1.0)
        await drain(system, first)
        after = await moved(viewer, 1)
        serving = (await system.session(after["session"]))["worker"]
        seen = await viewer.page.evaluate(_SEEN)
        assert serving != first and after["session"] != facts["session"]
        assert after["reconnects"] == 0

        # The old worker is left at once, and takes nobody any more.
        async def empty() -> bool:
            workers = await system.get("/api/v1/workers")
            return all(each["sessions"] == 0 for each in listed(workers) if each["worker"] == first)

        await system.until(empty)
        other = await open_viewer(browser, system.url)
        facts = await other.until_playing(5)
        assert (await system.session(facts["session"]))["worker"] == serving
        await other.page.close()

        # Both ways: the other one is drained, by the command, and the first one takes viewers again.
        assert (await system.command("drain", first, "--undo"))[0] == 0
        status, said = await system.command("drain", serving)
        assert status == 0 and f"{serving} has no viewers" in said, said
        back = await moved(viewer, 2)
        assert (await system.session(back["session"]))["worker"] == first
        assert viewer.errors == []

        pairs = list(pairwise(seen["pictures"]))
        gaps = [later["at"] - earlier["at"] for earlier, later in pairs]
        switch = next(
            later["at"] - earlier["at"] for earlier, later in pairs if earlier["session"] != later["session"]
        )
        darkest, brightest = min(seen["luminances"]), max(seen["luminances"])
        with capsys.disabled():
            print(
                f"\ndrain: {len(gaps)} pictures, longest gap {max(gaps):.0f} ms, the move {switch:.0f} ms; "
                f"luminance {darkest:.0f} to {brightest:.0f}"
            )
        assert switch <= 2 * FRAME_MS + REPAINT_MS
        assert darkest > 0.5 * brightest
        assert seen["sizes"] == ["640x360 4"]


def listed(workers: Any) -> list[dict[str, Any]]:
    """The workers in an answer of the API."""
    return list(workers["workers"] if isinstance(workers, dict) else workers)
