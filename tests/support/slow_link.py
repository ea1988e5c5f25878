"""A bottleneck to a receiver that sends transport-wide feedback, in simulated time; deterministic."""

import random
from collections import deque
from dataclasses import dataclass

from common.rtcp_feedback import TransportFeedback, parse_feedback, serialize_feedback
from common.rtp import ReportBlock
from fanout.link import Link

STEP_S = 0.005
START_S = 5000.0
PACKET_OCTETS = 1180
PACKETS_PER_STEP = 40


@dataclass(frozen=True)
class Rendition:
    """A stream of one bit rate; a keyframe has so many times the octets of another frame."""

    bitrate: int
    frames_per_s: int = 25
    gop_s: float = 2.0
    keyframe_weight: float = 6.0

    def frame_octets(self, number: int) -> int:
        frames = round(self.gop_s * self.frames_per_s)
        unit = self.bitrate * self.gop_s / 8 / (frames - 1 + self.keyframe_weight)
        return round(unit * self.keyframe_weight) if number % frames == 0 else round(unit)


@dataclass
class Conditions:
    """Of the way to the receiver; may be changed as time goes on."""

    bitrate: float = 10e6
    queue_octets: int = 64_000
    delay_s: float = 0.02
    "One way; feedback takes as long."
    loss: float = 0.0
    jitter_s: float = 0.0
    clock_offset_s: float = 1234.5
    "The receiver's clock less the sender's."
    clock_drift: float = 0.0
    feedback_s: float = 0.1
    feedback: bool = True
    feedback_loss: float = 0.0
    announce_s: float = 0.0
    "Only packets that far apart have a number, and are told of."


class SentPackets:
    """What Link needs of the log of departures."""

    def __init__(self) -> None:
        self.packets: list[tuple[int, int]] = []
        self.octets = 0

    @property
    def sequence(self) -> int:
        return len(self.packets)

    def add(self, now_s: float, octets: int) -> int:
        self.octets += octets
        self.packets.append((round(now_s * 1e9), self.octets))
        return len(self.packets) - 1

    def sent(self, sequence: int) -> tuple[int, int] | None:
        last = len(self.packets) - 1
        found = last - ((last - sequence) & 0xFFFF)
        return self.packets[found] if found >= 0 else None


class SlowLink:
    """`send` at the time `now_s`, then `advance`: the queue empties, and `link` hears of what arrived."""

    def __init__(self, conditions: Conditions, seed: int = 1, first_sequence: int = 0) -> None:
        self.conditions = conditions
        self.now_s = START_S
        self.log = SentPackets()
        self.log.packets = [(0, 0)] * first_sequence
        self.link = Link()
        self.worst_queue_s = 0.0
        "Of all packets since it was last set to 0, as it really was."
        self.delays: list[tuple[float, float]] = []
        "Arrival and time in the queue of every packet."
        self._random = random.Random(seed)
        self._numbered_s = 0.0
        self._queue: deque[tuple[float, int, int | None]] = deque()
        self._queued = 0
        self._free_s = START_S
        self._arriving: list[tuple[float, int | None]] = []
        self._arrived: dict[int, float] = {}
        self._next = first_sequence
        self._feedback_due_s = START_S
        self._feedback_count = 0
        self._on_way: deque[tuple[float, bytes]] = deque()
        self._reported = (first_sequence, 0)
        self._received = 0
        self._highest_received = first_sequence - 1

    def send(self, octets: int) -> None:
        """One packet enters the queue, or finds it full."""
        sequence = None
        if self.now_s - self._numbered_s >= self.conditions.announce_s:
            self._numbered_s = self.now_s
            sequence = self.log.add(self.now_s, octets)
        if self._random.random() < self.conditions.loss:
            return
        if self._queued + octets <= self.conditions.queue_octets:
            self._queue.append((self.now_s, octets, sequence))
            self._queued += octets

    def advance(self) -> None:
        """Goes on by STEP_S."""
        self.now_s += STEP_S
        while self._queue:
            entered_s, octets, sequence = self._queue[0]
            start_s = max(self._free_s, entered_s)
            if start_s >= self.now_s:
                break
            self._queue.popleft()
            self._queued -= octets
            self._free_s = start_s + 8 * octets / self.conditions.bitrate
            self.worst_queue_s = max(self.worst_queue_s, self._free_s - entered_s)
            self.delays.append((self._free_s, self._free_s - entered_s))
            jitter_s = self._random.uniform(0, self.conditions.jitter_s)
            self._arriving.append((self._free_s + self.conditions.delay_s + jitter_s, sequence))
        self._receive()
        if self.now_s >= self._feedback_due_s:
            self._feedback_due_s += self.conditions.feedback_s
            self._tell()
        while self._on_way and self._on_way[0][0] <= self.now_s:
            _, data = self._on_way.popleft()
            (feedback,) = parse_feedback(205, 15, data[4:])
            assert isinstance(feedback, TransportFeedback)
            self.link.on_transport_feedback(feedback, self.log, self.now_s)

    def _receive(self) -> None:
        waiting = []
        for arrival_s, sequence in self._arriving:
            if arrival_s > self.now_s:
                waiting.append((arrival_s, sequence))
                continue
            if sequence is None:
                continue
            self._arrived[sequence] = arrival_s
            self._received += 1
            self._highest_received = max(self._highest_received, sequence)
            # As Chromium does: what comes late is told of with all that follows it.
            self._next = min(self._next, sequence)
        self._arriving = waiting

    def _tell(self) -> None:
        told = sorted(sequence for sequence in self._arrived if sequence >= self._next)
        if not told or not self.conditions.feedback:
            return
        rate = 1 + self.conditions.clock_drift
        received = tuple(
            (
                sequence & 0xFFFF,
                round((self._arrived[sequence] * rate + self.conditions.clock_offset_s) * 4000) * 250,
            )
            for sequence in told
        )
        span = told[-1] + 1 - self._next
        feedback = TransportFeedback(
            1, 2, self._next & 0xFFFF, self._feedback_count & 0xFF, received, span - len(told), span
        )
        self._feedback_count += 1
        self._next = told[-1] + 1
        self._arrived = {
            sequence: arrival_s
            for sequence, arrival_s in self._arrived.items()
            if arrival_s > self.now_s - 0.5
        }
        loss = self.conditions.feedback_loss
        if not loss or self._random.random() >= loss:
            self._on_way.append((self.now_s + self.conditions.delay_s, serialize_feedback(feedback)))

    def report_block(self) -> ReportBlock:
        """What a receiver report says of the packets since the last one."""
        expected = self._highest_received + 1 - self._reported[0]
        lost = max(expected - (self._received - self._reported[1]), 0)
        self._reported = (self._highest_received + 1, self._received)
        fraction = lost * 256 // expected if expected else 0
        return ReportBlock(1, min(fraction, 255), 0, self._highest_received, 0, 0, 0)


class Sender:
    """Sends a rendition, or its keyframes only, through a link; bursts are paced."""

    def __init__(self, link: SlowLink, rendition: Rendition) -> None:
        self.link = link
        self.keyframes_only = False
        self.backlog = 0
        self.show(rendition)

    def show(self, rendition: Rendition) -> None:
        """From now on this, a keyframe first; what waits to be sent of the other is left out."""
        self.rendition = rendition
        self.backlog = 0
        self._frame = 0
        self._due_s = self.link.now_s

    def step(self) -> None:
        """Sends what is due, then lets the link go on."""
        while self._due_s <= self.link.now_s:
            gop = round(self.rendition.gop_s * self.rendition.frames_per_s)
            if not self.keyframes_only or self._frame % gop == 0:
                self.backlog += self.rendition.frame_octets(self._frame)
            self._frame += 1
            self._due_s += 1 / self.rendition.frames_per_s
        for _ in range(PACKETS_PER_STEP):
            if self.backlog <= 0:
                break
            self.link.send(min(self.backlog, PACKET_OCTETS) + 60)
            self.backlog -= PACKET_OCTETS
        self.backlog = max(self.backlog, 0)
        self.link.advance()
