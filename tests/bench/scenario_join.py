"""Scenario `join`: many viewers within one second, as when a control room's page is opened."""

import asyncio
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from common.messages import Answer
from tests.bench.measure import percentile
from tests.bench.process import usage
from tests.bench.worker_box import JOIN_DEADLINE_S, Material, worker_box
from tests.support.viewer import Viewer

WITHIN_S = 1.0
SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class JoinStep:
    """How so many viewers came in; times of one viewer run from its offer."""

    viewers: int
    offer_cpu_ms: float
    "The worker's CPU time from an offer to its answer, without ICE, DTLS and media."
    join_cpu_ms: float
    "Of a whole join with its pictures of the past, less what the viewers that play already cost."
    answer_p50_ms: float
    answer_max_ms: float
    connected_p50_ms: float
    connected_max_ms: float
    playing_p50_ms: float
    "The first whole access unit is there."
    playing_p99_ms: float
    playing_max_ms: float
    all_playing_s: float
    "From the first offer."
    lost: int
    viewers_cpu_percent: float
    "Of one core while they joined: near 100 the viewers themselves are what is slow."

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def text(self) -> str:
        """For people."""
        return (
            f"{self.viewers} viewers join within {WITHIN_S:g} s: {self.offer_cpu_ms} ms of the worker's CPU "
            f"from offer to answer, {self.join_cpu_ms} ms a whole join; answered after p50 "
            f"{self.answer_p50_ms} ms, max {self.answer_max_ms}; connected p50 {self.connected_p50_ms}, max "
            f"{self.connected_max_ms}; playing p50 {self.playing_p50_ms}, p99 {self.playing_p99_ms}, max "
            f"{self.playing_max_ms}; all playing {self.all_playing_s} s after the first offer; {self.lost} "
            f"packets lost (the viewers took {self.viewers_cpu_percent} % of a core)"
        )


async def run(folder: Path, material: Material, count: int, seconds: float) -> JoinStep:
    """Offers alone first, then whole joins, then the same viewers at rest for `seconds`."""
    loop = asyncio.get_running_loop()
    answered: list[float] = []
    connected: list[float] = []
    playing: list[float] = []
    async with worker_box(folder, material) as box:
        await box.hold(1)
        await asyncio.sleep(SETTLE_S)

        before, at = usage(box.pid).cpu_s, loop.time()
        await asyncio.sleep(SETTLE_S)
        idle = (usage(box.pid).cpu_s - before) / (loop.time() - at)
        only_offers = [Viewer() for _ in range(count)]
        before, at = usage(box.pid).cpu_s, loop.time()
        answers = [await box.offer(viewer) for viewer in only_offers]
        offers_s = usage(box.pid).cpu_s - before - idle * (loop.time() - at)
        for viewer, answer in zip(only_offers, answers, strict=True):
            viewer.vanish()
            await box.end(answer.session)

        viewers = [Viewer() for _ in range(count)]
        box.viewers += viewers
        start = loop.time() + 0.1

        async def join(number: int, viewer: Viewer) -> None:
            began = start + WITHIN_S * number / count
            await asyncio.sleep(began - loop.time())
            answer: Answer = await box.offer(viewer)
            answered.append(loop.time() - began)
            await viewer.connect(answer.sdp, JOIN_DEADLINE_S)
            connected.append(loop.time() - began)
            await viewer.until(lambda: viewer.reception.units > 0, JOIN_DEADLINE_S)
            playing.append(loop.time() - began)

        before, own = usage(box.pid).cpu_s, usage(os.getpid()).cpu_s
        async with asyncio.TaskGroup() as group:
            for number, viewer in enumerate(viewers):
                group.create_task(join(number, viewer))
        all_playing_s = loop.time() - start
        own = usage(os.getpid()).cpu_s - own
        await asyncio.sleep(SETTLE_S)  # the pictures of the past go on for a moment
        joins_s, until = usage(box.pid).cpu_s - before, loop.time()

        before, at = usage(box.pid).cpu_s, loop.time()
        await asyncio.sleep(seconds)
        steady = (usage(box.pid).cpu_s - before) / (loop.time() - at) / (count + 1)
        watched_s = sum(
            until - (start + WITHIN_S * number / count) - after for number, after in enumerate(playing)
        )
        lost = sum(viewer.totals().lost for viewer in viewers)
    for times in (answered, connected, playing):
        times.sort()

    def ms(value: float) -> float:
        return round(value * 1000, 1)

    return JoinStep(
        viewers=count,
        offer_cpu_ms=round(offers_s * 1000 / count, 2),
        join_cpu_ms=round((joins_s - steady * watched_s) * 1000 / count, 2),
        answer_p50_ms=ms(percentile(answered, 0.5)),
        answer_max_ms=ms(answered[-1]),
        connected_p50_ms=ms(percentile(connected, 0.5)),
        connected_max_ms=ms(connected[-1]),
        playing_p50_ms=ms(percentile(playing, 0.5)),
        playing_p99_ms=ms(percentile(playing, 0.99)),
        playing_max_ms=ms(playing[-1]),
        all_playing_s=round(all_playing_s, 2),
        lost=lost,
        viewers_cpu_percent=round(100 * own / all_playing_s, 1),
    )
