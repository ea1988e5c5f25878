"""The ingest process of one camera: its streams on one side, the bus on the other (docs/bus.md)."""

import asyncio
import os
import random
from collections.abc import Sequence
from pathlib import Path

from common import bus, wire
from common.clock import Clock, SystemClock
from common.config import CameraConfig
from common.lifecycle import run_folder
from common.messages import RENDITIONS, CameraEvent, CameraReport, IngestHello
from common.resolved import load_camera
from common.urls import parse_camera_url
from ingest.playback import Timing
from ingest.rendition import Bus, RenditionStream
from ingest.sources import source_of

REPORT_EVERY_S = 1.0


class IngestService:
    """Publishes a camera's renditions, answers joins from the cached GOPs and reports every second."""

    def __init__(
        self, config: CameraConfig, folder: Path, clock: Clock | None = None, timing: Timing | None = None
    ) -> None:
        self._name = config.name
        self._clock = clock or SystemClock()
        self._epoch = random.SystemRandom().getrandbits(63)
        self._media_endpoint = bus.ipc_endpoint(folder, f"camera-{config.name}")
        self._control_endpoint = bus.ipc_endpoint(folder, "control")
        self._publisher: bus.MediaPublisher | None = None
        self._control: bus.ControlClient | None = None
        urls = {"main": config.url, "sub": config.sub}
        self._renditions: dict[str, RenditionStream] = {}
        for name in RENDITIONS:
            if (url := urls[name]) is None:
                continue
            source = source_of(
                parse_camera_url(url), config.transport, config.verify_tls, config.audio, self._clock
            )
            self._renditions[name] = RenditionStream(
                config.name,
                name,
                source,
                config.on_demand or name == "sub",
                self._epoch,
                self._clock,
                Bus(self._publish, self._event),
                timing,
            )

    async def run(self) -> None:
        """Works until it is cancelled."""
        self._publisher = bus.MediaPublisher(self._media_endpoint, self._on_subscription)
        try:
            self._control = bus.ControlClient(self._control_endpoint, f"ingest-{self._name}", self._hello)
            async with asyncio.TaskGroup() as tasks:
                for rendition in self._renditions.values():
                    tasks.create_task(rendition.run())
                tasks.create_task(self._report_for_ever())
        finally:
            self._close()

    def _close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()
        if self._control is not None:
            self._control.close()

    def _hello(self) -> IngestHello:
        return IngestHello(self._name, self._epoch, os.getpid(), self._media_endpoint)

    async def _report_for_ever(self) -> None:
        while True:
            self._report()
            await self._clock.sleep(REPORT_EVERY_S)

    def _report(self) -> None:
        if self._control is not None:
            renditions = tuple(rendition.report() for rendition in self._renditions.values())
            self._control.notify(CameraReport(self._name, renditions))

    def _event(self, event: CameraEvent) -> None:
        if self._control is not None:
            self._control.notify(event)
            self._report()

    def _publish(self, frames: Sequence[bytes]) -> None:
        assert self._publisher is not None
        self._publisher.publish(frames)

    def _on_subscription(self, topic: bytes, subscribed: bool) -> None:
        wanted = wire.parse_topic(topic)
        rendition = self._renditions.get(wanted.rendition) if wanted is not None else None
        if rendition is None:
            return
        match wanted:
            case wire.LiveTopic():
                rendition.subscription(wanted.track, subscribed)
            case wire.JoinTopic() if subscribed:
                rendition.answer_join(topic)


async def main(camera: str) -> None:
    """Runs the ingest of `camera` from the resolved configuration; raises LocalError without one."""
    folder = run_folder()
    await IngestService(load_camera(folder, camera), folder).run()
