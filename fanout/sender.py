"""One viewer's RTP stream of one kind: which unit goes out when, from which source (RFC 3550).

A live unit normally goes to all viewers in one call of the egress; what is not normal is dealt with here: the
cached GOP of a join, large keyframes, a way that is full, another rendition or codec to go on with.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from common.rtp import SenderReport, SourceDescription, serialize_rtcp
from common.units import unix_ns_to_ntp
from fanout.backlog import BURST_PACKETS, Backlog
from fanout.egress import Lane
from fanout.history import History, compressed_timestamps
from fanout.outlet import Outlet
from fanout.pacer import Pacer
from fanout.packetizing.packetized import CLOCK_RATES, MAX_DATAGRAM, PacketizedUnit, Runs
from fanout.sent import SentLog

# Paced media leaves this much faster than it plays: 10 s of GOP in 0.6 s.
PACE_FACTOR = 16
MIN_PACE_BITS_PER_S = 8_000_000
MAX_PACE_BITS_PER_S = 80_000_000
# However little a link is said to carry, a backlog must shrink.
LEAST_PACE_FACTOR = 2
LEAST_PACE_BITS_PER_S = 64_000
# On a slow link a cached GOP is sent only where it is through so soon.
SLOW_GOP_S = 2.0
MAX_STEP_NS = 2_000_000_000
WRONG_CLOCK_NS = 10_000_000_000


class Source(Protocol):
    """What units come from."""

    history: History
    bitrate: int
    "Bits per second; 0 while not known."

    @property
    def frame_ticks(self) -> int:
        """Ticks from one unit to the next."""
        ...


def random_index() -> int:
    """Where a stream's packet index starts: at random (RFC 3550 section 5.1), in the lower half.

    A receiver then cannot guess the rollover counter wrong in the first packets (RFC 3711 section 3.3.1).
    """
    return secrets.randbelow(1 << 15)


def packets_per_s(bitrate: int) -> float:
    """How fast bursts of a stream of so many bits per second leave."""
    pace = min(max(bitrate * PACE_FACTOR, MIN_PACE_BITS_PER_S), MAX_PACE_BITS_PER_S)
    return pace / (8 * MAX_DATAGRAM)


class RtpSender:
    """Decides for each unit of the stream that it is given to; `lane` protects and counts.

    `payload_types` has the negotiated payload type of each codec; a unit of any other is not sent and calls
    `on_problem(text)` once, as does a failure.
    """

    def __init__(
        self,
        outlet: Outlet,
        pacer: Pacer,
        lane: Lane,
        payload_types: Mapping[str, int],
        on_problem: Callable[[str], None],
        *,
        marks_units: bool = True,
    ) -> None:
        self._outlet = outlet
        self._pacer = pacer
        self._lane = lane
        self._payload_types = payload_types
        self._on_problem = on_problem
        # The marker bit ends an access unit of video; of audio it would begin a talkspurt (RFC 3551 4.1).
        self._marks_units = marks_units
        self._codec: str | None = None
        self._unusable: str | None = None
        self._clock_rate = 90_000
        self._source: Source | None = None
        self._moved = False
        self._owed: PacketizedUnit | None = None
        self._last_timestamp: int | None = None
        self._last_capture_ns = 0
        self._awaiting_keyframe = True
        self._backlog = Backlog()
        self._packets_per_frame = 0
        self.sent = SentLog()
        self.keyframes_only = False
        "Only keyframes are wanted; the others are not counted as dropped."
        self.held = False
        "The link is too slow for what is sent: not even keyframes until it has drained."
        self.dropped_frames = 0
        "Frames not sent because the way was full or too slow."
        self.refused_frames = 0
        "Of those, the ones at which the way did not take something."
        self.max_bitrate: int | None = None
        "What the link carries, where that is known to be little: bursts are paced by it."
        outlet.add(lane)

    @property
    def ssrc(self) -> int:
        """SSRC of the stream."""
        return self._lane.ssrc

    @property
    def codec(self) -> str | None:
        """Of what is sent now; None before the first unit."""
        return self._codec

    def ready(self, unit: PacketizedUnit) -> Lane | None:
        """The lane on which the next live unit is to be sent as it is; None when it was dealt with here."""
        if self._awaiting_keyframe or self.keyframes_only:
            if not unit.keyframe:
                self.dropped_frames += not self.keyframes_only and self._last_timestamp is not None
                return None
            if self.held:
                self.dropped_frames += 1
                return None
            self._awaiting_keyframe = False
            self.sent.clear()
        if not self._take_up(unit):
            return None
        last = self._last_timestamp
        in_order = last is None or unit.timestamp > last
        slowly = self.max_bitrate is not None and unit.packets > BURST_PACKETS
        # Asked for every viewer of every unit: `if self._backlog` would call `__len__`.
        if not in_order or self._backlog.units or slowly or not self._outlet.direct:
            self._deal(unit, unit.timestamp if last is None or in_order else last + 1)
            return None
        self._owed = unit
        self._last_timestamp = unit.timestamp
        self._last_capture_ns = unit.capture_ns
        lane = self._lane
        assert self._source is not None
        self.sent.note(lane.index, unit.number, lane.timestamp_offset, self._source.history)
        return lane

    def is_owed(self, unit: PacketizedUnit) -> bool:
        """What is left of the unit that `ready` gave the lane for is still to be sent."""
        return self._owed is unit

    def refused(self) -> None:
        """The kernel did not take what `ready` gave the lane for."""
        self._refuse(1)

    def failed(self) -> None:
        """Whoever gives units cannot give them to this viewer any more."""
        self._on_problem("the worker failed to serve this viewer; its log says why")

    def _take_up(self, unit: PacketizedUnit) -> bool:
        """Prepares for a unit of perhaps another source or codec; False when it cannot be sent."""
        if unit.codec != self._codec:
            payload_type = self._payload_types.get(unit.codec)
            if payload_type is None:
                self._codec = None
                self._awaiting_keyframe = True
                if unit.codec != self._unusable:
                    self._unusable = unit.codec
                    self._on_problem(
                        f"the camera sends {unit.codec} now, which this session was not made for"
                    )
                return False
            if self._backlog:
                self._drop(len(self._backlog))
                self._awaiting_keyframe = False
            self._codec = unit.codec
            self._lane.payload_type = payload_type
            self._moved |= CLOCK_RATES[unit.codec] != self._clock_rate
            self._clock_rate = CLOCK_RATES[unit.codec]
        if self._moved:
            self._moved = False
            self._place(unit)
        return True

    def _place(self, unit: PacketizedUnit) -> None:
        """The first unit of another source follows the last one as far as their captures are apart."""
        if self._last_timestamp is None:
            return
        elapsed_ns = unit.capture_ns - self._last_capture_ns
        # Two streams of a camera may tell the time differently; the picture must not wait for that.
        elapsed_ns = min(elapsed_ns, MAX_STEP_NS) if 0 < elapsed_ns < WRONG_CLOCK_NS else 0
        elapsed = max(1, elapsed_ns * self._clock_rate // 1_000_000_000)
        shift = self._last_timestamp + elapsed - unit.timestamp
        self._lane.timestamp_offset = (self._lane.timestamp_offset + shift) & 0xFFFF_FFFF
        self._last_timestamp = unit.timestamp - elapsed

    def _deal(self, unit: PacketizedUnit, timestamp: int) -> None:
        self._owed = None
        self._last_timestamp = timestamp
        self._last_capture_ns = unit.capture_ns
        if self._backlog or unit.packets > BURST_PACKETS:
            self._packets_per_frame = unit.packets
            self._queue(unit, timestamp)
        elif not self._emit(unit, unit.runs, timestamp, True, unit.number):
            self._refuse(1)

    def follow(self, source: Source) -> None:
        """Units come from this source from now on, its next keyframe first.

        Sequence numbers and timestamps go on without a break.
        """
        self._source = source
        self._moved = True
        self._backlog.clear()
        self._owed = None
        self._awaiting_keyframe = True

    def send_cached(self, units: Sequence[PacketizedUnit]) -> None:
        """Sends a cached GOP at once: the picture of a join, the answer to a keyframe request.

        All of it gets timestamps within one frame interval, after anything sent before. Nothing is sent where
        it would fill a slow link: the next keyframe comes soon enough.
        """
        if not units or self._backlog or self.held:
            return
        if self.keyframes_only:
            units = units[:1]
        bits = 8 * sum(unit.octets for unit in units)
        if self.max_bitrate is not None and bits > SLOW_GOP_S * self.max_bitrate:
            return
        newest = units[-1]
        if not self._take_up(newest):
            return
        assert self._source is not None
        self._owed = None
        self._awaiting_keyframe = False
        # Chromium goes on asking for what is missing before a keyframe until it has decoded that.
        self.sent.clear()
        last = newest.timestamp
        span = self._source.frame_ticks
        capture_ns = newest.capture_ns
        if self._last_timestamp is not None:
            span = max(span * 4 // 5, len(units))
            last = max(last, self._last_timestamp + span)
            # Told by sender reports: what is repeated late was not captured late.
            passed_ns = (last - self._last_timestamp) * 1_000_000_000 // self._clock_rate
            capture_ns = max(capture_ns, self._last_capture_ns + passed_ns)
        self._packets_per_frame = 0
        for unit, timestamp in zip(units, compressed_timestamps(units, last, span), strict=True):
            self._queue(unit, timestamp)
        self._last_timestamp = last
        self._last_capture_ns = capture_ns

    def _queue(self, unit: PacketizedUnit, timestamp: int) -> None:
        if self._backlog.add(unit, timestamp):
            self._pacer.add(self)
        else:
            self._refuse(len(self._backlog) + 1)

    def pump(self, now: float) -> float | None:
        """Sends what the rate allows of the backlog; when to be called again, None when it is empty."""
        if self._backlog and self._backlog.is_late(now):
            self._drop(len(self._backlog))
        rate = self._packets_per_s()
        if not self._backlog.pump(now, rate, self._emit):
            self._refuse(len(self._backlog))
        return self._backlog.due(now, rate) if self._backlog else None

    def _packets_per_s(self) -> float:
        """A multiple of the stream's own rate; a large live unit is out before the next one."""
        assert self._source is not None
        bitrate = self._source.bitrate
        pace = packets_per_s(bitrate)
        if self.max_bitrate is not None:
            least = max(bitrate * LEAST_PACE_FACTOR, LEAST_PACE_BITS_PER_S)
            pace = min(pace, max(self.max_bitrate, least) / (8 * MAX_DATAGRAM))
        frame_s = self._source.frame_ticks / self._clock_rate
        return max(pace, self._packets_per_frame / (0.9 * frame_s))

    def _emit(self, unit: PacketizedUnit, runs: Runs, timestamp: int, ends: bool, number: int) -> bool:
        lane = self._lane
        assert self._source is not None
        offset = lane.timestamp_offset + timestamp - unit.timestamp
        self.sent.note(lane.index, number, offset, self._source.history)
        return self._outlet.send(lane, runs, timestamp, ends and self._marks_units, unit.capture_ntp)

    def _refuse(self, frames: int) -> None:
        self.refused_frames += 1
        self._drop(frames)

    def _drop(self, frames: int) -> None:
        """Gives up everything to the next keyframe."""
        self._backlog.clear()
        self._owed = None
        self._awaiting_keyframe = True
        self.dropped_frames += frames

    def skip(self) -> None:
        """Leaves out everything up to a keyframe."""
        if not self._awaiting_keyframe:
            self._drop(len(self._backlog))

    def report(self, now_ns: int, cname: str) -> bytes | None:
        """Sender report and CNAME (RFC 3550 sections 6.4.1, 6.5); None before the first packet.

        NTP and RTP time name the same moment of the camera's clock, so audio and video play in step.
        """
        lane = self._lane
        if self._last_timestamp is None or not lane.packets:
            return None
        elapsed = (now_ns - self._last_capture_ns) * self._clock_rate // 1_000_000_000
        timestamp = (self._last_timestamp + elapsed + lane.timestamp_offset) & 0xFFFF_FFFF
        report = SenderReport(
            lane.ssrc,
            unix_ns_to_ntp(now_ns),
            timestamp,
            lane.packets & 0xFFFF_FFFF,
            lane.octets & 0xFFFF_FFFF,
        )
        return serialize_rtcp(report) + serialize_rtcp(SourceDescription(lane.ssrc, cname))

    def close(self) -> None:
        """Forgets the backlog."""
        self._pacer.discard(self)
        self._backlog.clear()
        self._owed = None
