"""Scenario `glass`: what a viewer sees who opens the page: first picture, loss, and the age of what is shown.

The whole system with a camera of 4 Mbit/s and a GOP of 10 s, and real Chromium, all on one machine: it
decodes in software, and what it takes of the cores the worker lacks. A picture's age counts from the camera
having sent its last packet.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from playwright.async_api import Browser

from tests.bench import clip, glass_page, process
from tests.bench.glass_page import GlassPage, Numbers, SentLog
from tests.bench.measure import percentile
from tests.support.browser import chromium
from tests.support.ports import free_tcp_port
from tests.support.system import System, running_system

GOP_S = 10
UNITS = GOP_S * clip.FPS
CROWD = 240
CROWD_DEADLINE_S = 120.0
SETTLE_S = 5.0
"Until what the crowd's joins cost is out of the worker's last report, by which signaling sees its load."
WATCHED_MS = 3000.0
STATISTICS_AFTER_S = 2.0
FRESH_MS = 150.0
FREEZE_MS = 200.0
# Joins fall anywhere in a GOP: each waits this much longer than the one before, up to a bound (golden ratio).
PAUSE_S = 2.5
PAUSE_STEP = 0.618
RELEASE_DEADLINE_S = 40.0
# Until a stream on demand is disconnected: it lingers in the worker for 5 s and in ingest for 10.
IDLE_AFTER_S = 16.0
# Those that take long to prepare are done less often.
JOINS_PER_SLOW = 3

_WIDTHS = {"main": clip.WIDTH, "sub": clip.SUB_WIDTH}


@dataclass(frozen=True, slots=True)
class Spread:
    """Some measured values."""

    values: list[float]

    def text(self) -> str:
        """For people."""
        ordered = sorted(self.values)
        if not ordered:
            return "-"
        return (
            f"p50 {percentile(ordered, 0.5):.0f}, p95 {percentile(ordered, 0.95):.0f}, max {ordered[-1]:.0f}"
        )


@dataclass(slots=True)
class GlassStep:
    """Joins of one kind; times in ms."""

    case: str
    joins: int = 0
    first_frame: list[float] = field(default_factory=list)
    "From the wish to see the camera to the first picture on screen."
    page: list[float] = field(default_factory=list)
    "From the page's beginning to that wish."
    stages: dict[str, list[float]] = field(default_factory=dict)
    cached: list[float] = field(default_factory=list)
    "Pictures of the past that a join began with."
    fresh_after: list[float] = field(default_factory=list)
    "From the first picture until all are younger than FRESH_MS."
    never_fresh: int = 0
    age: list[float] = field(default_factory=list)
    "Of pictures from then on."
    camera: list[float] = field(default_factory=list)
    "On demand: from the wish until the camera had sent its first keyframe."
    failed: int = 0
    "Joins whose first session did not come to a picture, or did not last."
    lost: int = 0
    dropped: int = 0
    "Datagrams that found their reader's socket full, of the whole machine: lost ones that were sent."
    nacks: int = 0
    plis: int = 0
    decode: list[float] = field(default_factory=list)
    "Of one picture, on average of a join."
    announced: list[float] = field(default_factory=list)
    "Time of capture as the server announces it, less the time at which the camera had sent the picture."
    capture_times: int = 0
    "Pictures of which Chromium told a time of capture (requestVideoFrameCallback)."
    unreadable: int = 0
    "Joins whose pictures could not be told apart."
    crowd_lost: int = 0
    "Packets that the other viewers missed."
    busy_percent: float = 0.0
    "Of all cores of the machine."
    load: float = 0.0
    "Load average of the minute, at the end."

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def text(self) -> str:
        """For people."""
        stages = ", ".join(f"{name} {percentile(sorted(v), 0.5):.0f}" for name, v in self.stages.items())
        crowd = f"; the other viewers lost {self.crowd_lost}" if self.crowd_lost else ""
        unreadable = f"; {self.unreadable} joins unreadable" if self.unreadable else ""
        lines = [
            f"{self.case}: {self.joins} joins; machine {self.busy_percent:.0f} % busy, load {self.load:.1f}",
            f"  first picture, ms: {Spread(self.first_frame).text()} (the page before that: "
            f"{Spread(self.page).text()})",
            f"  steps, p50 of each: {stages}",
            f"  packets lost {self.lost}, NACKs {self.nacks}, PLIs {self.plis}, failed {self.failed}{crowd}; "
            f"datagrams for which a socket was full: {self.dropped}",
            f"  younger than {FRESH_MS:.0f} ms for good, ms after the first picture: "
            f"{Spread(self.fresh_after).text()}; never: {self.never_fresh}; from then on aged "
            f"{Spread(self.age).text()}",
            f"  pictures of the past: {Spread(self.cached).text()}; decoding one takes "
            f"{percentile(sorted(self.decode), 0.5):.1f} ms",
            f"  announced capture after sending, ms: {Spread(self.announced).text()}; captureTime given for "
            f"{self.capture_times} pictures{unreadable}",
        ]
        if self.camera:
            after = [first - camera for first, camera in zip(self.first_frame, self.camera, strict=True)]
            lines.append(
                f"  camera's first keyframe after the wish, ms: {Spread(self.camera).text()}; picture after "
                f"that keyframe: {Spread(after).text()}"
            )
        return "\n".join(lines)


@dataclass(slots=True)
class SwitchStep:
    """Switches of one kind within a session; times in ms."""

    case: str
    picture: list[float] = field(default_factory=list)
    "From the choice to the first picture of the new size."
    gap: list[float] = field(default_factory=list)
    "Longest time without a new picture, from the choice on."
    fresh_after: list[float] = field(default_factory=list)
    never_fresh: int = 0
    lost: int = 0

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def text(self) -> str:
        """For people."""
        frozen = sum(gap > FREEZE_MS for gap in self.gap)
        return (
            f"{self.case}: {len(self.picture)} switches; first picture of the new size, ms: "
            f"{Spread(self.picture).text()}; longest gap between pictures: {Spread(self.gap).text()}, over "
            f"{FREEZE_MS:.0f} ms in {frozen}; younger than {FRESH_MS:.0f} ms after the first new picture: "
            f"{Spread(self.fresh_after).text()}, never {self.never_fresh}; packets lost {self.lost}"
        )


class Glass:
    """The whole system with its cameras, and Chromium."""

    def __init__(self, system: System, browser: Browser, logs: dict[str, Path], joins: int) -> None:
        self._system = system
        self._browser = browser
        self._logs = logs
        self._joins = joins
        self._joined = 0

    def _sent(self, rendition: str = "main") -> SentLog:
        return SentLog(self._logs[rendition], UNITS)

    def _releases(self) -> int:
        """How often the worker has let the main stream go."""
        return self._system.log_text().count("camera door main: released")

    async def _until_released(self, before: int) -> None:
        await self._system.until(lambda: self._releases() > before, RELEASE_DEADLINE_S)

    async def cold(self) -> GlassStep:
        """Nobody watches, and the worker has let the stream go."""
        step = GlassStep("cold worker")
        async with _machine(step):
            for _ in range(self._joins):
                before = self._releases()
                await self._join(step)
                await self._until_released(before)
        return step

    async def crowded(self, viewers: int) -> GlassStep:
        """Others watch already."""
        step = GlassStep(f"worker with {viewers} viewer{'s' * (viewers > 1)}")
        before = self._releases()
        arguments = (self._system.url, "door", str(viewers))
        async with process.running("tests.bench.glass_viewers", *arguments, talks=True) as others:
            assert others.stdin is not None and others.stdout is not None
            async with asyncio.timeout(CROWD_DEADLINE_S):
                assert await others.stdout.readline() == b"playing\n"
            await asyncio.sleep(SETTLE_S)
            async with _machine(step):
                for _ in range(self._joins):
                    await self._join(step)
            others.stdin.write(b"totals\n")
            step.crowd_lost = json.loads(await others.stdout.readline())["lost"]
            others.stdin.close()
            await others.wait()
        await self._until_released(before)
        return step

    async def on_demand(self) -> GlassStep:
        """The camera itself is not connected."""
        step = GlassStep("cold camera, on demand")

        async def idle() -> bool:
            state: str = (await self._system.camera("gate"))["state"]
            return state == "idle"

        async with _machine(step):
            for _ in range(max(1, self._joins // JOINS_PER_SLOW)):
                await self._system.until(idle, RELEASE_DEADLINE_S)
                await self._join(step, "gate")
        return step

    async def _join(self, step: GlassStep, camera: str = "door") -> None:
        self._joined += 1
        if camera == "door":  # a camera on demand begins its GOP with the first viewer
            await asyncio.sleep(PAUSE_S * (self._joined * PAUSE_STEP % 1.0))
        async with glass_page.glass_page(self._browser, f"{self._system.url}/#{camera}") as page:
            first_frame_ms = (await page.until(lambda facts: facts.get("firstFrameMs")))["firstFrameMs"]
            await asyncio.sleep(STATISTICS_AFTER_S)
            inbound = await page.inbound()
            await asyncio.sleep(WATCHED_MS / 1000 - STATISTICS_AFTER_S)
            step.joins += 1
            if inbound is None or (await page.facts())["reconnects"]:
                step.failed += 1
                return
            seen = await page.seen()
        step.first_frame.append(first_frame_ms)
        step.page.append(seen.marks["begun"])
        for name, value in seen.stages().items():
            step.stages.setdefault(name, []).append(value)
        step.lost += max(0, inbound["packetsLost"])
        step.nacks += inbound["nackCount"]
        step.plis += inbound["pliCount"]
        step.decode.append(1000 * inbound["totalDecodeTime"] / max(1, inbound["framesDecoded"]))
        step.capture_times += sum(frame.capture is not None for frame in seen.frames)
        sent = self._sent("main" if camera == "door" else "gate")
        if camera == "gate":
            wish_ms = seen.marks["begun"] + seen.offset_ms
            step.camera.append(sent.beginning_ms(wish_ms) - wish_ms)
        try:
            numbers = Numbers(seen, seen.frames[0], sent, UNITS)
        except ValueError:
            step.unreadable += 1
            return
        step.cached.append(numbers.cached)
        step.announced += (at - numbers.sent_ms(timestamp) for timestamp, at in seen.captures)
        aged = glass_page.ages(seen, seen.frames, numbers)
        settled = glass_page.settled_ms(aged, FRESH_MS, WATCHED_MS)
        if settled is None:
            step.never_fresh += 1
        else:
            step.fresh_after.append(settled)
            step.age += (age for at, age in aged if settled <= at <= WATCHED_MS)

    async def switches(self) -> list[SwitchStep]:
        """Between main and sub stream in one session."""
        down = SwitchStep("main to sub, whose camera stream is on demand")
        soon = SwitchStep("sub to main, which the worker still has")
        late = SwitchStep("sub to main, which the worker had let go")
        async with glass_page.glass_page(self._browser, f"{self._system.url}/#door") as page:
            await page.until_playing(25)
            for _ in range(max(1, self._joins // JOINS_PER_SLOW)):
                await self._switch(page, "sub", down)
                await self._switch(page, "main", soon)
                before = self._releases()
                await self._switch(page, "sub", None)
                await self._until_released(before)
                await self._switch(page, "main", late)
                await asyncio.sleep(IDLE_AFTER_S)
        return [down, soon, late]

    async def _switch(self, page: GlassPage, quality: str, step: SwitchStep | None) -> None:
        before = await page.inbound()
        asked = await page.ask(quality)
        first = await page.first_of_width(_WIDTHS[quality], asked)
        await asyncio.sleep(WATCHED_MS / 1000)
        seen, after = await page.seen(), await page.inbound()
        if step is None:
            return
        if before is None or after is None or (await page.facts())["reconnects"]:
            raise RuntimeError("the session that switches was lost")
        step.picture.append(first - asked)
        step.gap.append(seen.longest_gap_ms(asked - FREEZE_MS, first + WATCHED_MS))
        step.lost += max(0, after["packetsLost"] - before["packetsLost"])
        frames = [frame for frame in seen.frames if frame.now >= first]
        aged = glass_page.ages(seen, frames, Numbers(seen, frames[0], self._sent(quality), UNITS))
        settled = glass_page.settled_ms(aged, FRESH_MS, WATCHED_MS)
        if settled is None:
            step.never_fresh += 1
        else:
            step.fresh_after.append(settled)


@contextlib.asynccontextmanager
async def _machine(step: GlassStep) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    busy_s, start = process.machine_busy_s(), loop.time()
    dropped = process.datagrams_dropped()
    yield
    step.dropped = process.datagrams_dropped() - dropped
    share = (process.machine_busy_s() - busy_s) / (loop.time() - start) / (os.cpu_count() or 1)
    step.busy_percent = round(100 * share, 1)
    step.load = os.getloadavg()[0]


async def run(folder: Path, joins: int, crowd: int, done: Callable[[GlassStep | SwitchStep], None]) -> None:
    """All cases one after the other; `done` is called with each."""
    sizes = {
        "main": (clip.WIDTH, clip.HEIGHT, clip.BITRATE),
        "sub": (clip.SUB_WIDTH, clip.SUB_HEIGHT, clip.SUB_BITRATE),
    }
    sizes["gate"] = sizes["main"]
    logs = {name: folder / f"{name}.sent" for name in sizes}
    async with contextlib.AsyncExitStack() as stack:
        urls = {}
        for name, size in sizes.items():
            file = folder / f"{'sub' if name == 'sub' else 'main'}.h264"
            if not file.exists():
                clip.make(file, *size, gop_units=UNITS, seconds=GOP_S, numbered=True)
            port = free_tcp_port()
            urls[name] = f"rtsp://127.0.0.1:{port}/{name}"
            arguments = (str(file), str(port), str(logs[name]))
            await stack.enter_async_context(process.running("tests.bench.rtsp_replay", *arguments))
        cameras: dict[str, dict[str, object]] = {
            "door": {"url": urls["main"], "sub": urls["sub"]},
            "gate": {"url": urls["gate"], "on_demand": True},
        }
        system = await stack.enter_async_context(running_system(cameras))
        browser = await stack.enter_async_context(chromium())
        await system.until_live("door")
        glass = Glass(system, browser, logs, joins)
        done(await glass.cold())
        done(await glass.crowded(1))
        done(await glass.crowded(crowd))
        done(await glass.on_demand())
        for step in await glass.switches():
            done(step)
