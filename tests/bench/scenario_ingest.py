"""Scenario `ingest`: what one camera of 4 Mbit/s costs its ingest process, subscriber included."""

import asyncio
import contextlib
import itertools
from dataclasses import asdict, dataclass
from pathlib import Path

from common import config, wire
from common.access_unit import AccessUnit
from common.bus import ControlServer, MediaSubscriber, ipc_endpoint
from common.errors import BusError
from common.messages import CameraReport, IngestHello, Message
from tests.bench.process import running, usage
from tests.bench.scenario_fanout import free_port

CAMERA = "bench"
START_DEADLINE_S = 15.0
SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class IngestStep:
    """The one row."""

    seconds: float
    access_units: int
    gaps: int
    "Breaks in the access units' sequence numbers."
    lost_packets: int
    cpu_percent: float
    "Of one core."
    pss_mb: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


async def run(folder: Path, clip_file: Path, seconds: float) -> IngestStep:
    """Starts camera and ingest and watches for `seconds`."""
    port = free_port()
    camera = config.CameraConfig(CAMERA, f"rtsp://127.0.0.1:{port}/bench")
    config.store_resolved(config.Config(cameras=(camera,)), folder)
    hello: asyncio.Future[IngestHello] = asyncio.get_running_loop().create_future()
    reports: list[CameraReport] = []
    units: list[AccessUnit] = []
    first = asyncio.Event()

    def on_control(_identity: str, message: Message) -> None:
        if isinstance(message, IngestHello) and not hello.done():
            hello.set_result(message)
        elif isinstance(message, CameraReport):
            reports.append(message)

    def on_media(frames: list[bytes]) -> None:
        with contextlib.suppress(BusError):
            unit = wire.decode_media(frames)
            if isinstance(unit, AccessUnit):
                units.append(unit)
                first.set()

    async with contextlib.AsyncExitStack() as stack:
        server = ControlServer(ipc_endpoint(folder, "control"), on_control)
        stack.callback(server.close)
        await stack.enter_async_context(running("tests.bench.rtsp_replay", str(clip_file), str(port)))
        ingest = await stack.enter_async_context(
            running("ingest", CAMERA, environment={"CCTV3_RUN": str(folder)})
        )
        async with asyncio.timeout(START_DEADLINE_S):
            said = await hello
            subscriber = MediaSubscriber(said.media_endpoint, on_media)
            stack.callback(subscriber.close)
            subscriber.subscribe(wire.LIVE_TOPIC)
            await first.wait()
        await asyncio.sleep(SETTLE_S)
        units.clear()
        before = usage(ingest.pid)
        await asyncio.sleep(seconds)
        after = usage(ingest.pid)
        steps = itertools.pairwise(units)
        return IngestStep(
            seconds=seconds,
            access_units=len(units),
            gaps=sum(later.sequence != earlier.sequence + 1 for earlier, later in steps),
            lost_packets=reports[-1].lost_packets if reports else 0,
            cpu_percent=round(100 * (after.cpu_s - before.cpu_s) / seconds, 2),
            pss_mb=round(after.pss_kb / 1024, 1),
        )
