"""One camera in one worker: subscribe, join, keep one continuous timeline, give units to all viewers."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Protocol

from common import wire
from common.access_unit import AccessUnit
from common.bus import MediaSubscriber
from common.errors import BusError
from common.units import VIDEO_CLOCK_RATE
from fanout.gop import GopCache
from fanout.packetizer import PacketizedUnit, packetize

log = logging.getLogger(__name__)

RENDITION = "main"
LIVE_TOPIC = wire.live_topic(RENDITION, "video")
CODEC = "H264"  # what packetizer.py reads
JOIN_DEADLINE_S = 0.5
SILENT_AFTER_S = 1.0
DEFAULT_FRAME_TICKS = VIDEO_CLOCK_RATE // 25
MAX_FRAME_TICKS = VIDEO_CLOCK_RATE // 4
# A camera's RTP clock that departs this far from arrival was restarted, not late.
MAX_CLOCK_STEP = 2 * VIDEO_CLOCK_RATE


def problem_with(camera: str, codec: str | None) -> str | None:
    """Why browsers are not given what a camera sends, None when they are or the codec is not known yet."""
    if codec in (None, CODEC):
        return None
    return (
        f"camera {camera} sends {codec}; only {CODEC} is given to browsers: set the camera to {CODEC}, or "
        f"name a stream of it that is {CODEC} as its url"
    )


class UnitReceiver(Protocol):
    """A viewer's side of a stream."""

    def send(self, unit: PacketizedUnit) -> None:
        """Takes the next live unit."""
        ...

    def send_cached(self, units: Sequence[PacketizedUnit], frame_ticks: int) -> None:
        """Takes the cached GOP."""
        ...


class ContinuousTimeline:
    """Carries a stream over restarts of camera and ingest without a step back (90 kHz ticks)."""

    def __init__(self) -> None:
        self._offset = 0
        self._epoch: int | None = None
        self._last_timestamp = 0
        self._last_arrival_ns = 0
        self.frame_ticks = DEFAULT_FRAME_TICKS

    def place(self, unit: AccessUnit) -> int:
        """The unit's timestamp on the timeline: always later than the one before."""
        timestamp = unit.timestamp + self._offset
        if self._epoch is None:
            self._offset = -unit.timestamp
            timestamp = 0
        else:
            elapsed = (unit.arrival_ns - self._last_arrival_ns) * VIDEO_CLOCK_RATE // 1_000_000_000
            step = timestamp - self._last_timestamp
            if unit.epoch != self._epoch or abs(step - elapsed) > MAX_CLOCK_STEP:
                timestamp = self._last_timestamp + max(self.frame_ticks, elapsed)
                self._offset = timestamp - unit.timestamp
            elif step <= 0:
                timestamp = self._last_timestamp + 1
            elif step <= MAX_FRAME_TICKS:
                self.frame_ticks = step
        self._epoch = unit.epoch
        self._last_timestamp = timestamp
        self._last_arrival_ns = unit.arrival_ns
        return timestamp


class Stream:
    """A camera's media as one worker has it, from the first viewer to some time after the last."""

    def __init__(self, camera: str, worker: str, endpoint: str) -> None:
        self.camera = camera
        self.receivers: set[UnitReceiver] = set()
        self.problem: str | None = None
        "Why its pictures are not shown, None when they are."
        self.gaps = 0
        "Breaks in `sequence` within one epoch: units that the bus dropped."
        self._timeline = ContinuousTimeline()
        self._gop = GopCache()
        self._epoch: int | None = None
        self._next_sequence = 0
        self._decodable = False
        self._refused_version = False
        self._join_topic = wire.join_topic(RENDITION, worker, secrets.randbits(64))
        self._joined: list[AccessUnit] = []
        # Live units that arrive before the end of the join; None once the join is over.
        self._held: list[AccessUnit] | None = []
        self._subscriber = MediaSubscriber(endpoint, self._on_message)
        self._subscriber.subscribe(LIVE_TOPIC)
        self._subscriber.subscribe(self._join_topic)
        self._loop = asyncio.get_running_loop()
        self._heard_s = self._loop.time()
        self._deadline = self._loop.call_later(JOIN_DEADLINE_S, self._end_join)

    @property
    def frame_ticks(self) -> int:
        """The frame interval in 90 kHz ticks."""
        return self._timeline.frame_ticks

    @property
    def cached_octets(self) -> int:
        """Memory held by the cached GOP."""
        return self._gop.octets

    def add(self, receiver: UnitReceiver) -> None:
        """Starts giving units to a viewer, the cached GOP first."""
        self.receivers.add(receiver)
        receiver.send_cached(self._gop.units(), self.frame_ticks)

    def discard(self, receiver: UnitReceiver) -> None:
        """Stops giving units to a viewer."""
        self.receivers.discard(receiver)

    def resend(self, receiver: UnitReceiver) -> None:
        """Answers a viewer's keyframe request from the cached GOP.

        Not while the camera is silent: browsers then ask every few seconds, and the old pictures over and
        over would look live.
        """
        patience_s = max(SILENT_AFTER_S, 3 * self.frame_ticks / VIDEO_CLOCK_RATE)
        if self._loop.time() - self._heard_s < patience_s:
            receiver.send_cached(self._gop.units(), self.frame_ticks)

    def _on_message(self, frames: list[bytes]) -> None:
        try:
            message = wire.decode_media(frames)
        except BusError as exc:
            if not self._refused_version:
                self._refused_version = True
                log.error("! camera %s: %s", self.camera, exc)
            return
        if frames[0] == LIVE_TOPIC:
            if isinstance(message, AccessUnit):
                if self._held is None:
                    self._take(message)
                else:
                    self._held.append(message)
        elif frames[0] == self._join_topic and self._held is not None:
            if isinstance(message, AccessUnit):
                self._joined.append(message)
            else:
                self._end_join()

    def _end_join(self) -> None:
        """Merges the join's units with the live ones that came meanwhile, by sequence."""
        if self._held is None:
            return
        held, self._held = self._held, None
        joined, self._joined = self._joined, []
        self._deadline.cancel()
        self._subscriber.unsubscribe(self._join_topic)
        for unit in joined:
            self._append(unit)
        for unit in held:
            if unit.epoch != self._epoch or unit.sequence >= self._next_sequence:
                self._append(unit)
        # Viewers that are here already get all of it as the past that it is, not at its old pace.
        for receiver in self.receivers:
            receiver.send_cached(self._gop.units(), self.frame_ticks)

    def _take(self, unit: AccessUnit) -> None:
        self._heard_s = self._loop.time()
        packetized = self._append(unit)
        if packetized is None:
            return
        for receiver in tuple(self.receivers):
            try:
                receiver.send(packetized)
            except Exception:
                # One viewer's fault must not stop the others.
                log.exception("! camera %s: a viewer cannot be served and is left out", self.camera)
                self.receivers.discard(receiver)

    def _append(self, unit: AccessUnit) -> PacketizedUnit | None:
        """Places, packetizes and caches a unit; None when it is not to be shown."""
        if unit.epoch != self._epoch or unit.sequence != self._next_sequence:
            if unit.epoch == self._epoch:
                self.gaps += 1
            self._epoch = unit.epoch
            self._decodable = False
        self._next_sequence = unit.sequence + 1
        timestamp = self._timeline.place(unit)
        self.problem = problem_with(self.camera, unit.codec)
        if self.problem is not None:
            self._decodable = False
        elif unit.keyframe:
            self._decodable = True
        if not self._decodable:
            self._gop.clear()
            return None
        packetized = packetize(unit, timestamp)
        if packetized is not None:
            self._gop.add(packetized)
        return packetized

    def close(self) -> None:
        """Unsubscribes; an on-demand camera is released when every worker has."""
        self._deadline.cancel()
        self._subscriber.close()
