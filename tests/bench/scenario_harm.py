"""Scenario `harm`: what one bad viewer does to the others on its worker."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bench.measure import Meter, Step
from tests.bench.worker_box import Material, WorkerBox, worker_box
from tests.support.viewer import Viewer

SETTLE_S = 2.0
NACK_INTERVAL_S = 0.02


async def _nack_everything(viewer: Viewer) -> None:
    """Asks for every packet that came, as soon as it came."""
    asked = viewer.reception.highest
    while True:
        await asyncio.sleep(NACK_INTERVAL_S)
        highest = viewer.reception.highest
        wanted = range(max(asked + 1, highest - 1000), highest + 1)
        asked = highest
        if wanted:
            viewer.send_nack(*sorted(sequence & 0xFFFF for sequence in wanted))


@contextlib.asynccontextmanager
async def _with(box: WorkerBox, viewer: Viewer, *, reads: bool) -> AsyncIterator[None]:
    session = await box.join(viewer)
    await viewer.until(lambda: viewer.reception.units > 0)
    nagging: asyncio.Task[None] | None = None
    if reads:
        nagging = asyncio.create_task(_nack_everything(viewer))
    else:
        viewer.stall()
    try:
        yield
    finally:
        if nagging is not None:
            nagging.cancel()
        viewer.vanish()
        # The worker may have ended it by itself; that is no failure here.
        await box.end(session)


async def run(folder: Path, material: Material, count: int, seconds: float) -> AsyncIterator[Step]:
    """One step with innocent viewers alone, then one with each kind of bad one beside them."""
    async with worker_box(folder, material) as box:
        await box.hold(count)
        kinds = (
            ("nobody else", None, True),
            ("one that reads nothing, UDP", lambda: Viewer(), False),
            ("one that reads nothing, TCP", lambda: Viewer(tcp=True), False),
            ("one that NACKs all it gets", lambda: Viewer(), True),
        )
        for name, make, reads in kinds:
            meter = Meter("harm", f"beside {name}", box.pid, material.units, box.log)
            async with contextlib.AsyncExitStack() as stack:
                if make is not None:
                    await stack.enter_async_context(_with(box, make(), reads=reads))
                await asyncio.sleep(SETTLE_S)
                first = await box.report()
                step = await meter.step(box.viewers, seconds)
                last = box.signaling.reports[-1] if box.signaling.reports else first
                yield dataclasses.replace(
                    step,
                    dropped=last.dropped_frames - first.dropped_frames,
                    retransmitted=last.retransmitted - first.retransmitted,
                    switches=last.switches - first.switches,
                    loop_lag_ms=round(
                        max(each.loop_lag_s for each in (box.signaling.reports or [first])) * 1000, 1
                    ),
                )
