"""The ingest process of one camera: the camera on one side, the bus on the other (docs/bus.md)."""

import asyncio
import os
import random
from pathlib import Path

from common import bus, wire
from common.access_unit import AccessUnit
from common.clock import Clock, SystemClock
from common.config import CameraConfig, load_camera
from common.lifecycle import run_folder
from common.messages import CameraReport, IngestHello
from common.urls import parse_camera_url
from ingest.camera import Camera, Hooks, Timing
from ingest.gop import GopCache
from ingest.statistics import Statistics
from ingest.stream import CODEC, VideoStream

REPORT_EVERY_S = 1.0


class IngestService:
    """Publishes a camera's access units, answers joins from the cached GOP and reports every second."""

    def __init__(
        self, config: CameraConfig, folder: Path, clock: Clock | None = None, timing: Timing | None = None
    ) -> None:
        self._name = config.name
        self._clock = clock or SystemClock()
        self._epoch = random.SystemRandom().getrandbits(63)
        self._stream = VideoStream(self._epoch)
        self._statistics = Statistics()
        self._gop = GopCache()
        self._media_endpoint = bus.ipc_endpoint(folder, f"camera-{config.name}")
        self._control_endpoint = bus.ipc_endpoint(folder, "control")
        self._camera = Camera(
            config.name,
            parse_camera_url(config.url),
            config.on_demand,
            self._stream,
            self._clock,
            Hooks(self._publish, self._changed),
            timing,
        )
        self._publisher: bus.MediaPublisher | None = None
        self._control: bus.ControlClient | None = None

    async def run(self) -> None:
        """Works until it is cancelled."""
        self._publisher = bus.MediaPublisher(self._media_endpoint, self._on_subscription)
        try:
            self._control = bus.ControlClient(self._control_endpoint, f"ingest-{self._name}", self._hello)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._camera.run())
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

    def _changed(self) -> None:
        if self._camera.state != "live":
            self._gop.clear()
            self._statistics.restart()
        self._report()

    def _report(self) -> None:
        if self._control is None:
            return
        stream = self._stream
        parameters = stream.parameters
        figures = self._statistics.figures(self._clock.monotonic_s())
        self._control.notify(
            CameraReport(
                camera=self._name,
                state=self._camera.state,
                codec=CODEC if stream.published else None,
                profile_level_id=parameters.profile_level_id if parameters else None,
                profile=parameters.profile if parameters else None,
                width=parameters.width if parameters else None,
                height=parameters.height if parameters else None,
                fps=figures.fps,
                bitrate=figures.bitrate,
                gop_s=figures.gop_s,
                access_units=stream.published,
                lost_packets=stream.lost_packets,
                last_access_unit_age_s=figures.last_access_unit_age_s,
                reconnects=self._camera.reconnects,
                error=self._camera.error,
            )
        )

    def _publish(self, unit: AccessUnit) -> None:
        assert self._publisher is not None
        self._publisher.publish(wire.encode_access_unit(wire.LIVE_TOPIC, unit))
        self._gop.add(unit)
        self._statistics.access_unit(unit, self._clock.monotonic_s())

    def _on_subscription(self, topic: bytes, subscribed: bool) -> None:
        if topic == wire.LIVE_TOPIC:
            self._camera.demand(subscribed)
        elif topic.startswith(wire.JOIN_TOPIC) and subscribed:
            self._answer_join(topic)

    def _answer_join(self, topic: bytes) -> None:
        assert self._publisher is not None
        for unit in self._gop.units():
            self._publisher.publish(wire.encode_access_unit(topic, unit))
        self._publisher.publish(wire.encode_join_end(topic, self._epoch, self._stream.next_sequence))


async def main(camera: str) -> None:
    """Runs the ingest of `camera` from the resolved configuration; raises LocalError without one."""
    folder = run_folder()
    await IngestService(load_camera(folder, camera), folder).run()
