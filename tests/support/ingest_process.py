"""An ingest process as supervisord runs it, with the test in the place of signaling and of a worker."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time

from common import bus, config, wire
from common.messages import CameraEvent, CameraReport, IngestHello
from common.resolved import store_resolved
from tests.support.processes import PROJECT

DEADLINE_S = 20
LIVE = wire.live_topic("main", "video")
LIVE_AUDIO = wire.live_topic("main", "audio")


class Ingest:
    """A started ingest, its control messages and a subscriber of its media."""

    def __init__(self, folder, url, on_demand, **options):
        camera = config.CameraConfig("cam", url, on_demand, **options)
        store_resolved(config.Config((camera,)), folder)
        self.messages = []
        self.media = []
        self._folder = folder
        self._server = bus.ControlServer(
            bus.ipc_endpoint(folder, "control"), lambda identity, message: self.messages.append(message)
        )
        self._subscriber = None
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingest", "cam"],
                cwd=PROJECT,
                env={**os.environ, "CCTV3_RUN": str(folder)},
                stderr=log,
            )

    def subscribe(self, topic):
        if self._subscriber is None:
            hello = next(message for message in self.messages if isinstance(message, IngestHello))
            self._subscriber = bus.MediaSubscriber(hello.media_endpoint, self.media.append)
        self._subscriber.subscribe(topic)

    def decoded(self, topic):
        return [wire.decode_media(frames) for frames in list(self.media) if frames[0] == topic]

    def rendition(self, name):
        reports = [message for message in self.messages if isinstance(message, CameraReport)]
        found = (
            [rendition for rendition in reports[-1].renditions if rendition.name == name] if reports else []
        )
        return found[0] if found else None

    @property
    def report(self):
        return self.rendition("main")

    def events(self, rendition="main"):
        return [
            message.state
            for message in self.messages
            if isinstance(message, CameraEvent) and message.rendition == rendition
        ]

    async def until(self, reached):
        async with asyncio.timeout(DEADLINE_S):
            while not reached():
                await asyncio.sleep(0.02)

    async def state(self, name, rendition="main"):
        await self.until(lambda: (report := self.rendition(rendition)) is not None and report.state == name)

    def stop(self):
        """Exit status and seconds that it took to stop."""
        began = time.monotonic()
        self.process.terminate()
        status = self.process.wait(10)
        return status, time.monotonic() - began

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._subscriber is not None:
            self._subscriber.close()
        self._server.close()


@contextlib.contextmanager
def ingest(folder, url, on_demand=False, **options):
    running = Ingest(folder, url, on_demand, **options)
    try:
        yield running
    finally:
        running.close()
