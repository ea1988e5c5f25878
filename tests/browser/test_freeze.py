"""A picture that stands still never looks live: it is grey under words that say why, within two seconds.

Printed are the seconds from the last new picture to the words, and from the fault's end to a live picture.
"""

import asyncio
import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import av
import pytest
from av.video.frame import VideoFrame

from tests.support.browser import chromium
from tests.support.media_relay import RunningRelay, Weather, media_relay, redirect_script
from tests.support.ports import free_tcp_port
from tests.support.processes import command_line, until_listening
from tests.support.system import System, running_system
from tests.support.tile_watch import TilesPage, open_tiles

pytestmark = pytest.mark.peers

LIMIT_MS = 2000.0
HELD_S = 3.5
SIGNALING_HELD_S = 5.0
"Longer than the page waits for an answer."
BACK_S = 15.0
FPS = 25
NOTHING = Weather(loss=1.0)
STEP = 4
"Every fourth pixel of every fourth row is looked at."
COLOURFUL = 24
"More between the channels of a pixel than any grey one has."
FEW = 0.02
"Share of pixels: words and marks have some colour."
MANY = 0.2


@contextlib.asynccontextmanager
async def camera(**options: object) -> AsyncIterator[tuple[str, int]]:
    """A simulated camera's URL and process id."""
    port = free_tcp_port()
    arguments = (f"--port={port}", *command_line(options))
    async with until_listening(port, sys.executable, "-m", "ingest.simulated_camera", *arguments) as running:
        yield f"rtsp://127.0.0.1:{port}/simulated", running.pid


@dataclass(frozen=True, slots=True)
class Place:
    """A wall with a tile `door` of a usual camera and one, `slow`, of a camera with a picture a second."""

    system: System
    viewer: TilesPage
    relay: RunningRelay
    camera_pid: int
    "Of `door`."


@contextlib.asynccontextmanager
async def place() -> AsyncIterator[Place]:
    async with (
        camera(width=640, height=360, fps=FPS) as (door, camera_pid),
        camera(width=640, height=360, fps=1) as (slow, _),
        running_system({"door": {"url": door}, "slow": {"url": slow}}) as system,
        media_relay(system.media_port) as relay,
        chromium() as browser,
    ):
        await system.until_live("door")
        await system.until_live("slow")
        viewer = await open_tiles(browser, system.url, redirect_script(relay.port))
        await viewer.until_playing(FPS)
        yield Place(system, viewer, relay, camera_pid)


@contextlib.asynccontextmanager
async def stopped(pid: int) -> AsyncIterator[None]:
    """A process that stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def cut(relay: RunningRelay) -> AsyncIterator[None]:
    """A network that lets nothing of the media through."""
    await relay.set(to_viewer=NOTHING, to_worker=NOTHING)
    try:
        yield
    finally:
        await relay.set(to_viewer=Weather(), to_worker=Weather())


async def colours(viewer: TilesPage) -> float:
    """Share of the pixels of `door` that are not grey, as they are on screen."""
    png = await viewer.page.locator(".tile[data-camera=door]").screenshot()
    with av.open(io.BytesIO(png)) as file:
        (frame,) = file.decode(video=0)
    assert isinstance(frame, VideoFrame)
    plane = frame.reformat(format="rgb24").planes[0]
    octets = bytes(plane)
    places = [
        y * plane.line_size + 3 * x for y in range(0, frame.height, STEP) for x in range(0, frame.width, STEP)
    ]
    pixels = [octets[at : at + 3] for at in places]
    return sum(max(pixel) - min(pixel) > COLOURFUL for pixel in pixels) / len(pixels)


async def frozen(where: Place, what: str, fault: contextlib.AbstractAsyncContextManager[None]) -> list[str]:
    """Lets a fault be for a while; the words that were said of it on `door`, in order."""
    viewer = where.viewer
    assert await colours(viewer) > MANY
    since, began = await viewer.now(), time.monotonic()
    async with fault:
        async with asyncio.timeout(HELD_S):
            while not (await viewer.changes("door", since)):
                await asyncio.sleep(0.02)
        at_first = await colours(viewer)
        await asyncio.sleep(began + HELD_S - time.monotonic())
        at_last, shown = await colours(viewer), await viewer.pictures("door")
        said = await viewer.changes("door", since)
    ended = time.monotonic()
    async with asyncio.timeout(BACK_S):
        while (await viewer.changes("door"))[-1].veiled or await viewer.pictures("door") == shown:
            await asyncio.sleep(0.02)
    back_s = time.monotonic() - ended
    told_ms = said[0].at - said[0].picture_at
    words = [each.title for each in said]
    print(f"{what}: {' → '.join(words)} after {told_ms / 1000:.2f} s; live {back_s:.2f} s after its end")
    # Once told, it is told until pictures come again.
    assert all(each.veiled for each in said) and told_ms <= LIMIT_MS, said
    assert max(at_first, at_last) < FEW
    return words


async def test_what_stands_still_is_told_and_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    async with place() as where:
        system, viewer = where.system, where.viewer
        with capsys.disabled():
            print()
            words = await frozen(where, "camera stopped", stopped(where.camera_pid))
            assert words[-1] == "Camera sends no picture"
            assert set(words[:-1]) <= {"The picture stands still"}

            since, shown = await viewer.now(), await viewer.pictures("door")
            sessions = [tile["session"] for tile in await viewer.page.evaluate("window.cctv3.tiles")]
            async with stopped(system.pid("signaling")):
                await asyncio.sleep(SIGNALING_HELD_S)
                assert await colours(viewer) > MANY
                shown = await viewer.pictures("door") - shown
            await asyncio.sleep(2)
            print(f"signaling stopped for {SIGNALING_HELD_S:.0f} s: {shown} pictures meanwhile")
            assert shown > 0.5 * SIGNALING_HELD_S * FPS and await viewer.changes("door", since) == []
            assert sessions == [tile["session"] for tile in await viewer.page.evaluate("window.cctv3.tiles")]

            # So far nothing was wrong with a camera whose pictures come a second apart.
            assert [each.kind for each in await viewer.changes("slow") if each.pictures > 0] == ["live"]

            words = await frozen(where, "worker stopped", stopped(system.pid("fanout-0")))
            assert words[-1] == "Reconnecting…"
            assert set(words[:-1]) <= {"The picture stands still"}

            words = await frozen(where, "network cut", cut(where.relay))
            assert words == ["The picture stands still"]
        assert viewer.errors == []
