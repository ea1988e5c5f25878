"""One stream of the camera in its process: its life, its cached GOP, and its topics on the bus."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common import wire
from common.access_unit import AccessUnit
from common.clock import Clock
from common.messages import CameraEvent, Rendition, RenditionReport, RenditionState
from ingest.camera import Camera, Hooks
from ingest.gop import GopCache
from ingest.output import Output
from ingest.playback import Timing
from ingest.report import rendition_report
from ingest.source import Source

TRACKS = ("video", "audio")


@dataclass(frozen=True, slots=True)
class Bus:
    """What a rendition says to the process around it."""

    publish: Callable[[Sequence[bytes]], None]
    event: Callable[[CameraEvent], None]


class RenditionStream:
    """Publishes a rendition's access units while they are wanted, and answers joins."""

    def __init__(
        self,
        camera: str,
        name: Rendition,
        source: Source,
        on_demand: bool,
        epoch: int,
        clock: Clock,
        bus: Bus,
        timing: Timing | None,
    ) -> None:
        self.name = name
        self._of = camera
        self._epoch = epoch
        self._bus = bus
        self._output = Output(epoch)
        self._gop = GopCache()
        self._topics = {track: wire.live_topic(name, track) for track in TRACKS}
        self._subscribed: set[str] = set()
        label = camera if name == "main" else f"{camera}, {name} stream"
        hooks = Hooks(self._publish, self._on_event)
        self._camera = Camera(label, source, on_demand, self._output, clock, hooks, timing)

    async def run(self) -> None:
        """Lives until it is cancelled."""
        await self._camera.run()

    def subscription(self, track: str, subscribed: bool) -> None:
        """Somebody subscribes to a track, or nobody any more."""
        if track not in self._topics:
            return
        (self._subscribed.add if subscribed else self._subscribed.discard)(track)
        self._camera.demand(bool(self._subscribed))

    def answer_join(self, topic: bytes) -> None:
        """Publishes the cached GOP on somebody's own topic."""
        for unit in self._gop.units():
            self._bus.publish(wire.encode_access_unit(topic, unit))
        self._bus.publish(wire.encode_join_end(topic, self._epoch, self._output.video.next_sequence))

    def report(self) -> RenditionReport:
        """What it does now."""
        return rendition_report(self.name, self._camera, self._output)

    def _publish(self, unit: AccessUnit) -> None:
        self._bus.publish(wire.encode_access_unit(self._topics[unit.track], unit))
        self._gop.add(unit)

    def _on_event(self, state: RenditionState, reason: str | None, at_ns: int) -> None:
        if state not in ("live", "stalled"):
            self._gop.clear()
        self._bus.event(CameraEvent(self._of, self.name, at_ns, state, reason))
