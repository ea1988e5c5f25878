"""A bandwidth probe seen from both ends: when packets left, when they arrived, what the link carried. [P]"""

from dataclasses import dataclass, field
from typing import Protocol

from common.rtcp_feedback import REFERENCE_WRAP_US, TransportFeedback
from common.units import sequence_delta

MIN_PROBE_PACKETS = 5
MAX_PROBE_PACKETS = 2000


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
class ProbeRun:
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
        arrived = _bitrate(octets, [since_us(point[1], points[0][1]) / 1e6 for point in points])
        share = len(points) / max(self.told, len(points))  # some tell of packets outside of what they tell of
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


def since_us(later_us: int, earlier_us: int) -> int:
    """Between two arrival times, which wrap."""
    half = REFERENCE_WRAP_US // 2
    return (later_us - earlier_us + half) % REFERENCE_WRAP_US - half
