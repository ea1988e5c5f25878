"""A page that the browser does not draw, as it does with hidden tabs: pictures come, nobody tells of them.

Headless Chromium draws all tabs; here the page's own calls of requestAnimationFrame and of
requestVideoFrameCallback wait while `undrawn` is true.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psutil
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import ViewerPage, chromium, open_viewer
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system

pytestmark = [pytest.mark.peers, pytest.mark.asyncio(loop_scope="module")]

STUCK_S = 5.0
"A session whose camera is live and that shows nothing for so long is made anew."
EIGHT_HOURS_MS = 8 * 3_600_000

_UNDRAWN = """(() => {
    window.undrawn = false;
    const waiting = new Map();
    let numbers = 0;
    for (const [owner, ask, cancel] of [
        [window, 'requestAnimationFrame', 'cancelAnimationFrame'],
        [HTMLVideoElement.prototype, 'requestVideoFrameCallback', 'cancelVideoFrameCallback'],
    ]) {
        const real = owner[ask];
        owner[ask] = function (callback) {
            const number = ++numbers;
            const again = () => {
                waiting.set(number, () => real.call(this, (...given) => {
                    if (window.undrawn) again();
                    else if (waiting.delete(number)) callback(...given);
                }));
                if (!window.undrawn) waiting.get(number)();
            };
            again();
            return number;
        };
        owner[cancel] = (number) => waiting.delete(number);
    }
    window.draw = (drawn) => {
        window.undrawn = !drawn;
        if (drawn) [...waiting.values()].forEach((ask) => ask());
    };
    window.waitingCallbacks = () => waiting.size;
    const utcNow = Date.now.bind(Date);
    let sleptMs = 0;
    Date.now = () => utcNow() + sleptMs;
    window.sleep = (ms) => { sleptMs += ms; };
})();"""

# No connection comes about, and what waits for one is in a hurry.
_CUT_OFF = """(() => {
    const set = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        return set.call(this, { type, sdp: sdp.replaceAll(/^a=candidate:.*\\r\\n/gm, '') });
    };
    const later = window.setTimeout;
    window.setTimeout = (call, ms, ...more) => later(call, Math.min(ms ?? 0, 200), ...more);
    const made = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...given) {
            super(...given);
            made.push(new WeakRef(this));
        }
    };
    window.made = () => made.length;
    window.kept = () => made.filter((one) => one.deref()).length;
})();"""


@dataclass(frozen=True)
class Site:
    system: System
    browser: Browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with (
        simulated_camera(free_tcp_port(), width=320, height=180, gop=25) as url,
        running_system({"door": {"url": url}}) as system,
        chromium() as browser,
    ):
        await system.until_live("door")
        yield Site(system, browser)


async def said(viewer: ViewerPage) -> list[str]:
    """Words of warning in the page's own log."""
    words = await viewer.page.evaluate(
        "cctv3.journal.filter(({level}) => level !== 'info').map(({text}) => text)"
    )
    return list(words)


def simulator() -> psutil.Process:
    """The process of the camera."""
    (found,) = (
        process
        for process in psutil.Process().children(recursive=True)
        if "simulated" in " ".join(process.cmdline())
    )
    return found


async def test_a_live_picture_stays_live_and_a_frozen_one_is_told(site: Site) -> None:
    viewer = await open_viewer(site.browser, site.system.url, _UNDRAWN)
    before = await viewer.until_playing(25)
    await viewer.page.evaluate("draw(false)")
    kinds = set()
    for _ in range(int(STUCK_S * 2 / 0.1)):
        kinds.add((await viewer.facts())["kind"])
        await asyncio.sleep(0.1)
    facts = await viewer.facts()
    assert kinds == {"live"} and facts["framesDecoded"] > before["framesDecoded"] + 100
    assert (facts["reconnects"], facts["session"]) == (0, before["session"])
    camera = simulator()
    os.kill(camera.pid, signal.SIGSTOP)
    try:
        await viewer.until(lambda facts: facts["kind"] in ("frozen", "stalled"), 6)
    finally:
        os.kill(camera.pid, signal.SIGCONT)
    await viewer.until(lambda facts: facts["kind"] == "live")
    await viewer.page.evaluate("draw(true)")
    await viewer.until(lambda facts: facts["kind"] == "live" and facts["pictureAgeMs"] < 100)
    assert viewer.errors == []
    await viewer.page.close()


async def test_a_picture_from_before_a_sleep_is_as_old_as_that(site: Site) -> None:
    viewer = await open_viewer(site.browser, site.system.url, _UNDRAWN)
    await viewer.until(lambda facts: facts.get("ageMs") is not None)
    old = await viewer.page.evaluate(
        "(ms) => { sleep(ms); const { pictureAgeMs, ageMs } = cctv3.chosen; return [pictureAgeMs, ageMs]; }",
        EIGHT_HOURS_MS,
    )
    assert min(old) > EIGHT_HOURS_MS
    # What it knew of the server's clock is asked for anew.
    await viewer.until(lambda facts: facts["kind"] == "live" and facts["ageMs"] is None)
    await viewer.until(lambda facts: 0 < (facts["ageMs"] or -1) < 2000)
    assert viewer.errors == []
    await viewer.page.close()


async def test_a_system_view_that_is_not_drawn_piles_nothing_up(site: Site) -> None:
    page = await site.browser.new_page()
    await page.add_init_script(_UNDRAWN)
    await page.goto(f"{site.system.url}/system")
    await page.locator("#cameras tbody tr").first.wait_for()
    await page.evaluate("draw(false)")
    counts = []
    for _ in range(4):
        await asyncio.sleep(2.5)
        counts.append(await page.evaluate("waitingCallbacks()"))
    assert counts[1] == counts[2] == counts[3] < 20, counts
    await page.close()


async def test_sessions_that_never_had_a_picture_are_let_go(site: Site) -> None:
    viewer = await open_viewer(site.browser, site.system.url, _CUT_OFF)
    async with asyncio.timeout(40):
        while await viewer.page.evaluate("made()") < 20:
            await asyncio.sleep(0.2)
    devtools = await viewer.page.context.new_cdp_session(viewer.page)
    kept = 0
    for _ in range(5):
        await devtools.send("HeapProfiler.collectGarbage")
        await asyncio.sleep(0.3)
        kept = await viewer.page.evaluate("kept()")
        if kept <= 4:
            break
    assert kept <= 4
    assert viewer.errors == []
    await viewer.page.close()
