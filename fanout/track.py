"""One track of one rendition in a worker: its timeline, its history, and the viewers that are given it."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from common.access_unit import AccessUnit
from common.units import unix_ns_to_ntp
from fanout.delivery import Delivery
from fanout.egress import Egress, Lane
from fanout.history import History
from fanout.packetizing.packetized import CLOCK_RATES, PacketizedUnit
from fanout.packetizing.packetizer import packetize, packetize_audio
from fanout.sender import Source, packets_per_s

log = logging.getLogger(__name__)

# A camera's RTP clock that departs this far from arrival was restarted, not late.
MAX_CLOCK_STEP_S = 2
# Of one arrival after the other, by UTC, less what passed meanwhile: more is the server's clock being set.
MAX_UTC_STEP_S = 1
DEFAULT_FRAME_S = 0.04
MAX_FRAME_S = 0.25
FRAME_SMOOTHING = 4
# Capture time and transport sequence numbers go with keyframes, and with units this far apart.
ANNOUNCE_INTERVAL_NS = 1_000_000_000
RATE_WINDOW_NS = 2_000_000_000
# The first figure comes early, if rough: joins are paced by it, and very slowly while there is none.
FIRST_RATE_WINDOW_NS = 200_000_000


class UnitReceiver(Protocol):
    """A viewer's side of a track."""

    def follow(self, source: Source) -> None:
        """Is given units of this source from now on."""
        ...

    def send_cached(self, units: Sequence[PacketizedUnit]) -> None:
        """Takes the cached GOP."""
        ...

    def ready(self, unit: PacketizedUnit) -> Lane | None:
        """The lane to send a live unit on; None when the receiver dealt with it."""
        ...

    def refused(self) -> None:
        """The unit of the last `ready` was not taken by the kernel."""
        ...

    def is_owed(self, unit: PacketizedUnit) -> bool:
        """What is left of a unit is still to be sent."""
        ...

    def failed(self) -> None:
        """It raised something and is given nothing more."""
        ...


class ContinuousTimeline:
    """Carries a track over restarts of camera and ingest without a step back.

    `monotonic_s` tells the time of units that come one by one: those that are UTC may be set.
    """

    def __init__(self, clock_rate: int, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_rate = clock_rate
        self._monotonic_s = monotonic_s
        self._placed_s = 0.0
        self._offset = 0
        self._epoch: int | None = None
        self._last_timestamp = 0
        self._last_arrival_ns = 0
        self.frame_ticks = int(DEFAULT_FRAME_S * clock_rate)

    def place(self, unit: AccessUnit) -> int:
        """The unit's timestamp on the timeline: always later than the one before."""
        if unit.clock_rate != self._clock_rate:
            # Another codec: the timeline goes on in its ticks.
            self._last_timestamp = self._last_timestamp * unit.clock_rate // self._clock_rate
            self._clock_rate = unit.clock_rate
            self.frame_ticks = int(DEFAULT_FRAME_S * unit.clock_rate)
            self._epoch = None if self._epoch is None else -1
        timestamp = unit.timestamp + self._offset
        now_s = self._monotonic_s()
        if self._epoch is None:
            self._offset = -unit.timestamp
            timestamp = 0
        else:
            elapsed = (unit.arrival_ns - self._last_arrival_ns) * self._clock_rate // 1_000_000_000
            elapsed = min(elapsed, int((now_s - self._placed_s + MAX_UTC_STEP_S) * self._clock_rate))
            step = timestamp - self._last_timestamp
            if unit.epoch != self._epoch or abs(step - elapsed) > MAX_CLOCK_STEP_S * self._clock_rate:
                timestamp = self._last_timestamp + max(self.frame_ticks, elapsed)
                self._offset = timestamp - unit.timestamp
            elif step <= 0:
                timestamp = self._last_timestamp + 1
            elif step <= MAX_FRAME_S * self._clock_rate:
                # Two units close together do not make the next one due sooner.
                self.frame_ticks += (step - self.frame_ticks) // FRAME_SMOOTHING
        self._epoch = unit.epoch
        self._last_timestamp = timestamp
        self._last_arrival_ns = unit.arrival_ns
        self._placed_s = now_s
        return timestamp


class Track:
    """Units in, once; units out to every receiver."""

    def __init__(self, name: str, egress: Egress, clock_rate: int) -> None:
        self._name = name
        self._delivery = Delivery(egress)
        self._timeline = ContinuousTimeline(clock_rate)
        self._announced_ns = 0
        self._window_ns = 0
        self._window_octets = 0
        self.receivers: set[UnitReceiver] = set()
        self.history = History()
        self.bitrate = 0
        "Bits per second of RTP payload, over the last seconds; 0 while not known."

    @property
    def frame_ticks(self) -> int:
        """Ticks from one unit to the next."""
        return self._timeline.frame_ticks

    def video(self, unit: AccessUnit) -> PacketizedUnit | None:
        """Places, packetizes and keeps a picture; None when nothing in it is for a decoder."""
        timestamp = self._timeline.place(unit)
        announced = unit.keyframe or unit.arrival_ns - self._announced_ns >= ANNOUNCE_INTERVAL_NS
        capture_ntp = unix_ns_to_ntp(unit.capture_ns) if announced else 0
        packetized = packetize(unit, timestamp, self.history.next_number, capture_ntp)
        if packetized is not None:
            if announced:
                self._announced_ns = unit.arrival_ns
            self._measure(unit, packetized)
            self.history.add(packetized)
        return packetized

    def pass_over(self, unit: AccessUnit) -> None:
        """A picture that cannot be shown still moves the timeline."""
        self._timeline.place(unit)

    def audio(self, unit: AccessUnit) -> tuple[PacketizedUnit, ...]:
        """Places, packetizes and keeps audio frames."""
        timestamp = self._timeline.place(unit)
        packetized = packetize_audio(unit, timestamp, self.history.next_number)
        for each in packetized:
            self._measure(unit, each)
            self.history.add(each)
        return packetized

    def _measure(self, unit: AccessUnit, packetized: PacketizedUnit) -> None:
        elapsed_ns = unit.arrival_ns - self._window_ns
        if not 0 <= elapsed_ns < 2 * RATE_WINDOW_NS:
            self._window_ns, self._window_octets = unit.arrival_ns, 0
        elif elapsed_ns >= (RATE_WINDOW_NS if self.bitrate else FIRST_RATE_WINDOW_NS):
            self.bitrate = self._window_octets * 8_000_000_000 // elapsed_ns
            self._window_ns, self._window_octets = unit.arrival_ns, 0
        self._window_octets += packetized.octets

    def give(self, unit: PacketizedUnit, receivers: Sequence[UnitReceiver], marker: bool) -> None:
        """Sends a live unit to these receivers."""
        self._delivery.finish()
        recipients: list[tuple[UnitReceiver, Lane]] = []
        for receiver in receivers:
            try:
                lane = receiver.ready(unit)
            except Exception:
                # One viewer's fault must not stop the others.
                log.exception("! %s: a viewer cannot be served and is left out", self._name)
                self.receivers.discard(receiver)
                receiver.failed()
                continue
            if lane is not None:
                recipients.append((receiver, lane))
        if recipients:
            frame_s = self.frame_ticks / CLOCK_RATES[unit.codec]
            self._delivery.send(unit, recipients, marker, packets_per_s(self.bitrate), frame_s)

    def close(self) -> None:
        """Sends nothing more."""
        self._delivery.cancel()
