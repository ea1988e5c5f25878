"""200 viewers while everything is changed under them; the gaps that each has seen are printed."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import yaml

from signaling.sessions import SHOWN_OF_ID
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera
from tests.support.system import System, running_system
from tests.support.wall import WallProcess, wall

pytestmark = pytest.mark.soak

VIEWERS = int(os.environ.get("CCTV3_TEST_VIEWERS", "200"))
WORKERS = 3
CHANGES = 50
"By the API, and as many by the file."
BY_KILL_S = 3.0


async def changes_by_api(system: System, url: str) -> None:
    """Adds, changes and removes a camera that nobody watches, over and over."""
    path = f"{system.url}/api/v1/cameras/extra"
    async with aiohttp.ClientSession() as client:
        for number in range(CHANGES):
            match number % 3:
                case 0:
                    async with client.put(path, json={"url": url}, headers={"If-None-Match": "*"}) as answer:
                        assert answer.status == 201, await answer.text()
                case 1:
                    content = {"url": url, "audio": False}
                    async with client.put(path, json=content, headers={"If-Match": "*"}) as answer:
                        assert answer.status == 200, await answer.text()
                case 2:
                    async with client.delete(path, headers={"If-Match": "*"}) as answer:
                        assert answer.status == 204, await answer.text()


async def changes_by_file(system: System, url: str) -> None:
    """The same by the file, as an editor writes it."""
    path = system.run_folder.parent / "config.yaml"
    for number in range(CHANGES):
        content = yaml.safe_load(path.read_text())
        if number % 2:
            del content["cameras"]["filed"]
        else:
            content["cameras"]["filed"] = {"url": url}
        draft = path.with_name("draft")
        draft.write_text(yaml.safe_dump(content))
        draft.replace(path)
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{system.url}/api/v1/configuration/reload") as answer,
        ):
            assert answer.status == 200, await answer.text()


async def drained(system: System) -> None:
    """Moves everybody off a worker, and lets them come again."""
    async with aiohttp.ClientSession() as client:
        url = f"{system.url}/api/v1/workers/fanout-0/drain"
        async with client.post(url) as answer:
            assert answer.status == 204

        async def empty() -> bool:
            listed = await system.get("/api/v1/workers")
            (worker,) = (each for each in listed if each["worker"] == "fanout-0")
            return worker["sessions"] == 0 and worker["report"]["viewers"] == 0

        await system.until(empty, 60)
        async with client.delete(url, headers={"If-Match": "*"}) as answer:
            assert answer.status == 204


async def signaling_restarted(system: System) -> None:
    """Twice."""
    for _ in range(2):
        before = system.kill("signaling")
        await system.until(lambda before=before: system.pid("signaling") != before)  # type: ignore[misc]
        await system.until_up()
        await asyncio.sleep(6)


async def watching_on(system: System, worker: str, viewers: WallProcess) -> set[int]:
    """Numbers of the viewers that a worker serves."""
    listed = (await system.get("/api/v1/sessions"))["sessions"]
    served = {entry["session"].removesuffix("…") for entry in listed if entry["worker"] == worker}
    return {
        number
        for number, session in enumerate(await viewers.sessions())
        if session is not None and session[:SHOWN_OF_ID] in served
    }


async def worker_killed(system: System) -> None:
    """With all that it serves."""
    before = system.kill("fanout-1")
    await system.until(lambda: system.pid("fanout-1") != before)
    await asyncio.sleep(8)


def told(name: str, seconds: float, gaps: list[dict[str, Any]]) -> None:
    lengths = sorted((gap["seconds"] for gap in gaps), reverse=True)
    reasons = sorted({str(gap["said"]) for gap in gaps})
    print(
        f"{name}: {seconds:.0f} s, {len({gap['viewer'] for gap in gaps})} viewers with a gap"
        + (f", the longest {lengths[0]:.2f} s, p50 {lengths[len(lengths) // 2]:.2f} s" if gaps else "")
        + (f" ({'; '.join(reasons)})" if gaps else "")
    )


async def test_two_hundred_viewers(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_tcp_port()
    async with (
        simulated_camera(port, bitrate=600_000, width=640, height=360) as url,
        running_system({name: {"url": url} for name in ("a", "b", "c", "d")}, workers=WORKERS) as system,
    ):
        for name in ("a", "b", "c", "d"):
            await system.until_live(name)
        async with wall(system.url, VIEWERS, ["a", "b", "c", "d"]) as viewers:
            with capsys.disabled():
                print(f"\n{VIEWERS} viewers of 4 cameras on {WORKERS} workers")
                await asyncio.sleep(5)
                await viewers.gaps()
                await play(viewers, "nothing", lambda: asyncio.sleep(5), 0)
                await play(viewers, f"{CHANGES} changes by API", lambda: changes_by_api(system, url), 0)
                await play(viewers, f"{CHANGES} changes by file", lambda: changes_by_file(system, url), 0)
                await play(viewers, "a worker drained", lambda: drained(system), 0)
                await play(viewers, "signaling restarted twice", lambda: signaling_restarted(system), 0)
                totals = await viewers.totals()
                assert totals["joins"] == VIEWERS and totals["moves"] >= 1
                served = await watching_on(system, "fanout-1", viewers)
                assert 0 < len(served) < VIEWERS
                name = f"a worker with {len(served)} of them killed"
                gaps = await play(viewers, name, lambda: worker_killed(system), None)
                assert {gap["viewer"] for gap in gaps} <= served
                assert max((gap["seconds"] for gap in gaps), default=0) <= BY_KILL_S
                print(f"in all: {await viewers.totals()}")


async def play(
    viewers: WallProcess, name: str, happen: Callable[[], Awaitable[None]], bound: int | None
) -> list[dict[str, Any]]:
    began = time.monotonic()
    await happen()
    await asyncio.sleep(1)
    gaps = await viewers.gaps()
    told(name, time.monotonic() - began, gaps)
    if bound is not None:
        assert len(gaps) <= bound, gaps[:5]
    return gaps
