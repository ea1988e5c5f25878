"""What is known of one viewer's network: loss, round-trip time, queueing delay, what it carries.

Of each transport-wide feedback the last packet received counts: when it left, when it arrived, and how many
octets had left up to it. The receiver's clock has an unknown offset and rate, so delays are taken less their
least of the last seconds. Receiver reports (RFC 3550 section 6.4.1) tell the round-trip time, and loss where
no such feedback comes.

All `now_s` are CLOCK_MONOTONIC in seconds, the clock that departures are logged with.
"""

from collections import deque
from dataclasses import dataclass

from common.rtcp_feedback import TransportFeedback
from common.rtp import ReportBlock
from common.units import sequence_delta
from fanout.losses import HEAVY_LOSS, MAX_LOSS_WINDOW_S, MAX_SAMPLES, Losses
from fanout.probe_run import Probed, ProbeRun, SentLog, since_us

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
OVERFLOW_LOSS = 0.05
DOUBT_S = 0.4
SILENCE_S = 1.5
"""From the first look at which feedback is awaited: where only some packets are told of, the feedback about
one of them may be lost, and that about the next still be on its way."""
DRAINED_S = 0.5
IDLE_S = 1.2
MAX_RTT_S = 10.0
PROBE_DEADLINE_S = 1.5


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
        self.in_doubt = False
        "None has come for over DOUBT_S: all packets should be told of, to know in time."
        self.probed: Probed | None = None
        "Outcome of the last probe; None while one is under way."
        self._full = False
        self._losses = Losses()
        self._report_losses = Losses()
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
        self._probe: ProbeRun | None = None

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
        self.stalled = self.in_doubt = False
        self._arrival_us += since_us(wire_arrival_us, self._wire_arrival_us)
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
            self._report_losses = Losses()
        probe, log = self._probe, self._log
        if probe is not None and probe.end is not None and now_s - probe.ended_s > PROBE_DEADLINE_S:
            self._finish_probe(now_s)
        if log is None or self._last is None:
            return
        self.in_doubt = self._silent_since_s is not None and now_s - self._silent_since_s > DOUBT_S
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
        self._probe = ProbeRun(sequence, now_s)

    def probe_ended(self, sequence: int, now_s: float) -> None:
        """The packet with this sequence number will be the first behind the probe."""
        if self._probe is not None:
            self._probe.end = sequence
            self._probe.ended_s = now_s

    def _forget(self) -> None:
        self.stalled = self.in_doubt = False
        self._silent_since_s = None
        self.queue_s = None
        self._queues.clear()
        self._full_since_s = None
        self._full = False
        self._losses = Losses()

    def _finish_probe(self, now_s: float) -> None:
        assert self._probe is not None
        probe, self._probe = self._probe, None
        self.probed = probe.result(self.queue_s or 0.0)
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
