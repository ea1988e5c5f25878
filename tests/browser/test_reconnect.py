"""Whatever breaks between camera and browser: every tile of a wall comes back by itself, on the same page.

Printed are the seconds until all of them play again, and when they have asked anew.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import psutil
import pytest

from tests.support.browser import chromium
from tests.support.netns import Namespace, namespace
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system
from tests.support.tile_watch import TilesPage, open_tiles

pytestmark = pytest.mark.peers

CAMERAS = ("door", "gate", "hall", "yard")
ENOUGH = 10
"New pictures: of the past of a join a few are shown."
BACK_S = 20.0
REBOOT_S = 2.0
SOON_S = 1.6
"Until the second attempt; a server that has no worker asks for a second."
LEAST_S = 0.2
MOST_S = 16.0
"An attempt that gets no connection is given up after 10 s, and the longest delay is 5 s."

# When each tile gave a session or an attempt up.
_GIVEN_UP = """(() => {
    const given = window.givenUp = {};
    const look = () => {
        for (const {camera, reconnects} of window.cctv3?.tiles ?? []) {
            const times = given[camera] ??= [];
            while (times.length < reconnects) times.push(performance.now());
        }
        requestAnimationFrame(look);
    };
    look();
})();"""


class Camera:
    """One simulated camera that can lose its power."""

    def __init__(self) -> None:
        self._port = free_tcp_port()
        self._power = contextlib.AsyncExitStack()
        self.url = f"rtsp://127.0.0.1:{self._port}/simulated"

    async def start(self) -> None:
        await self._power.enter_async_context(simulated_camera(self._port, width=640, height=360))

    async def stop(self) -> None:
        await self._power.aclose()


@dataclass(frozen=True, slots=True)
class Place:
    """A wall of four tiles that show the same camera, and what can be broken."""

    camera: Camera
    system: System
    viewer: TilesPage
    cable: Namespace | None
    "To the browser; None where that is not permitted."

    async def tiles(self) -> list[dict[str, Any]]:
        """The facts of each."""
        found: list[dict[str, Any]] = await self.viewer.page.evaluate("window.cctv3.tiles")
        return found

    async def given_up(self, since: float) -> list[list[float]]:
        """Of each tile, the seconds after `since` (ms of the page's clock) at which it gave up."""
        found: dict[str, list[float]] = await self.viewer.page.evaluate("window.givenUp")
        return [[(at - since) / 1000 for at in times if at >= since] for times in found.values()]

    async def playing(self) -> str:
        """Waits until all tiles show new pictures and say nothing; the seconds until the last one does.

        And until all of them play fluently: who had a bad link is given keyframes only, for some seconds.
        """
        began = time.monotonic()
        before = {camera: await self.viewer.pictures(camera) for camera in CAMERAS}

        async def reached(pictures: int) -> float:
            for camera in CAMERAS:
                while (await self.viewer.changes(camera))[-1].veiled or (
                    await self.viewer.pictures(camera) < before[camera] + pictures
                ):
                    assert time.monotonic() - began < BACK_S, await self.tiles()
                    await asyncio.sleep(0.02)
            return time.monotonic() - began

        return f"{await reached(1):.2f} s ({await reached(ENOUGH):.2f} s until fluent)"

    async def veiled(self, since: float) -> bool:
        """Whether any tile has had a veil since then."""
        changes = [await self.viewer.changes(camera, since) for camera in CAMERAS]
        return any(each.veiled for each in itertools.chain(*changes))


@contextlib.contextmanager
def far_end() -> Iterator[Namespace | None]:
    with contextlib.ExitStack() as stack:
        far = None
        with contextlib.suppress(pytest.skip.Exception):
            far = stack.enter_context(namespace())
        yield far


@contextlib.asynccontextmanager
async def place() -> AsyncIterator[Place]:
    camera = Camera()
    with far_end() as far:
        near = far.near if far else "127.0.0.1"
        await camera.start()
        try:
            async with (
                running_system(
                    {name: {"url": camera.url} for name in CAMERAS},
                    workers=2,
                    media={"advertise": [near]},
                    more={"auth": "none"},
                    listen="0.0.0.0" if far else near,
                ) as system,
                chromium(far) as browser,
            ):
                for name in CAMERAS:
                    await system.until_live(name)
                await system.until(lambda: "fanout-1 is up" in system.log_text())
                viewer = await open_tiles(browser, system.url.replace("127.0.0.1", near), _GIVEN_UP)
                await viewer.page.wait_for_function("() => window.cctv3?.tiles.length === 4")
                yield Place(camera, system, viewer, far)
        finally:
            await camera.stop()


async def signaling_restarted(where: Place) -> str:
    """Nobody notices."""
    since, sessions = await where.viewer.now(), {tile["session"] for tile in await where.tiles()}
    where.system.kill("signaling")
    await asyncio.sleep(1)
    await where.system.until_up()
    await where.playing()
    assert {tile["session"] for tile in await where.tiles()} == sessions and not await where.veiled(since)
    return "went on"


async def drain(where: Place, worker: str, draining: bool) -> None:
    url = f"{where.system.url}/api/v1/workers/{worker}/drain"
    async with aiohttp.ClientSession() as http, http.request("POST" if draining else "DELETE", url) as answer:
        assert answer.status == 204, await answer.text()


async def serving(where: Place) -> set[str]:
    """The workers that have viewers."""
    return {entry["worker"] for entry in (await where.system.get("/api/v1/sessions"))["sessions"]}


async def worker_drained(where: Place) -> str:
    """The page's socket, which is new after the restart of signaling, is told so."""
    worker = min(await serving(where))
    since, began = await where.viewer.now(), time.monotonic()
    await drain(where, worker, True)
    while worker in await serving(where):
        assert time.monotonic() - began < BACK_S, await where.tiles()
        await asyncio.sleep(0.05)
    moved_s = time.monotonic() - began
    await where.playing()
    tiles = await where.tiles()
    assert sum(tile["moves"] for tile in tiles) > 0 and not await where.veiled(since)
    assert sum(tile["reconnects"] for tile in tiles) == 0
    await drain(where, worker, False)
    return f"moved within {moved_s:.2f} s, went on"


async def worker_killed(where: Place) -> str:
    """The one that serves all four now."""
    (worker,) = await serving(where)
    began = time.monotonic()
    where.system.kill(worker)
    gave_up = "() => window.cctv3.tiles.every(({reconnects}) => reconnects > 0)"
    await where.viewer.page.wait_for_function(gave_up)
    noticed_s = time.monotonic() - began
    return f"noticed after {noticed_s:.2f} s, back after another {await where.playing()}"


async def workers_stopped(where: Place, outage_s: float) -> str:
    """Nobody serves, and signaling says so."""
    since = await where.viewer.now()
    workers = [where.system.pid(name) for name in ("fanout-0", "fanout-1")]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(outage_s)
        given_up = await where.given_up(since)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    return f"{await where.playing()} after their end; {bounded(given_up)}"


def bounded(given_up: list[list[float]]) -> str:
    """Asserts that tiles are quick to ask again, and do not ask too often."""
    for times in given_up:
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(LEAST_S <= pause <= MOST_S for pause in pauses[1:]), given_up
        assert not pauses or pauses[0] <= SOON_S, given_up
        assert len(pauses) < 6 or pauses[-1] > 1.5 * pauses[1], given_up
    longest = max(given_up, key=len)
    return f"gave up at {', '.join(f'{at:.1f}' for at in longest)} s" if longest else "nobody gave up"


async def camera_rebooted(where: Place) -> str:
    """It answers again after a while."""
    await where.camera.stop()
    await asyncio.sleep(REBOOT_S)
    await where.camera.start()
    return f"{await where.playing()} after it was there"


async def cable_pulled(where: Place, outage_s: float) -> str:
    """Neither pictures nor words come through."""
    assert where.cable is not None
    since = await where.viewer.now()
    where.cable.pull_cable()
    await asyncio.sleep(outage_s)
    given_up = await where.given_up(since)
    where.cable.plug_cable()
    return f"{await where.playing()} after it was plugged in; {bounded(given_up)}"


async def asleep(where: Place, asleep_s: float) -> str:
    """As a laptop whose lid is closed: nothing of the page runs."""
    renderers = [
        process
        for process in psutil.Process().children(recursive=True)
        if "--type=renderer" in process.cmdline()
    ]
    assert renderers
    for process in renderers:
        process.suspend()
    await asyncio.sleep(asleep_s)
    for process in renderers:
        process.resume()
    return f"{await where.playing()} after it woke"


@pytest.mark.parametrize(
    ("outage_s", "asleep_s"), [(4.0, 4.0), pytest.param(30.0, 20.0, marks=pytest.mark.soak)]
)
async def test_a_wall_comes_back(
    outage_s: float, asleep_s: float, capsys: pytest.CaptureFixture[str]
) -> None:
    async with place() as where:
        with capsys.disabled():
            print(f"\nfour tiles: first pictures after {await where.playing()}")
            await where.viewer.page.evaluate("window.marker = 'the same page'")
            print(f"signaling killed: {await signaling_restarted(where)}")
            print(f"worker drained: {await worker_drained(where)}")
            print(f"worker killed: {await worker_killed(where)}")
            print(f"both workers stopped for {outage_s:g} s: {await workers_stopped(where, outage_s)}")
            print(f"camera rebooted: {await camera_rebooted(where)}")
            if where.cable is not None:
                print(f"cable pulled for {outage_s:g} s: {await cable_pulled(where, outage_s)}")
            print(f"page asleep for {asleep_s:g} s: {await asleep(where, asleep_s)}")
        assert await where.viewer.page.evaluate("window.marker") == "the same page"
        assert where.viewer.errors == []
