"""Scenario `cameras`: many cameras of 1 Mbit/s at the same time, an ingest process each."""

import asyncio
import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path

from common import config, wire
from common.access_unit import AccessUnit
from common.bus import ControlServer, MediaSubscriber, ipc_endpoint
from common.messages import CameraReport, IngestHello, Message
from common.resolved import store_resolved
from tests.bench.process import running, usage
from tests.support.ports import free_tcp_port

WIDTH, HEIGHT, BITRATE = 1280, 720, 1_000_000
START_DEADLINE_S = 90.0
SETTLE_S = 5.0
LIVE_TOPIC = wire.live_topic("main", "video")


@dataclass(frozen=True, slots=True)
class CamerasStep:
    """All cameras together."""

    cameras: int
    seconds: float
    access_units: int
    "That came over the bus, of all cameras."
    gaps: int
    "Breaks in a camera's sequence numbers: something was lost or dropped."
    lost_packets: int
    reconnects: int
    cpu_percent: float
    "Of one core, all ingest processes."
    pss_mb: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class _Watch:
    """Counts what one camera puts on the bus."""

    def __init__(self, endpoint: str) -> None:
        self.units = self.gaps = 0
        self._next: int | None = None
        self._subscriber = MediaSubscriber(endpoint, self._received)
        self._subscriber.subscribe(LIVE_TOPIC)

    def _received(self, frames: list[bytes]) -> None:
        unit = wire.decode_media(frames)
        assert isinstance(unit, AccessUnit)
        self.units += 1
        self.gaps += self._next is not None and unit.sequence != self._next
        self._next = unit.sequence + 1

    def close(self) -> None:
        self._subscriber.close()


async def run(folder: Path, clip_file: Path, count: int, seconds: float) -> CamerasStep:
    """Starts `count` cameras and watches them for `seconds`."""
    port = free_tcp_port()
    names = [f"cam{number}" for number in range(count)]
    cameras = tuple(config.CameraConfig(name, f"rtsp://127.0.0.1:{port}/{name}") for name in names)
    store_resolved(config.Config(cameras=cameras), folder)
    watches: dict[str, _Watch] = {}
    reports: dict[str, CameraReport] = {}

    def on_control(_identity: str, message: Message) -> None:
        if isinstance(message, IngestHello) and message.camera not in watches:
            watches[message.camera] = _Watch(message.media_endpoint)
        elif isinstance(message, CameraReport):
            reports[message.camera] = message

    async with contextlib.AsyncExitStack() as stack:
        server = ControlServer(ipc_endpoint(folder, "control"), on_control)
        stack.callback(server.close)
        await stack.enter_async_context(
            running("tests.bench.rtsp_replay", str(clip_file), str(port), "/dev/null")
        )
        processes = []
        for name in names:
            process = running("ingest", name, environment={"CCTV3_RUN": str(folder)})
            processes.append(await stack.enter_async_context(process))
        async with asyncio.timeout(START_DEADLINE_S):
            while len(watches) < count or not all(watch.units for watch in watches.values()):
                await asyncio.sleep(0.5)
        for watch in watches.values():
            stack.callback(watch.close)
        await asyncio.sleep(SETTLE_S)
        for watch in watches.values():
            watch.units = watch.gaps = 0
        before = sum(usage(process.pid).cpu_s for process in processes)
        await asyncio.sleep(seconds)
        after = [usage(process.pid) for process in processes]
        renditions = [report.renditions[0] for report in reports.values()]
        return CamerasStep(
            cameras=count,
            seconds=seconds,
            access_units=sum(watch.units for watch in watches.values()),
            gaps=sum(watch.gaps for watch in watches.values()),
            lost_packets=sum(rendition.lost_packets for rendition in renditions),
            reconnects=sum(rendition.reconnects for rendition in renditions),
            cpu_percent=round(100 * (sum(used.cpu_s for used in after) - before) / seconds, 1),
            pss_mb=round(sum(used.pss_kb for used in after) / 1024, 1),
        )
