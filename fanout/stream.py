"""One rendition of a camera in one worker: subscribe, join, give its tracks to all viewers."""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable

from common import wire
from common.access_unit import AccessUnit
from common.bus import MediaSubscriber
from common.errors import BusError
from common.messages import Rendition
from common.units import VIDEO_CLOCK_RATE
from fanout.egress import Egress
from fanout.packetizing.packetized import CLOCK_RATES, PacketizedUnit
from fanout.packetizing.packetizer import AUDIO_CODECS, VIDEO_CODECS
from fanout.track import Track, UnitReceiver

log = logging.getLogger(__name__)

JOIN_DEADLINE_S = 0.5
SILENT_AFTER_S = 1.0
# A viewer takes a picture of 2 s ago for stale; what is older is not given twice.
STALE_NS = 2_000_000_000


class Stream:
    """A rendition's media as one worker has it, from the first viewer to some time after the last."""

    def __init__(self, camera: str, rendition: Rendition, worker: str, endpoint: str, egress: Egress) -> None:
        self.camera = camera
        self.rendition = rendition
        self.video = Track(f"camera {camera} {rendition} video", egress, VIDEO_CLOCK_RATE)
        self.audio = Track(f"camera {camera} {rendition} audio", egress, CLOCK_RATES["OPUS"])
        self.unsendable: str | None = None
        "The codec that the camera sends, when it is none that can be packetized."
        self.gaps = 0
        "Breaks in `sequence` within one epoch: units that the bus dropped."
        self._epoch: int | None = None
        self._next_sequence = 0
        self._decodable = False
        self._refused_version = False
        self._about = {"camera": camera}
        self._awaiting: dict[Callable[[], None], None] = {}
        self._video_topic = wire.live_topic(rendition, "video")
        self._audio_topic = wire.live_topic(rendition, "audio")
        self._join_topic = wire.join_topic(rendition, worker, secrets.randbits(64))
        self._joined: list[AccessUnit] = []
        # Live units that arrive before the end of the join; None once the join is over.
        self._held: list[AccessUnit] | None = []
        self._subscriber = MediaSubscriber(endpoint, self._on_message)
        for topic in (self._video_topic, self._audio_topic, self._join_topic):
            self._subscriber.subscribe(topic)
        self._loop = asyncio.get_running_loop()
        self._heard_s = self._loop.time()
        self._last_unit_s: float | None = None
        self._deadline: asyncio.Handle = self._loop.call_later(JOIN_DEADLINE_S, self._join_is_late)
        self.has_sound = False
        "Audio for browsers was seen."

    @property
    def has_picture(self) -> bool:
        """True when a viewer that is added now sees the present at once."""
        return bool(self.video.history.gop()) and not self._is_silent()

    def _is_silent(self) -> bool:
        return self._loop.time() - self._heard_s > SILENT_AFTER_S

    @property
    def last_unit_age_s(self) -> float | None:
        """Seconds since the bus brought a live picture, decodable or not; None before the first."""
        return self._loop.time() - self._last_unit_s if self._last_unit_s is not None else None

    @property
    def octets(self) -> int:
        """Memory held for joins and retransmissions."""
        return self.video.history.octets + self.audio.history.octets

    def add(self, receiver: UnitReceiver) -> None:
        """Starts giving video to a viewer, the cached GOP first."""
        self.video.receivers.add(receiver)
        receiver.follow(self.video)
        receiver.send_cached(self.video.history.gop())

    def when_picture(self, callback: Callable[[], None]) -> None:
        """Calls back once, when there is a picture; `has_picture` is False now."""
        self._awaiting[callback] = None

    def forget(self, callback: Callable[[], None]) -> None:
        """Takes `when_picture` back."""
        self._awaiting.pop(callback, None)

    def resend(self, receiver: UnitReceiver) -> None:
        """Answers a keyframe request.

        While the camera is silent there is nothing to answer with: what is cached was sent already, and
        pictures that keep coming would make a frozen view look live.
        """
        if not self._is_silent():
            receiver.send_cached(self.video.history.gop())

    def _on_message(self, frames: list[bytes]) -> None:
        try:
            message = wire.decode_media(frames)
        except BusError as exc:
            if not self._refused_version:
                self._refused_version = True
                log.error("! camera %s: %s", self.camera, exc, extra=self._about)
            return
        topic = frames[0]
        if topic == self._audio_topic:
            if isinstance(message, AccessUnit):
                self._take_audio(message)
        elif topic == self._video_topic:
            if isinstance(message, AccessUnit):
                self._last_unit_s = self._loop.time()
                if self._held is None:
                    self._take(message)
                else:
                    self._held.append(message)
        elif topic == self._join_topic and self._held is not None:
            if isinstance(message, AccessUnit):
                self._joined.append(message)
                self._deadline.cancel()
                self._deadline = self._loop.call_later(JOIN_DEADLINE_S, self._join_is_late)
            else:
                self._end_join()

    def _join_is_late(self) -> None:
        # After this process stood still the answer may lie unread: what can be read is read first.
        self._deadline = self._loop.call_later(0, self._loop.call_soon, self._end_join)

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
        if joined and not held and time.time_ns() - joined[-1].arrival_ns > STALE_NS:
            self._heard_s = -math.inf
        units = self.video.history.gop()
        # Viewers that are here already get all of it as the past that it is, not at its old pace.
        for receiver in tuple(self.video.receivers):
            try:
                receiver.send_cached(units)
            except Exception:
                log.exception(
                    "! camera %s: a viewer could not be given the cached pictures",
                    self.camera,
                    extra=self._about,
                )
                receiver.failed()
        if self.has_picture:
            self._tell_of_picture()

    def _take(self, unit: AccessUnit) -> None:
        self._heard_s = self._loop.time()
        packetized = self._append(unit)
        if packetized is None:
            return
        # Whoever is told of the first picture joins with a GOP that holds this unit already.
        receivers = tuple(self.video.receivers)
        if self._awaiting and self.has_picture:
            self._tell_of_picture()
        self.video.give(packetized, receivers, marker=True)

    def _take_audio(self, unit: AccessUnit) -> None:
        if unit.codec not in AUDIO_CODECS:
            return  # no browser takes it, whatever the camera was said to send when viewers joined
        self.has_sound = True
        if self.audio.receivers:
            for packetized in self.audio.audio(unit):
                self.audio.give(packetized, tuple(self.audio.receivers), marker=False)

    def _tell_of_picture(self) -> None:
        awaiting, self._awaiting = self._awaiting, {}
        for callback in awaiting:
            try:
                callback()
            except Exception:
                log.exception(
                    "! camera %s: a viewer could not be given the first picture",
                    self.camera,
                    extra=self._about,
                )

    def _append(self, unit: AccessUnit) -> PacketizedUnit | None:
        """Places, packetizes and keeps a unit; None when it is not to be shown."""
        if unit.epoch != self._epoch or unit.sequence != self._next_sequence:
            if unit.epoch == self._epoch:
                self.gaps += 1
            self._epoch = unit.epoch
            self._lose()
        self._next_sequence = unit.sequence + 1
        if unit.codec not in VIDEO_CODECS:
            self.unsendable = unit.codec
            self._lose()
            return None
        self.unsendable = None
        if unit.keyframe:
            self._decodable = True
        if not self._decodable:
            self.video.pass_over(unit)
            return None
        return self.video.video(unit)

    def _lose(self) -> None:
        """What follows cannot be decoded with what was before."""
        self._decodable = False
        self.video.history.interrupt()

    def close(self) -> None:
        """Unsubscribes; an on-demand camera is released when every worker has."""
        self._deadline.cancel()
        self._held = None
        self._awaiting.clear()
        self.video.close()
        self.audio.close()
        self._subscriber.close()
