"""What RTP's sequence numbers tell: order, loss, jitter; and the receiver report (RFC 3550 A.1, A.3, A.8)."""

import enum

from common.rtp import ReceiverReport, ReportBlock, SenderReport, SourceDescription, serialize_rtcp
from common.units import sequence_delta, timestamp_delta

MAX_DROPOUT = 3000  # RFC 3550 appendix A.1
MAX_MISORDER = 100


class Arrival(enum.Enum):
    """How a packet fits behind the one before."""

    IN_ORDER = enum.auto()
    AFTER_LOSS = enum.auto()
    "Packets are missing in front of it."
    LATE = enum.auto()
    "A repetition, or older than what was read already: of no use."
    RESTARTED = enum.auto()
    "Another source or a sequence that began anew."


class Reception:
    """Follows one RTP source over one connection; `cname` and `own_ssrc` sign the reports."""

    def __init__(self, clock_rate: int, own_ssrc: int, cname: str) -> None:
        self.lost = 0
        "Packets missing by sequence number."
        self.ssrc: int | None = None
        "The source that is followed; None before its first packet."
        self._clock_rate = clock_rate
        self._own_ssrc = own_ssrc
        self._cname = cname
        self._base = 0
        self._highest = 0
        self._received = 0
        self._timestamp = 0
        self._arrived_at: float | None = None
        self._reported = (0, 0)
        self._jitter = 0.0
        self._last_sr = 0
        self._last_sr_at: float | None = None

    @property
    def jitter_s(self) -> float:
        """Interarrival jitter (section 6.4.1)."""
        return self._jitter / self._clock_rate

    def packet(self, ssrc: int, sequence: int, timestamp: int, now: float, timed: bool = True) -> Arrival:
        """Takes note of a packet that came at `now`, monotonic seconds; not `timed`, some while before."""
        if ssrc != self.ssrc:
            first = self.ssrc is None
            self._restart(ssrc, sequence, timestamp, now)
            return Arrival.IN_ORDER if first else Arrival.RESTARTED
        if timestamp != self._timestamp:
            self._follow_jitter(timestamp, now if timed else None)
        if sequence == (self._highest + 1) & 0xFFFF:
            # The path of nearly all packets: kept short.
            self._highest += 1
            self._received += 1
            return Arrival.IN_ORDER
        step = sequence_delta(sequence, self._highest & 0xFFFF)
        if -MAX_MISORDER < step <= 0:
            return Arrival.LATE
        if step < 0 or step > MAX_DROPOUT:
            self.lost += 1
            self._restart(ssrc, sequence, timestamp, now)
            return Arrival.RESTARTED
        self.lost += step - 1
        self._highest += step
        self._received += 1
        return Arrival.AFTER_LOSS

    def _restart(self, ssrc: int, sequence: int, timestamp: int, now: float) -> None:
        self.ssrc = ssrc
        self._base = self._highest = sequence
        self._received = 1
        self._reported = (0, 0)
        self._jitter = 0.0
        self._last_sr_at = None
        self._timestamp = timestamp
        self._arrived_at = now

    def _follow_jitter(self, timestamp: int, now: float | None) -> None:
        """RFC 3550 section 6.4.1 and appendix A.8, in ticks.

        Once for each timestamp: the packets of a large picture share one and take their time.
        """
        if now is not None and self._arrived_at is not None:
            passed = (now - self._arrived_at) * self._clock_rate
            change = abs(passed - timestamp_delta(timestamp, self._timestamp))
            # A timestamp that jumps is not jitter.
            if change < 10 * self._clock_rate:
                self._jitter += (change - self._jitter) / 16
        self._timestamp = timestamp
        self._arrived_at = now

    def sender_report(self, report: SenderReport, now: float) -> None:
        """Takes note of a sender report, to be echoed in ours."""
        if report.ssrc == self.ssrc:
            self._last_sr = report.ntp >> 16 & 0xFFFF_FFFF
            self._last_sr_at = now

    def report(self, now: float) -> bytes:
        """A compound packet of receiver report and CNAME (section 6.1)."""
        blocks: tuple[ReportBlock, ...] = ()
        if self.ssrc is not None:
            expected = self._highest - self._base + 1
            before_expected, before_received = self._reported
            expected_now = expected - before_expected
            lost_now = expected_now - (self._received - before_received)
            self._reported = (expected, self._received)
            fraction = min(255, (lost_now << 8) // expected_now) if expected_now > 0 and lost_now > 0 else 0
            since = now - self._last_sr_at if self._last_sr_at is not None else 0.0
            blocks = (
                ReportBlock(
                    ssrc=self.ssrc,
                    fraction_lost=fraction,
                    packets_lost=min(expected - self._received, 0x7F_FFFF),
                    highest_sequence=self._highest & 0xFFFF_FFFF,
                    jitter=int(self._jitter) & 0xFFFF_FFFF,
                    last_sr=self._last_sr if self._last_sr_at is not None else 0,
                    delay_since_last_sr=min(int(since * 65_536), 0xFFFF_FFFF),
                ),
            )
        return serialize_rtcp(ReceiverReport(self._own_ssrc, blocks)) + serialize_rtcp(
            SourceDescription(self._own_ssrc, self._cname)
        )
