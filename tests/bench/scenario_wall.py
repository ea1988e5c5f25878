"""Scenario `wall`: a page of many small tiles and one large picture, from navigation until all of them play.

The whole system and real Chromium on one machine: what the browser takes to decode, the rest lacks.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from playwright.async_api import Browser

from tests.bench import clip, process
from tests.bench.measure import percentile
from tests.support.browser import ViewerPage, chromium
from tests.support.ports import free_tcp_port
from tests.support.system import System, running_system

LOADS = 5
LOAD_DEADLINE_S = 30.0
START_DEADLINE_S = 60.0
LEFT_DEADLINE_S = 60.0
LARGE = "large"

# When each tile showed its first picture, in ms after navigation.
_FIRST = """(() => {
    const first = window.firstPictures = {};
    const seen = new WeakSet();
    new MutationObserver(() => {
        for (const tile of document.querySelectorAll('.tile')) {
            if (seen.has(tile)) continue;
            seen.add(tile);
            tile.querySelector('video').requestVideoFrameCallback((now) => {
                first[tile.dataset.camera] = now;
            });
        }
    }).observe(document, {childList: true, subtree: true});
})();"""
_ALL_PLAY = "(count) => Object.keys(window.firstPictures).length === count"


@dataclass(slots=True)
class WallStep:
    """So many small tiles and one large picture; times in ms."""

    tiles: int
    last: list[float] = field(default_factory=list)
    "Of each load, from navigation to the first picture of the last tile."
    first: list[float] = field(default_factory=list)
    "To that of the first one."
    reconnects: int = 0
    shown: float = 0.0
    "Share of the cameras' pictures that were decoded."
    browser_percent: float = 0.0
    "Of one core, all of its processes."
    worker_percent: float = 0.0
    busy_percent: float = 0.0
    "Of all cores, whoever used them."

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def text(self) -> str:
        """For people."""
        last, first = sorted(self.last), sorted(self.first)
        small, large = f"{clip.SUB_WIDTH}x{clip.SUB_HEIGHT}", f"{clip.WIDTH}x{clip.HEIGHT}"
        return (
            f"wall of {self.tiles} tiles {small} and one {large}, {len(last)} loads: all play p50 "
            f"{percentile(last, 0.5):.0f} ms, max {last[-1]:.0f} ms after navigation, the first one p50 "
            f"{percentile(first, 0.5):.0f} ms; {self.reconnects} reconnects\n"
            f"  then {100 * self.shown:.0f} % of the pictures are decoded; of a core the browser takes "
            f"{self.browser_percent:.0f} %, the worker {self.worker_percent:.1f} %; machine "
            f"{self.busy_percent:.0f} % busy"
        )


def browser_cpu_s() -> float:
    """CPU time of every process that Playwright started."""
    used = 0.0
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "chromium" in each.name():
                times = each.cpu_times()
                used += times.user + times.system
    return used


async def run(folder: Path, tiles: int, seconds: float) -> WallStep:
    """Loads the page several times; the last one is watched for `seconds`."""
    async with _system(folder, tiles) as system, chromium() as browser:
        step = WallStep(tiles)
        for _ in range(LOADS):
            await system.until(lambda: _nobody_watches(system), LEFT_DEADLINE_S)
            await _load(system, browser, step, seconds if len(step.last) == LOADS - 1 else 0.0)
    return step


@contextlib.asynccontextmanager
async def _system(folder: Path, tiles: int) -> AsyncIterator[System]:
    """A replayed camera for each tile, all live."""
    sizes = {
        "small": (clip.SUB_WIDTH, clip.SUB_HEIGHT, clip.SUB_BITRATE),
        LARGE: (clip.WIDTH, clip.HEIGHT, clip.BITRATE),
    }
    async with contextlib.AsyncExitStack() as stack:
        urls = {}
        for name, size in sizes.items():
            file = folder / f"{name}.h264"
            clip.make(file, *size)
            port = free_tcp_port()
            urls[name] = f"rtsp://127.0.0.1:{port}/{name}"
            arguments = (str(file), str(port), "/dev/null")
            await stack.enter_async_context(process.running("tests.bench.rtsp_replay", *arguments))
        cameras = {f"tile{number:02}": {"url": urls["small"]} for number in range(tiles)}
        system = await stack.enter_async_context(running_system({LARGE: {"url": urls[LARGE]}, **cameras}))

        async def all_live() -> bool:
            return all(camera["state"] == "live" for camera in await system.get("/api/v1/cameras"))

        await system.until(all_live, START_DEADLINE_S)
        yield system


async def _nobody_watches(system: System) -> bool:
    return not (await system.get("/api/v1/sessions"))["sessions"]


async def _load(system: System, browser: Browser, step: WallStep, seconds: float) -> None:
    page = await browser.new_page(viewport={"width": 1920, "height": 1080})
    await page.add_init_script(_FIRST)
    viewer = ViewerPage(page)
    await page.goto(system.url, wait_until="commit")
    await page.wait_for_function(_ALL_PLAY, arg=step.tiles + 1, timeout=LOAD_DEADLINE_S * 1000)
    times = list((await page.evaluate("window.firstPictures")).values())
    step.first.append(min(times))
    step.last.append(max(times))
    if seconds:
        await _watch(system, viewer, step, seconds)
    await page.close()


async def _watch(system: System, viewer: ViewerPage, step: WallStep, seconds: float) -> None:
    worker = system.pid("fanout-0")

    async def now() -> tuple[float, float, float, float, int]:
        decoded = await viewer.page.evaluate(
            "window.cctv3.tiles.reduce((all, {framesDecoded}) => all + framesDecoded, 0)"
        )
        return (
            time.monotonic(),
            browser_cpu_s(),
            process.usage(worker).cpu_s,
            process.machine_busy_s(),
            decoded,
        )

    await asyncio.sleep(2)  # the past is decoded
    before = await now()
    await asyncio.sleep(seconds)
    passed_s, browser_s, worker_s, busy_s, decoded = (
        after - earlier for earlier, after in zip(before, await now(), strict=True)
    )
    step.shown = round(decoded / (passed_s * clip.FPS * (step.tiles + 1)), 3)
    step.browser_percent = round(100 * browser_s / passed_s, 1)
    step.worker_percent = round(100 * worker_s / passed_s, 1)
    step.busy_percent = round(100 * busy_s / passed_s / (psutil.cpu_count() or 1), 1)
    step.reconnects = sum(tile["reconnects"] for tile in await viewer.page.evaluate("window.cctv3.tiles"))
