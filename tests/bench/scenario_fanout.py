"""Scenarios `fanout` and `sub`: one worker, fed by a publisher on the bus, with ever more real viewers."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bench import floor
from tests.bench.measure import Meter, Step, Stop
from tests.bench.worker_box import EgressForm, Material, worker_box

SETTLE_S = 2.0


async def run(
    folder: Path,
    material: Material,
    counts: list[int],
    seconds: float,
    form: EgressForm,
    floor_program: Path | None,
    *,
    feedback: bool,
) -> AsyncIterator[Step | Stop]:
    """One step per viewer count, rising, all on one worker; ends when worker or viewers are saturated."""
    # Before the worker runs, so that each has a core for itself.
    floors = {}
    if floor_program is not None:
        for count in counts:
            floors[count] = await floor.measure(
                floor_program, material.units, count, min(seconds, floor.SECONDS)
            )
    async with worker_box(folder, material, form) as box:
        report = await box.report()
        sender = f"worker, {report.egress}" if feedback else f"worker, {report.egress}, no feedback"
        meter = Meter(material.name, sender, box.pid, material.units, box.log)
        before: Step | None = None
        for count in counts:
            reason = before.forbids(count) if before is not None else None
            if reason is None:
                try:
                    await box.hold(count, feedback=feedback)
                except* Exception as group:
                    reason = f"{len(box.viewers)} viewers asked, not all could join: {group.exceptions[0]!r}"
            if reason is not None:
                yield Stop(material.name, sender, count, reason)
                return
            await asyncio.sleep(SETTLE_S)
            report = await box.report()
            before = await meter.step(box.viewers, seconds)
            reports = box.signaling.reports
            if box.signaling.ended:
                yield Stop(material.name, sender, count, f"the worker ended {box.signaling.ended[0]}")
                return
            if not before.packets:
                faults = [fault for viewer in box.viewers for fault in viewer.faults[:1]]
                yield Stop(
                    material.name, sender, count, f"nothing arrives; the viewers' first fault: {faults[:1]}"
                )
                return
            last, floor_us = reports[-1] if reports else report, floors.get(count)
            before = dataclasses.replace(
                before,
                dropped=last.dropped_frames - report.dropped_frames,
                retransmitted=last.retransmitted - report.retransmitted,
                switches=last.switches - report.switches,
                loop_lag_ms=round(max(each.loop_lag_s for each in (reports or [report])) * 1000, 1),
                floor_us=floor_us and round(floor_us, 2),
                over_floor=floor_us and round(before.us_per_packet / floor_us, 2),
            )
            yield before
