"""Scenario `aiortc`: what the same viewers cost a plain aiortc sender fed encoded packets."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bench.measure import Meter, Step
from tests.bench.process import running
from tests.bench.worker_box import Material
from tests.support.viewer import Viewer
from tests.support.viewer_sdp import PLAIN

SETTLE_S = 1.5
# The cipher that the worker prefers, so that both do the same work.
PROFILES = "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"
# Past this share of a core a step shows queues, not costs.
FULL_PERCENT = 85.0


async def _offer(sender: Process, viewer: Viewer) -> None:
    assert sender.stdin is not None and sender.stdout is not None
    sender.stdin.write(json.dumps(viewer.offer()).encode() + b"\n")
    line = await asyncio.wait_for(sender.stdout.readline(), 10)
    if not line:
        raise RuntimeError("the aiortc sender ended; its stderr says why")
    await viewer.connect(json.loads(line))


async def run(folder: Path, material: Material, counts: list[int], seconds: float) -> AsyncIterator[Step]:
    """One step per viewer count, rising; stops when the next one cannot be held."""
    log = folder / "aiortc.log"
    viewers: list[Viewer] = []
    async with running("tests.bench.aiortc_sender", str(material.file), str(log), talks=True) as sender:
        try:
            meter = Meter(material.name, "aiortc", sender.pid, material.units, log)
            step: Step | None = None
            for count in counts:
                # A single viewer's cost says little: much of it is the process being woken.
                if (
                    step is not None
                    and step.viewers > 1
                    and step.cpu_percent / step.viewers * count > FULL_PERCENT
                ):
                    break
                while len(viewers) < count:
                    # aiortc takes the active role when asked; the viewer is always the DTLS client.
                    viewer = Viewer(setup="active", profiles=PROFILES, features=PLAIN, require_server=False)
                    viewers.append(viewer)
                    await _offer(sender, viewer)
                await asyncio.sleep(SETTLE_S)
                step = await meter.step(viewers, seconds)
                yield step
        finally:
            for viewer in viewers:
                viewer.close()
            await asyncio.sleep(0.2)
