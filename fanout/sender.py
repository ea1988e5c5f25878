"""One viewer's RTP stream of one kind: which unit goes out when, from which source (RFC 3550).

A live unit normally goes to all viewers in one call of the egress; what is not normal is dealt with here: the
cached GOP of a join, large keyframes, a way that is full, another rendition or codec to go on with.
"""

import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from common.rtp import SenderReport, SourceDescription, serialize_rtcp
from common.units import unix_ns_to_ntp
from fanout.egress import Lane
from fanout.history import History, compressed_timestamps
from fanout.outlet import Outlet
from fanout.pacer import Pacer
from fanout.packetized import CLOCK_RATES, MAX_DATAGRAM, PacketizedUnit, Runs
from fanout.sent import SentLog

# A cached GOP of 16 MB and as much again of what arrives while it is sent.
MAX_BACKLOG_OCTETS = 32 << 20
# Chromium's socket buffer of 64 KiB holds some 50 packets.
BURST_PACKETS = 40
# Fewer are not worth a system call of their own.
PORTION_PACKETS = 8
# Paced media leaves this much faster than it plays: 10 s of GOP in 0.6 s.
PACE_FACTOR = 16
MIN_PACE_BITS_PER_S = 8_000_000
MAX_PACE_BITS_PER_S = 80_000_000
MAX_STEP_NS = 10_000_000_000  # between two sources of one camera; more is a clock that was set


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


class RtpSender:
    """Decides for each unit of the stream that it is given to; `lane` protects and counts.

    `payload_types` has the negotiated payload type of each codec; a unit of any other calls `on_codec(name)`
    once and is not sent.
    """

    def __init__(
        self,
        outlet: Outlet,
        pacer: Pacer,
        lane: Lane,
        payload_types: Mapping[str, int],
        on_codec: Callable[[str], None],
        *,
        marks_units: bool = True,
    ) -> None:
        self._outlet = outlet
        self._pacer = pacer
        self._lane = lane
        self._payload_types = payload_types
        self._on_codec = on_codec
        # The marker bit ends an access unit of video; of audio it would begin a talkspurt (RFC 3551 4.1).
        self._marks_units = marks_units
        self._codec: str | None = None
        self._unusable: str | None = None
        self._clock_rate = 90_000
        self._source: Source | None = None
        self._last_timestamp: int | None = None
        self._last_capture_ns = 0
        self._awaiting_keyframe = True
        self._backlog: deque[tuple[PacketizedUnit, int]] = deque()
        self._backlog_octets = 0
        self._run = 0
        self._offset = 0
        self._allowance = float(BURST_PACKETS)
        self._pumped_at = 0.0
        self._packets_per_s = 0.0
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
        if unit.codec != self._codec and not self._use(unit.codec):
            return None
        last = self._last_timestamp
        in_order = last is None or unit.timestamp > last
        if not in_order or self._backlog or unit.packets > BURST_PACKETS or not self._outlet.direct:
            assert last is not None or in_order
            self._deal(unit, unit.timestamp if last is None or in_order else last + 1)
            return None
        self._last_timestamp = unit.timestamp
        self._last_capture_ns = unit.capture_ns
        lane = self._lane
        assert self._source is not None
        self.sent.note(lane.index, unit.number, lane.timestamp_offset, self._source.history)
        return lane

    def refused(self) -> None:
        """The kernel did not take what `ready` gave the lane for."""
        self._refuse(1)

    def _use(self, codec: str) -> bool:
        payload_type = self._payload_types.get(codec)
        if payload_type is None:
            self._codec = None
            self._awaiting_keyframe = True
            if codec != self._unusable:
                self._unusable = codec
                self._on_codec(codec)
            return False
        self._codec = codec
        self._lane.payload_type = payload_type
        self._clock_rate = CLOCK_RATES[codec]
        return True

    def _deal(self, unit: PacketizedUnit, timestamp: int) -> None:
        self._last_timestamp = timestamp
        self._last_capture_ns = unit.capture_ns
        if self._backlog or unit.packets > BURST_PACKETS:
            if not self._backlog:
                self._set_pace(unit.packets)
            self._queue(unit, timestamp)
        elif not self._emit(unit, unit.runs, timestamp, self._marks_units):
            self._refuse(1)

    def follow(self, source: Source, unit: PacketizedUnit | None) -> None:
        """Units come from this source from now on, its next keyframe first.

        `unit`, its newest, is placed by its capture time: sequence numbers and timestamps go on without a
        break.
        """
        self._source = source
        self._forget_backlog()
        self._awaiting_keyframe = True
        if unit is None or self._last_timestamp is None:
            return
        elapsed_ns = unit.capture_ns - self._last_capture_ns
        if not 0 < elapsed_ns < MAX_STEP_NS:
            elapsed_ns = 1
        elapsed = max(1, elapsed_ns * CLOCK_RATES[unit.codec] // 1_000_000_000)
        shift = self._last_timestamp + elapsed - unit.timestamp
        self._lane.timestamp_offset = (self._lane.timestamp_offset + shift) & 0xFFFF_FFFF
        self._last_timestamp = unit.timestamp - elapsed

    def send_cached(self, units: Sequence[PacketizedUnit]) -> None:
        """Sends a cached GOP at once: the picture of a join, the answer to a keyframe request.

        All of it gets timestamps within one frame interval, after anything sent before.
        """
        if not units or self._backlog or self.held:
            return
        if self.keyframes_only:
            units = units[:1]
        if units[-1].codec != self._codec and not self._use(units[-1].codec):
            return
        assert self._source is not None
        self._awaiting_keyframe = False
        last = units[-1].timestamp
        span = self._source.frame_ticks
        if self._last_timestamp is not None:
            span = max(span * 4 // 5, len(units))
            last = max(last, self._last_timestamp + span)
        self._set_pace(0)
        for unit, timestamp in zip(units, compressed_timestamps(units, last, span), strict=True):
            self._queue(unit, timestamp)
        self._last_timestamp = last
        self._last_capture_ns = units[-1].capture_ns

    def _set_pace(self, packets_per_frame: int) -> None:
        """A multiple of the stream's own rate, and at least so many packets before the next frame."""
        assert self._source is not None
        bitrate = self._source.bitrate
        pace = min(max(bitrate * PACE_FACTOR, MIN_PACE_BITS_PER_S), MAX_PACE_BITS_PER_S)
        if self.max_bitrate is not None:
            pace = min(pace, max(self.max_bitrate, bitrate))
        frame_s = self._source.frame_ticks / self._clock_rate
        self._packets_per_s = max(pace / (8 * MAX_DATAGRAM), packets_per_frame / (0.9 * frame_s))

    def _queue(self, unit: PacketizedUnit, timestamp: int) -> None:
        if self._backlog_octets + unit.octets > MAX_BACKLOG_OCTETS:
            self._refuse(len(self._backlog) + 1)
            return
        self._backlog.append((unit, timestamp))
        self._backlog_octets += unit.octets
        self._pacer.add(self)

    def pump(self, now: float) -> float | None:
        """Sends what the rate allows of the backlog; when to be called again, None when it is empty."""
        rate = self._packets_per_s
        allowance = min(BURST_PACKETS, self._allowance + (now - self._pumped_at) * rate)
        self._pumped_at = now
        while self._backlog:
            unit, timestamp = self._backlog[0]
            run = unit.runs[self._run]
            end = min(len(run), self._offset + int(allowance))
            if end == self._offset or (end < len(run) and end - self._offset < PORTION_PACKETS):
                break
            part = run if end - self._offset == len(run) else run[self._offset : end]
            allowance -= len(part)
            run_ends = end == len(run)
            unit_ends = run_ends and self._run == len(unit.runs) - 1
            number = unit.number + sum(map(len, unit.runs[: self._run])) + self._offset
            if not self._emit(unit, (part,), timestamp, unit_ends and self._marks_units, number):
                self._refuse(len(self._backlog))
                return None
            if unit_ends:
                self._backlog.popleft()
                self._backlog_octets -= unit.octets
                self._run = self._offset = 0
            elif run_ends:
                self._run += 1
                self._offset = 0
            else:
                self._offset = end
        self._allowance = allowance
        if not self._backlog:
            return None
        return now + max(PORTION_PACKETS - allowance, 1) / rate

    def _emit(
        self, unit: PacketizedUnit, runs: Runs, timestamp: int, marker: bool, number: int | None = None
    ) -> bool:
        lane = self._lane
        offset = lane.timestamp_offset + timestamp - unit.timestamp
        assert self._source is not None
        number = unit.number if number is None else number
        self.sent.note(lane.index, number, offset, self._source.history)
        return self._outlet.send(lane, runs, timestamp, marker, unit.capture_ntp)

    def _refuse(self, frames: int) -> None:
        self.refused_frames += 1
        self._drop(frames)

    def _drop(self, frames: int) -> None:
        """Gives up everything to the next keyframe."""
        self._forget_backlog()
        self._awaiting_keyframe = True
        self.dropped_frames += frames

    def _forget_backlog(self) -> None:
        self._backlog.clear()
        self._backlog_octets = 0
        self._run = self._offset = 0

    def skip(self) -> None:
        """Leaves out everything up to a keyframe: the link has to drain."""
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
        self._forget_backlog()
