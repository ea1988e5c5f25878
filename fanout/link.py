"""What is known of one viewer's network: loss, round-trip time, queueing delay, what it carries.

Of each transport-wide feedback the last packet received counts: when it left, when it arrived, and how many
octets had left up to it. The receiver's clock has an unknown offset and rate, so delays are taken less their
least of the last seconds. Receiver reports (RFC 3550 section 6.4.1) tell the round-trip time, and loss where
no such feedback comes.

All `now_s` are CLOCK_MONOTONIC in seconds, the clock that departures are logged with.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from common.rtcp_feedback import REFERENCE_WRAP_US, TransportFeedback
from common.rtp import ReportBlock
from common.units import sequence_delta

RATE_WINDOW_US = 800_000
MIN_RATE_WINDOW_US = 200_000
FLOOR_S = 10.0
"The least delay is that of the last 10 to 20 s: clocks drift apart by 100 ppm, 2 ms in that time."
FULL_QUEUE_S = 0.3
FULL_AFTER_S = 0.8  # longer than a keyframe needs that fills the queue of a link that carries the stream
FALLING_S = 0.15
TREND_S = 1.0
LIMITED_QUEUE_S = 0.1
LIMITED_RISE_S = 0.05  # jitter of half a frame interval is less
CLOCK_STEP_S = 0.25
HEAVY_LOSS = 0.15  # less is mended by retransmission
HEAVY_AFTER_S = 1.0
OVERFLOW_LOSS = 0.05
# With 5 % of loss by chance, 23 of 150 packets are lost once in a million times; 5 of 33 once in fifty.
HEAVY_PACKETS = 20
LOSS_WINDOW_S = 1.0
MAX_LOSS_WINDOW_S = 5.0
LOSS_WINDOW_PACKETS = 150
SILENCE_S = 1.0
DRAINED_S = 0.5
IDLE_S = 1.2
MAX_SAMPLES = 128  # 20 a second are usual
MAX_RTT_S = 10.0
MIN_PROBE_PACKETS = 5
MAX_PROBE_PACKETS = 2000
PROBE_DEADLINE_S = 1.5


class SentLog(Protocol):
    """When packets left, by transport-wide sequence number: what Link needs of a viewer's TransportLog."""

    @property
    def sequence(self) -> int:
        """Of the next packet, from 0, not wrapped."""
        ...

    def sent(self, sequence: int, /) -> tuple[int, int] | None:
        """For a 16-bit sequence number: CLOCK_MONOTONIC in ns at departure, octets sent up to and with it."""
        ...


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of a probe."""

    began_s: float
    sent_bitrate: int
    "Of everything that left during the probe, in bits per second."
    bitrate: int
    "Of that, what arrived as it was sent or as fast as the link let it, in bits per second."
    loss: float
    "Share of its packets that did not arrive."
    queue_s: float
    "Queueing delay at its end."


@dataclass(slots=True)
class _Least:
    """The least value of the last FLOOR_S to twice as long."""

    _now: float | None = None
    _before: float | None = None
    _since_s: float = 0.0

    def add(self, value: float, now_s: float) -> float:
        if self._now is None or now_s - self._since_s > FLOOR_S:
            self._before, self._now, self._since_s = self._now, value, now_s
        elif value < self._now:
            self._now = value
        return self._now if self._before is None else min(self._now, self._before)


@dataclass(slots=True)
class _Losses:
    """Share of packets lost lately."""

    share: float = 0.0
    heavy: bool = False
    "More is lost than retransmission can mend, and has been for HEAVY_AFTER_S."
    _window: deque[tuple[float, int, int]] = field(default_factory=deque)
    _lost: int = 0
    _span: int = 0
    _heavy_since_s: float | None = None

    def count(self, lost: int, span: int, now_s: float) -> None:
        window = self._window
        window.append((now_s, lost, span))
        self._lost += lost
        self._span += span
        while len(window) > MAX_SAMPLES or (
            (age_s := now_s - window[0][0]) > LOSS_WINDOW_S
            and (age_s > MAX_LOSS_WINDOW_S or self._span - window[0][2] >= LOSS_WINDOW_PACKETS)
        ):
            _, lost, span = window.popleft()
            self._lost -= lost
            self._span -= span
        self.share = min(max(self._lost / self._span, 0.0), 1.0) if self._span > 0 else 0.0
        if self.share <= HEAVY_LOSS or self._lost < HEAVY_PACKETS or self._is_over(now_s):
            self._heavy_since_s = None
        elif self._heavy_since_s is None:
            self._heavy_since_s = now_s
        self.heavy = self._heavy_since_s is not None and now_s - self._heavy_since_s >= HEAVY_AFTER_S

    def _is_over(self, now_s: float) -> bool:
        """The last second tells of much less loss than the whole window."""
        recent = [(lost, span) for told_s, lost, span in self._window if now_s - told_s < LOSS_WINDOW_S]
        return sum(lost for lost, _ in recent) <= HEAVY_LOSS / 2 * sum(span for _, span in recent)


@dataclass(slots=True)
class _ProbeRun:
    """Departures and arrivals of a probe's packets."""

    first: int
    began_s: float
    end: int | None = None
    ended_s: float = 0.0
    points: list[tuple[int, int, int]] = field(default_factory=list)
    "Octets sent up to the packet, arrival in us, departure in ns."
    told: int = 0
    "How many of its packets were told of, as received or not."

    def take(self, feedback: TransportFeedback, log: SentLog) -> bool:
        """Takes what is told of its packets; True when all are told of."""
        count = 0x7FFF if self.end is None else self.end - self.first
        for sequence, arrival_us in feedback.received:
            if (sequence - self.first) & 0xFFFF < count and len(self.points) < MAX_PROBE_PACKETS:
                sent = log.sent(sequence)
                if sent is not None:
                    self.points.append((sent[1], arrival_us, sent[0]))
        told = sequence_delta(feedback.base_sequence + feedback.span, self.first & 0xFFFF)
        self.told = max(self.told, min(told, count))
        return self.told == count

    def result(self, queue_s: float) -> Probed:
        """Rates are slopes of octets over time through all packets, so that jitter averages out."""
        points = self.points
        if len(points) < MIN_PROBE_PACKETS:
            return Probed(self.began_s, 0, 0, 1.0, queue_s)
        octets = [float(point[0] - points[0][0]) for point in points]
        sent = _bitrate(octets, [(point[2] - points[0][2]) / 1e9 for point in points])
        arrived = _bitrate(octets, [_since_us(point[1], points[0][1]) / 1e6 for point in points])
        share = min(len(points) / self.told, 1.0)
        # Packets that a radio held back arrive all at once; no link is said to carry more than it was given.
        return Probed(self.began_s, int(sent), int(min(sent, arrived) * share), 1 - share, queue_s)


def _bitrate(octets: list[float], times_s: list[float]) -> float:
    """Bits per second: the least-squares slope of times over octets, turned over; at most 1 Gbit/s."""
    mean_octets = sum(octets) / len(octets)
    mean_s = sum(times_s) / len(times_s)
    spread = sum((each - mean_octets) ** 2 for each in octets)
    together = sum(
        (each - mean_octets) * (time_s - mean_s) for each, time_s in zip(octets, times_s, strict=True)
    )
    return min(8 * spread / together, 1e9) if together > 0 else 1e9


def _since_us(later_us: int, earlier_us: int) -> int:
    """Between two arrival times, which wrap."""
    half = REFERENCE_WRAP_US // 2
    return (later_us - earlier_us + half) % REFERENCE_WRAP_US - half


class Link:
    """One viewer's network. The caller hands in what the viewer tells; `QualityPolicy.decide` calls `check`.

    To probe (fanout/quality.py says when), the caller calls `probe_began` with the log's next sequence
    number, sends old packets again at the rate that was asked for, a few at a time, and calls `probe_ended`
    with the log's next sequence number. The outcome is soon in `probed`. Media goes on and counts with it.
    """

    def __init__(self) -> None:
        self.rtt_s: float | None = None
        "Of the last receiver report; None while none is known."
        self.available_bitrate: int | None = None
        """Bits per second of datagrams: what arrives while the link is full, else the most that it was lately
        seen to carry; without transport-wide feedback what the receiver estimates. None while unknown."""
        self.queue_s: float | None = None
        "Of the last packet told of: its delay less the least delay; None while nothing is sent."
        self.measures = False
        "Transport-wide feedback comes."
        self.stalled = False
        "Packets go out and feedback came before, but none has come for over SILENCE_S."
        self.probed: Probed | None = None
        "Outcome of the last probe; None while one is under way."
        self._full = False
        self._losses = _Losses()
        self._report_losses = _Losses()
        self._reported_sequence: int | None = None
        self._report_came = False
        self._reported_s = 0.0
        self._last: TransportFeedback | None = None
        self._heard_s = 0.0
        self._sent_s = 0.0
        self._octets = 0
        self._arrival_us = 0
        self._wire_arrival_us = 0
        self._delay = _Least()
        self._round_trip = _Least()
        self._delivered = 0.0
        self._acknowledged: deque[tuple[int, float]] = deque(maxlen=MAX_SAMPLES)  # arrival, octets till then
        self._carried = _Least()  # rates with the sign turned: their least is the most that was carried
        self._queues: deque[tuple[float, float]] = deque(maxlen=MAX_SAMPLES)
        self._full_since_s: float | None = None
        self._log: SentLog | None = None
        self._seen_sequence = 0
        self._silent_since_s: float | None = None
        self._probe: _ProbeRun | None = None

    @property
    def loss(self) -> float:
        """Share of packets lost on the way in the last second or more, before retransmission, 0 to 1."""
        return self._losses.share if self.measures else self._report_losses.share

    @property
    def congested(self) -> bool:
        """The link carries clearly less than is being sent.

        A queue stands and does not go away, or more is lost than can be mended, or nothing arrives.
        """
        losses = self._losses if self.measures else self._report_losses
        return self._full or losses.heavy or self.stalled

    def on_receiver_report(self, block: ReportBlock, now_ntp: int) -> None:
        """A report block about the video stream; `now_ntp`: 64-bit NTP time, as in our sender reports."""
        if block.last_sr:
            # RFC 3550 section 6.4.1, in 1/65536 s modulo 2^32: a negative one comes out huge.
            rtt = ((now_ntp >> 16) - block.last_sr - block.delay_since_last_sr) & 0xFFFF_FFFF
            if rtt <= MAX_RTT_S * 65536:
                self.rtt_s = rtt / 65536
        self._report_came = True
        highest, self._reported_sequence = self._reported_sequence, block.highest_sequence
        if highest is not None:
            expected = block.highest_sequence - highest
            if 0 <= expected < 0x1_0000:
                lost = round(expected * block.fraction_lost / 256)
                self._report_losses.count(lost, expected, now_ntp / (1 << 32))

    def on_receiver_estimate(self, bitrate: int, now_s: float) -> None:
        """REMB; counts where no transport-wide feedback comes."""
        if not self.measures:
            self.available_bitrate = bitrate

    def on_transport_feedback(self, feedback: TransportFeedback, log: SentLog, now_s: float) -> None:
        """Transport-wide feedback about packets in `log`; claims about others change nothing."""
        if not feedback.received:
            return
        wire_arrival_us = feedback.received[-1][1]
        sent = log.sent(feedback.received[-1][0])
        if sent is None:
            return
        self.measures = True
        self._count_losses(feedback, now_s)
        if self._probe is not None and self._probe.take(feedback, log):
            self._finish_probe(now_s)
        sent_ns, octets = sent
        if octets <= self._octets:
            return  # it came late, or tells only of packets that came late
        self._heard_s = now_s
        self._log = log
        if log.sequence > self._seen_sequence:
            self._seen_sequence = log.sequence
            self._sent_s = now_s
        self._silent_since_s = None
        self.stalled = False
        self._arrival_us += _since_us(wire_arrival_us, self._wire_arrival_us)
        self._wire_arrival_us = wire_arrival_us
        self._delivered += (octets - self._octets) * len(feedback.received) / feedback.span
        self._octets = octets
        self._note_queue(self._queueing_delay(sent_ns, now_s), now_s)
        self._note_rate(now_s)

    def check(self, now_s: float) -> None:
        """Notices what does not come; to be called several times a second."""
        if self._report_came:
            self._report_came, self._reported_s = False, now_s
        elif now_s - self._reported_s > MAX_LOSS_WINDOW_S:
            # Receivers report nothing of a source that is silent (RFC 3550 section 6.4).
            self._report_losses = _Losses()
        probe, log = self._probe, self._log
        if probe is not None and probe.end is not None and now_s - probe.ended_s > PROBE_DEADLINE_S:
            self._finish_probe(now_s)
        if log is None or self._last is None:
            return
        if log.sequence > self._seen_sequence:
            self._seen_sequence = log.sequence
            self._sent_s = now_s
            if self._silent_since_s is None:
                self._silent_since_s = now_s
            elif now_s - self._silent_since_s > SILENCE_S:
                self.stalled = True
                self.rtt_s = None
            return
        idle_s = now_s - max(self._heard_s, self._sent_s)
        told_of_all = (self._last.base_sequence + self._last.span - log.sequence) & 0xFFFF == 0
        if idle_s > IDLE_S or (told_of_all and idle_s > DRAINED_S):
            # Nothing is on its way. Whether the link carries again shows when something is sent.
            self._forget()

    def probe_began(self, sequence: int, now_s: float) -> None:
        """The packet with this transport-wide sequence number, not wrapped, will be the first of a probe."""
        self.probed = None
        self._probe = _ProbeRun(sequence, now_s)

    def probe_ended(self, sequence: int, now_s: float) -> None:
        """The packet with this sequence number will be the first behind the probe."""
        if self._probe is not None:
            self._probe.end = sequence
            self._probe.ended_s = now_s

    def _forget(self) -> None:
        self.stalled = False
        self._silent_since_s = None
        self.queue_s = None
        self._queues.clear()
        self._full_since_s = None
        self._full = False
        self._losses = _Losses()

    def _finish_probe(self, now_s: float) -> None:
        assert self._probe is not None
        self.probed = self._probe.result(self.queue_s or 0.0)
        self._probe = None
        self._carried.add(-self.probed.bitrate, now_s)

    def _count_losses(self, feedback: TransportFeedback, now_s: float) -> None:
        """Chromium tells of packets again when one of them came late; it was counted as lost before."""
        last = self._last
        lost, span = feedback.lost, feedback.span
        if last is not None:
            again = sequence_delta(last.base_sequence + last.span, feedback.base_sequence)
            if again > 0:
                before = {sequence for sequence, _ in last.received}
                base = feedback.base_sequence
                told = [sequence for sequence, _ in feedback.received if (sequence - base) & 0xFFFF < again]
                late = sum(sequence not in before for sequence in told)
                span = max(span - again, 0)
                lost = span - (len(feedback.received) - len(told)) - late
        self._last = feedback
        self._losses.count(lost, span, now_s)

    def _queueing_delay(self, sent_ns: int, now_s: float) -> float:
        delay_s = self._arrival_us / 1e6 - sent_ns / 1e9
        round_trip_s = now_s - sent_ns / 1e9
        # What the packet waited is in the round trip as well, which our clock alone measures.
        bound_s = round_trip_s - self._round_trip.add(round_trip_s, now_s)
        queue_s = delay_s - self._delay.add(delay_s, now_s)
        if queue_s > bound_s + CLOCK_STEP_S:  # the receiver's clock was set
            self._delay = _Least()
            self._delay.add(delay_s - bound_s, now_s)
            self._acknowledged.clear()
        return min(queue_s, bound_s)

    def _note_queue(self, queue_s: float, now_s: float) -> None:
        self.queue_s = queue_s
        queues = self._queues
        queues.append((now_s, queue_s))
        while now_s - queues[0][0] > TREND_S:
            queues.popleft()
        # A queue that is short and overflows shows in both, loss by chance shows in one.
        bound_s = FULL_QUEUE_S if self._losses.share < OVERFLOW_LOSS else LIMITED_QUEUE_S
        if queue_s <= bound_s:
            self._full_since_s = None
        elif self._full_since_s is None:
            self._full_since_s = now_s
        falling = max(queue_s for _, queue_s in queues) - queue_s > FALLING_S
        self._full = (
            self._full_since_s is not None and now_s - self._full_since_s >= FULL_AFTER_S and not falling
        )

    def _note_rate(self, now_s: float) -> None:
        acknowledged = self._acknowledged
        if acknowledged and self._arrival_us < acknowledged[-1][0] - CLOCK_STEP_S * 1e6:
            acknowledged.clear()  # the receiver's clock was set back
        acknowledged.append((self._arrival_us, self._delivered))
        while len(acknowledged) > 2 and self._arrival_us - acknowledged[0][0] > RATE_WINDOW_US:
            acknowledged.popleft()
        first_us, first_octets = acknowledged[0]
        if self._arrival_us - first_us < MIN_RATE_WINDOW_US:
            return
        bitrate = 8e6 * (self._delivered - first_octets) / (self._arrival_us - first_us)
        queue_s = self._queues[-1][1]
        rising = (
            queue_s > LIMITED_QUEUE_S
            and queue_s - min(queue_s for _, queue_s in self._queues) > LIMITED_RISE_S
        )
        if rising or self._full or self._losses.share > HEAVY_LOSS:
            self._carried = _Least()
        self.available_bitrate = int(-self._carried.add(-bitrate, now_s))
