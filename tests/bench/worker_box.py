"""One worker as a process of its own, a publisher that feeds it, and the bench in signaling's place."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common import config
from common.bus import ControlServer, ipc_endpoint
from common.h264 import parse_sps
from common.messages import (
    Answer,
    CloseRequest,
    FanoutHello,
    HelloWanted,
    Message,
    RenditionFormat,
    SessionEnded,
    SessionsReport,
    SessionsRequest,
    VideoReport,
    WorkerReport,
)
from common.resolved import store_resolved
from tests.bench import clip
from tests.bench.process import running
from tests.support.ports import free_media_ports
from tests.support.viewer import Viewer
from tests.support.viewer_carriers import offer_through_bus

CAMERA = "bench"
WORKER = "fanout-0"
START_DEADLINE_S = 15.0
JOIN_DEADLINE_S = 20.0
JOINS_AT_ONCE = 12

EgressForm = Literal["kernel", "python"]


@dataclass(frozen=True, slots=True)
class Material:
    """A clip and its file."""

    name: str
    file: Path
    units: list[clip.Unit]

    @property
    def bitrate(self) -> float:
        """Bits per second."""
        return sum(len(nal) for unit in self.units for nal in unit) * 8 * clip.FPS / len(self.units)

    def rendition(self) -> RenditionFormat:
        """What signaling would tell of it."""
        sps = next(nal for unit in self.units for nal in unit if nal[0] & 0x1F == 7)
        facts = parse_sps(sps)
        video = VideoReport(
            codec="H264",
            profile=None,
            profile_level_id=sps[1:4].hex(),
            profile_tier_level=None,
            width=facts.width,
            height=facts.height,
            fps=clip.FPS,
            bitrate=int(self.bitrate),
            peak_bitrate=int(self.bitrate),
            gop_s=clip.GOP_UNITS / clip.FPS,
            gop_frames=clip.GOP_UNITS,
            b_frames=False,
        )
        return RenditionFormat("main", video, None)


class Signaling:
    """Knows the worker and keeps its reports."""

    def __init__(self, endpoint: str) -> None:
        self.reports: list[WorkerReport] = []
        self.ended: list[SessionEnded] = []
        self.other: list[Message] = []
        self.hello = asyncio.Event()
        self.server = ControlServer(endpoint, self._on_message)

    def _on_message(self, identity: str, message: Message) -> None:
        if isinstance(message, FanoutHello):
            self.hello.set()
        elif isinstance(message, WorkerReport):
            self.reports.append(message)
            if not self.hello.is_set():
                self.server.notify(identity, HelloWanted())
        elif isinstance(message, SessionEnded):
            self.ended.append(message)
        else:
            self.other.append(message)


class WorkerBox:
    """The worker's process and its viewers."""

    def __init__(self, pid: int, log: Path, signaling: Signaling, endpoint: str, material: Material) -> None:
        self.pid = pid
        self.log = log
        self.signaling = signaling
        self.viewers: list[Viewer] = []
        self._endpoint = endpoint
        self._renditions = (material.rendition(),)
        self._gate = asyncio.Semaphore(JOINS_AT_ONCE)

    async def offer(self, viewer: Viewer) -> Answer:
        """The worker's answer to the viewer's offer; raises Refusal."""
        return await offer_through_bus(
            self.signaling.server,
            WORKER,
            CAMERA,
            self._endpoint,
            viewer,
            renditions=self._renditions,
            deadline_s=JOIN_DEADLINE_S,
        )

    async def join(self, viewer: Viewer) -> str:
        """Offers and connects; gives the session."""
        answer = await self.offer(viewer)
        await viewer.connect(answer.sdp, JOIN_DEADLINE_S)
        return answer.session

    async def hold(self, count: int, *, feedback: bool = True) -> None:
        """As many viewers as this, all connected; `feedback`: they report arrivals as browsers do."""

        async def one() -> None:
            async with self._gate:
                viewer = Viewer(feedback=feedback)
                self.viewers.append(viewer)
                await self.join(viewer)

        async with asyncio.TaskGroup() as group:
            for _ in range(count - len(self.viewers)):
                group.create_task(one())

    async def end(self, session: str) -> None:
        """Ends a session as signaling would."""
        await self.signaling.server.request(WORKER, CloseRequest(session), JOIN_DEADLINE_S)

    async def dropped_frames(self) -> int:
        """Frames that the viewers of now were not sent."""
        reply = await self.signaling.server.request(WORKER, SessionsRequest(None), JOIN_DEADLINE_S)
        assert isinstance(reply, SessionsReport)
        return sum(session.dropped_frames for session in reply.sessions)

    async def report(self) -> WorkerReport:
        """The worker's next report."""
        self.signaling.reports.clear()
        deadline = time.monotonic() + START_DEADLINE_S
        while not self.signaling.reports:
            if time.monotonic() > deadline:
                raise RuntimeError("the worker sends no reports any more")
            await asyncio.sleep(0.02)
        return self.signaling.reports[-1]


@contextlib.asynccontextmanager
async def worker_box(
    folder: Path, material: Material, form: EgressForm | None = None
) -> AsyncIterator[WorkerBox]:
    """Starts everything in `folder`; `form` is the worker's send path, by default the best it has."""
    camera = config.CameraConfig(CAMERA, "rtsp://127.0.0.1/unused")
    store_resolved(config.Config(cameras=(camera,), media_port=free_media_ports(1)), folder)
    log = folder / "publisher.log"
    endpoint = ipc_endpoint(folder, "media")
    environment = {"CCTV3_RUN": str(folder)}
    if form == "python":
        environment["CCTV3_EGRESS"] = "python"
    async with contextlib.AsyncExitStack() as stack:
        signaling = Signaling(ipc_endpoint(folder, "control"))
        stack.callback(signaling.server.close)
        publisher = ("tests.bench.publisher", str(material.file), endpoint, str(log))
        await stack.enter_async_context(running(*publisher))
        worker = await stack.enter_async_context(running("fanout", "0", environment=environment))
        await asyncio.wait_for(signaling.hello.wait(), START_DEADLINE_S)
        box = WorkerBox(worker.pid, log, signaling, endpoint, material)
        try:
            yield box
        finally:
            for viewer in box.viewers:
                viewer.close()
            await asyncio.sleep(0.2)
