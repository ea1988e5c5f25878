"""A worker dies: its viewers, and only they, play again from another one, on the same page."""

import asyncio

import pytest

from tests.support.browser import ViewerPage, chromium, open_viewer
from tests.support.processes import gst_camera
from tests.support.system import System, running_system

pytestmark = pytest.mark.peers

LIMIT_S = 3.0

# The longest time between two pictures, seen from inside, as polling from here would add its own delays.
_WATCH = """() => {
    const { video } = window.cctv3;
    window.longest = 0;
    let before = performance.now();
    const picture = (now) => {
        window.longest = Math.max(window.longest, now - before);
        before = now;
        video.requestVideoFrameCallback(picture);
    };
    video.requestVideoFrameCallback(picture);
}"""


async def worker_of(system: System, viewer: ViewerPage) -> str:
    return str((await system.session((await viewer.facts())["session"]))["worker"])


async def test_a_killed_worker_costs_its_viewers_less_than_three_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with (
        gst_camera(gop=50) as camera,
        running_system({"gate": {"url": camera.ready}}, workers=2) as system,
        chromium() as browser,
    ):
        await system.until(lambda: "fanout-1 is up" in system.log_text())
        viewers = []
        for _ in range(2):
            viewers.append(await open_viewer(browser, system.url))
            await viewers[-1].until_playing(5)
        before = [await worker_of(system, viewer) for viewer in viewers]
        assert set(before) == {"fanout-0", "fanout-1"}
        for viewer in viewers:
            await viewer.page.evaluate(_WATCH)
        await asyncio.sleep(0.5)
        system.kill(before[0])
        hit = [viewer for viewer, worker in zip(viewers, before, strict=True) if worker == before[0]]
        for viewer in hit:
            await viewer.until(lambda facts: facts["reconnects"] == 1 and facts["framesDecoded"] > 25)
        await asyncio.sleep(0.5)
        longest_s = [await viewer.page.evaluate("window.longest") / 1000 for viewer in viewers]
        with capsys.disabled():
            print("\nkill -9 of a worker, longest time between two pictures: ", end="")
            print(
                ", ".join(
                    f"{gap_s:.2f} s ({'its' if viewer in hit else 'other'} viewer)"
                    for viewer, gap_s in zip(viewers, longest_s, strict=True)
                )
            )
        for viewer, gap_s in zip(viewers, longest_s, strict=True):
            facts = await viewer.facts()
            if viewer in hit:
                assert gap_s <= LIMIT_S
            else:
                assert (facts["reconnects"], facts["moves"]) == (0, 0)
            assert viewer.errors == []
        assert f"worker {before[0]}: its process" in system.log_text()
