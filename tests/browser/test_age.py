"""The age that the page claims of a picture, against the time that the camera drew into that very picture.

Errors are printed. The browser reads the barcode of each picture that it shows; the truth is UTC of this
machine when that was to be visible, less the time drawn.
"""

import itertools
import statistics
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser

from tests.bench.measure import percentile
from tests.support import barcode
from tests.support.browser import ViewerPage, chromium
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import running_system

pytestmark = pytest.mark.peers

LIMIT_MS = 50.0
SETTLE_MS = 2000.0
"After the first picture."
MAIN_WIDTH, SUB_WIDTH = 1280, 640
FRAME_MS = 40.0
JOIN_MS = 1000.0
"After a change of the stream, or a standstill, pictures of the past have no known age."
TICKS_PER_MS = 90
CAMERAS = ("door", "gate", "yard", "hall")

_WATCH = """(() => {
    const realNow = Date.now.bind(Date);
    const samples = window.samples = [];
    const watch = () => {
        const video = window.cctv3?.video;
        if (!video) {
            requestAnimationFrame(watch);
            return;
        }
        const shown = (at, {expectedDisplayTime, rtpTimestamp, width}) => {
            video.requestVideoFrameCallback(shown);
            const seenMs = realNow() + expectedDisplayTime - performance.now();
            const drawnMs = readBarcode(video, seenMs);
            const readAt = performance.now();
            // After the page's own look at this picture.
            requestAnimationFrame(() => {
                const claimMs = window.cctv3.chosen.ageMs;
                const heldMs = performance.now() - readAt;
                samples.push({at, width, rtpTimestamp, seenMs, drawnMs, claimMs, heldMs});
            });
        };
        video.requestVideoFrameCallback(shown);
    };
    watch();
})();"""

_HOUR_OFF = """(() => {
    const offMs = 3_600_000;
    const Real = Date;
    window.Date = class extends Real {
        constructor(...given) {
            super(...(given.length ? given : [Real.now() + offMs]));
        }
        static now() {
            return Real.now() + offMs;
        }
    };
    Object.defineProperty(performance, 'timeOrigin', {value: performance.timeOrigin + offMs});
})();"""


@dataclass(frozen=True, slots=True)
class Picture:
    """One that was shown, and what the page said of it; times in ms."""

    at: float
    "On the page's clock."
    width: int
    timestamp: float
    "Of RTP."
    seen: float
    "UTC."
    drawn: float | None
    "UTC; None where no time could be read."
    claim: float | None
    "Age."
    held: float
    "From the look at the picture to the look at the claim."

    @property
    def error(self) -> float | None:
        """None where nothing was claimed, or read."""
        if self.drawn is None or self.claim is None:
            return None
        return self.claim - (self.seen - self.drawn)


def without_misread(pictures: list[Picture]) -> list[Picture]:
    """A busy browser may draw the next picture instead of the one that it tells of; timestamps show it.

    Or it does something else before the claim is read.
    """
    bases = [each.drawn - each.timestamp for each in pictures if each.drawn is not None]
    base = statistics.median(bases)
    return [
        each
        for each in pictures
        if each.held < FRAME_MS and (each.drawn is None or each.drawn - each.timestamp - base < FRAME_MS / 2)
    ]


async def watched(browser: Browser, url: str, seconds: float, *scripts: str) -> list[Picture]:
    """The pictures of a tile on the wall, enlarged with sound, and on the wall again."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    for script in (barcode.SCRIPT, _WATCH, *scripts):
        await page.add_init_script(script)
    viewer = ViewerPage(page)
    await page.goto(url)
    await viewer.until_playing()
    await page.wait_for_timeout(SETTLE_MS + seconds * 300)
    await viewer.enlarge()
    await viewer.toggle_sound()
    await viewer.until(lambda facts: facts["showing"] == "main" and facts["width"] == MAIN_WIDTH)
    await page.wait_for_timeout(seconds * 400)
    facts = await viewer.facts()
    assert facts["muted"] is False and facts["audioPackets"] > 0
    await page.keyboard.press("Escape")
    await page.wait_for_timeout(seconds * 300)
    facts = await viewer.facts()
    journal = await page.evaluate("window.cctv3.journal.map(({text, camera}) => `${camera}: ${text}`)")
    assert (facts["showing"], facts["reconnects"]) == ("sub", 0), journal
    samples = await page.evaluate("window.samples")
    first = samples[0]["rtpTimestamp"]
    pictures = [
        Picture(
            sample["at"],
            sample["width"],
            (sample["rtpTimestamp"] - first & 0xFFFF_FFFF) / TICKS_PER_MS,
            sample["seenMs"],
            sample["drawnMs"],
            sample["claimMs"],
            sample["heldMs"],
        )
        for sample in samples
    ]
    assert viewer.errors == []
    await page.close()
    return pictures


def judged(what: str, pictures: list[Picture], seconds: float) -> str:
    """Asserts that the claims are true; says how true."""
    settled = [each for each in pictures if each.at >= pictures[0].at + SETTLE_MS]
    joins = [
        later.at
        for earlier, later in itertools.pairwise(pictures)
        if earlier.width != later.width or later.at - earlier.at > JOIN_MS
    ]
    said = []
    for width in (SUB_WIDTH, MAIN_WIDTH):
        shown = [each for each in settled if each.width == width]
        read = without_misread(shown)
        errors = sorted(abs(each.error) for each in read if each.error is not None)
        ages = sorted(each.seen - each.drawn for each in read if each.drawn is not None)
        unknown = [each.at for each in shown if each.claim is None]
        # A busy machine shows few of them.
        assert len(errors) > 0.2 * 0.4 * seconds * 1000 / FRAME_MS, shown
        said.append(
            f"{what}, {width} wide: {len(shown)} pictures aged p50 {percentile(ages, 0.5):.0f}, "
            f"max {ages[-1]:.0f} ms; the claim errs by p50 {percentile(errors, 0.5):.1f}, "
            f"p95 {percentile(errors, 0.95):.1f}, max {errors[-1]:.1f} ms; unknown for {len(unknown)}, "
            f"misread {len(shown) - len(read)}"
        )
        assert errors[-1] <= LIMIT_MS, (said, [each for each in read if abs(each.error or 0) > LIMIT_MS])
        assert all(any(0 <= at - join < JOIN_MS for join in joins) for at in unknown), (said, unknown, joins)
        assert len(read) >= 0.8 * len(shown), said
    assert sum(each.drawn is None for each in settled) <= 0.02 * len(settled)
    return "\n".join(said)


@pytest.mark.parametrize("seconds", [10.0, pytest.param(60.0, marks=pytest.mark.soak)])
async def test_the_age_is_the_truth(seconds: float, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_tcp_port()
    async with (
        simulated_camera(port, width=MAIN_WIDTH, height=720, audio="opus") as url,
        running_system({name: {"url": url, "sub": f"{url}-sub"} for name in CAMERAS}) as system,
        chromium() as browser,
    ):
        for name in CAMERAS:
            await system.until_live(name)
        right = await watched(browser, system.url, seconds)
        wrong = await watched(browser, system.url, seconds / 2, _HOUR_OFF)
        with capsys.disabled():
            print("\n" + judged("browser's clock right", right, seconds))
            print(judged("browser's clock an hour off", wrong, seconds / 2))
