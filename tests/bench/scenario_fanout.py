"""Scenario `fanout`: one worker, fed by a publisher on the bus, with real viewers."""

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from common import config
from common.bus import ControlServer, ipc_endpoint
from common.messages import FanoutHello, HelloWanted, Message, WorkerReport
from tests.bench import clip
from tests.bench.measure import Meter, Step
from tests.bench.process import running
from tests.support.viewer import Viewer
from tests.support.viewer_carriers import through_bus

CAMERA = "bench"
WORKER = "fanout-0"
START_DEADLINE_S = 15.0
SETTLE_S = 2.0
JOINS_AT_ONCE = 6


def free_port() -> int:
    """A UDP port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Signaling:
    """The bench's stand-in for signaling: knows the worker and keeps its reports."""

    def __init__(self, endpoint: str) -> None:
        self.reports: list[WorkerReport] = []
        self.ended: list[Message] = []
        self.hello = asyncio.Event()
        self.server = ControlServer(endpoint, self._on_message)

    def _on_message(self, identity: str, message: Message) -> None:
        if isinstance(message, FanoutHello):
            self.hello.set()
        elif isinstance(message, WorkerReport):
            self.reports.append(message)
            if not self.hello.is_set():
                self.server.notify(identity, HelloWanted())
        else:
            self.ended.append(message)


async def run(
    folder: Path, clip_file: Path, units: list[clip.Unit], counts: list[int], seconds: float
) -> AsyncIterator[Step]:
    """One step per viewer count, rising, all on one worker."""
    camera = config.CameraConfig(CAMERA, "rtsp://127.0.0.1/unused")
    config.store_resolved(config.Config(cameras=(camera,), media_port=free_port()), folder)
    log = folder / "publisher.log"
    endpoint = ipc_endpoint(folder, "media")
    signaling = Signaling(ipc_endpoint(folder, "control"))
    viewers: list[Viewer] = []
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(signaling.server.close)
        await stack.enter_async_context(running("tests.bench.publisher", str(clip_file), endpoint, str(log)))
        worker = await stack.enter_async_context(
            running("fanout", "0", environment={"CCTV3_RUN": str(folder)})
        )
        await asyncio.wait_for(signaling.hello.wait(), START_DEADLINE_S)
        meter = Meter("fanout", worker.pid, units, log)
        gate = asyncio.Semaphore(JOINS_AT_ONCE)

        async def join() -> None:
            async with gate:
                viewer = Viewer()
                viewers.append(viewer)
                await through_bus(signaling.server, WORKER, CAMERA, endpoint, viewer)

        try:
            dropped = 0
            for count in counts:
                async with asyncio.TaskGroup() as group:
                    for _ in range(count - len(viewers)):
                        group.create_task(join())
                await asyncio.sleep(SETTLE_S)
                signaling.reports.clear()
                step = await meter.step(viewers, seconds)
                if signaling.ended:
                    raise RuntimeError(f"the worker ended sessions meanwhile: {signaling.ended[:3]}")
                reports = signaling.reports or [WorkerReport(WORKER, 0, 0.0, 0.0, 0.0, dropped)]
                yield dataclasses.replace(
                    step,
                    dropped=reports[-1].dropped_frames - dropped,
                    loop_lag_ms=round(max(report.loop_lag_s for report in reports) * 1000, 1),
                )
                dropped = reports[-1].dropped_frames
        finally:
            for viewer in viewers:
                viewer.close()
            await asyncio.sleep(0.2)
