"""One viewer's RTP stream: its sequence, timestamps and backlog (RFC 3550)."""

import secrets
from collections import deque
from collections.abc import Sequence

from common.rtp import SenderReport, SourceDescription, serialize_rtcp
from common.units import VIDEO_CLOCK_RATE, unix_ns_to_ntp
from fanout.egress import Address, Egress
from fanout.gop import MAX_OCTETS, compressed_timestamps
from fanout.pacer import PACKETS_PER_TICK, Pacer
from fanout.packetizer import PacketizedUnit
from fanout.srtp import Protector

# A cached GOP and as much again of what arrives while it is sent.
MAX_BACKLOG_OCTETS = 2 * MAX_OCTETS


class RtpSender:
    """Turns the shared units of a stream into one viewer's protected packets.

    Units go straight out while there is no backlog; the cached GOP of a join and large keyframes go through
    the pacer. A packet that the kernel refuses costs this viewer the frames up to the next keyframe.
    """

    def __init__(
        self, egress: Egress, pacer: Pacer, protector: Protector, address: Address, ssrc: int
    ) -> None:
        self._egress = egress
        self._pacer = pacer
        self._protector = protector
        self.address = address
        self.ssrc = ssrc
        # Both start at random (RFC 3550 section 5.1); the sequence in the lower half, so that a receiver
        # cannot guess the rollover counter wrong in the first packets (RFC 3711 section 3.3.1).
        self._index = secrets.randbelow(1 << 15)
        self._timestamp_offset = secrets.randbelow(1 << 32)
        self._last_timestamp: int | None = None
        self._last_capture_ns = 0
        self._awaiting_keyframe = True
        self._backlog: deque[tuple[PacketizedUnit, int]] = deque()
        self._backlog_octets = 0
        self._backlog_run = 0
        self.packets = 0
        self.octets = 0
        self.dropped_frames = 0

    def send(self, unit: PacketizedUnit) -> None:
        """The next live unit."""
        if self._awaiting_keyframe:
            if not unit.keyframe:
                self.dropped_frames += self._last_timestamp is not None
                return
            self._awaiting_keyframe = False
        timestamp = unit.timestamp
        if self._last_timestamp is not None and timestamp <= self._last_timestamp:
            timestamp = self._last_timestamp + 1
        self._last_timestamp = timestamp
        self._last_capture_ns = unit.capture_ns
        if self._backlog or unit.packets > PACKETS_PER_TICK:
            self._queue(unit, timestamp)
            return
        last = len(unit.runs) - 1
        for position in range(last + 1):
            if not self._send_run(unit, position, timestamp, position == last):
                self._drop(1)
                return

    def send_cached(self, units: Sequence[PacketizedUnit], frame_ticks: int) -> None:
        """Sends a cached GOP at once: the picture of a join, the answer to a keyframe request.

        All of it gets timestamps within one frame interval (`frame_ticks`), after anything sent before.
        """
        if not units or self._backlog:
            return
        self._awaiting_keyframe = False
        last = units[-1].timestamp
        if self._last_timestamp is not None:
            span = max(frame_ticks * 4 // 5, len(units))
            last = max(last, self._last_timestamp + span)
        else:
            span = frame_ticks
        for unit, timestamp in zip(units, compressed_timestamps(units, last, span), strict=True):
            self._queue(unit, timestamp)
        self._last_timestamp = last
        self._last_capture_ns = units[-1].capture_ns

    def _queue(self, unit: PacketizedUnit, timestamp: int) -> None:
        if self._backlog_octets + unit.octets > MAX_BACKLOG_OCTETS:
            self._drop(len(self._backlog) + 1)
            return
        self._backlog.append((unit, timestamp))
        self._backlog_octets += unit.octets
        self._pacer.add(self)

    def pump(self, packets: int) -> bool:
        """Sends at most `packets` of the backlog; False when it is empty."""
        while self._backlog:
            unit, timestamp = self._backlog[0]
            position = self._backlog_run
            if len(unit.runs[position]) > packets:
                break
            last = position == len(unit.runs) - 1
            if not self._send_run(unit, position, timestamp, last):
                self._drop(len(self._backlog))
                return False
            packets -= len(unit.runs[position])
            if last:
                self._backlog.popleft()
                self._backlog_octets -= unit.octets
                self._backlog_run = 0
            else:
                self._backlog_run = position + 1
        return bool(self._backlog)

    def _send_run(self, unit: PacketizedUnit, position: int, timestamp: int, marker: bool) -> bool:
        payloads = unit.runs[position]
        wire_timestamp = (timestamp + self._timestamp_offset) & 0xFFFF_FFFF
        protected = self._protector.protect(payloads, self._index, wire_timestamp, marker)
        # Also when the kernel refuses: an index used twice would break AES-GCM (RFC 7714 section 8.1), and
        # the gap tells the receiver.
        self._index += len(payloads)
        if not self._egress.send_run(protected, self.address):
            return False
        self.packets += len(payloads)
        if marker:
            self.octets += unit.octets
        return True

    def _drop(self, frames: int) -> None:
        """Gives up everything to the next keyframe."""
        self._backlog.clear()
        self._backlog_octets = 0
        self._backlog_run = 0
        self._awaiting_keyframe = True
        self.dropped_frames += frames

    def report(self, now_ns: int, cname: str) -> bytes | None:
        """Sender report and CNAME (RFC 3550 sections 6.4.1, 6.5); None before the first packet.

        NTP and RTP time name the same moment of the camera's clock, so audio and video play in step.
        """
        if self._last_timestamp is None or not self.packets:
            return None
        elapsed = (now_ns - self._last_capture_ns) * VIDEO_CLOCK_RATE // 1_000_000_000
        timestamp = (self._last_timestamp + elapsed + self._timestamp_offset) & 0xFFFF_FFFF
        report = SenderReport(
            self.ssrc,
            unix_ns_to_ntp(now_ns),
            timestamp,
            self.packets & 0xFFFF_FFFF,
            self.octets & 0xFFFF_FFFF,
        )
        return serialize_rtcp(report) + serialize_rtcp(SourceDescription(self.ssrc, cname))

    def close(self) -> None:
        """Forgets the backlog."""
        self._pacer.discard(self)
        self._backlog.clear()
