"""From what viewers counted to the figures of one step."""

import asyncio
import itertools
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench import clip, pacing, process
from tests.support.viewer import Viewer
from tests.support.viewer_rtp import Arrival

# Past these shares of a core a step shows queues and not costs.
FULL_PERCENT = 95.0
FULL_GENERATOR_PERCENT = 90.0
# What a next step may be forecast to take; the cost of each viewer falls with their number.
FORECAST_PERCENT = 105.0


@dataclass(frozen=True, slots=True)
class Step:
    """One row: one sender with so many viewers."""

    scenario: str
    sender: str
    viewers: int
    seconds: float
    packets: int
    "Received by all viewers together."
    us_per_packet: float
    "The sender's CPU time, user and system, for each packet of each viewer."
    cpu_percent: float
    "Of one core, whole sender process."
    cpu_percent_per_viewer: float
    pss_mb: float
    pss_kb_per_viewer: float | None
    "Growth since the first row, for each viewer added."
    delay_p50_ms: float
    "From access unit published to its last packet in the viewer's socket."
    delay_p99_ms: float
    delay_max_ms: float
    delay_keyframe_p99_ms: float
    "The same of keyframes alone, which are several times larger."
    unmatched: int
    "Access units published in the interval, times viewers, that no arrival was matched to."
    lost: int
    "Packets missing in the viewers' sequence numbers."
    dropped: int
    "Frames that the sender says it dropped."
    loop_lag_ms: float | None
    "Worst lag of the sender's event loop, by its own report."
    srtp: str
    viewers_cpu_percent: float
    "Of one core, the process of all viewers: near 100 the benchmark measures itself."
    others_cpu_percent: float
    "Of one core, everything else on this machine but sender and viewers: it disturbs the delays."
    retransmitted: int = 0
    "Packets that the sender says it sent again."
    switches: int = 0
    "Times that the sender gave a viewer another quality."
    floor_us: float | None = None
    "What the same packets cost to protect and send at least (tests.bench.floor)."
    over_floor: float | None = None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def full(self) -> str | None:
        """Who had no more to give in this step; None when all had."""
        if self.cpu_percent >= FULL_PERCENT:
            return f"the sender is saturated: {self.cpu_percent} % of a core"
        if self.viewers_cpu_percent >= FULL_GENERATOR_PERCENT:
            return f"the load generator is saturated: {self.viewers_cpu_percent} % of a core"
        return None

    def forbids(self, viewers: int) -> str | None:
        """Why there is no point in a step of so many viewers after this one."""
        full = self.full()
        # Much of what one viewer costs is the process being woken.
        if full is not None or self.viewers < 20:
            return full
        for who, percent in (
            ("sender", self.cpu_percent),
            ("load generator", self.viewers_cpu_percent),
        ):
            forecast = percent * viewers / self.viewers
            if forecast > FORECAST_PERCENT:
                return f"the {who} would be saturated: it would take {forecast:.0f} % of a core"
        return None


@dataclass(frozen=True, slots=True)
class Stop:
    """A row that says why a series ends before this number of viewers."""

    scenario: str
    sender: str
    viewers: int
    reason: str

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def text(self) -> str:
        """For people."""
        return f"{self.sender}: not measured from {self.viewers} viewers on: {self.reason}"


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank of sorted values; 0 without any."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _phase(arrivals: Sequence[Arrival], overhead: int, sizes: Sequence[int]) -> int | None:
    """Position in the clip of the first arrival, by the sizes of the access units that follow it."""
    shown = [arrival.octets - arrival.packets * overhead for arrival in arrivals]
    best: tuple[int, int] | None = None
    for phase in range(len(sizes)):
        looped = itertools.islice(itertools.cycle(sizes), phase, phase + len(shown))
        difference = sum(abs(a - b) for a, b in zip(shown, looped, strict=True))
        if best is None or difference < best[0]:
            best = (difference, phase)
    # FU-A and STAP-A add some octets to each packet; another place in the clip differs by thousands.
    return best[1] if best and best[0] < sum(shown) // 20 else None


def delays(
    arrivals: Sequence[Arrival], overhead: int, units: Sequence[clip.Unit], published: dict[int, int]
) -> dict[int, float]:
    """Milliseconds from publication to arrival, by number of the access unit.

    SRTP hides the payload but neither its size nor its RTP timestamp: sizes, less `overhead` octets in each
    packet, tell where in the clip an access unit stands, timestamps count on from there. Empty when nothing
    fits.
    """
    sizes = [sum(map(len, unit)) for unit in units]
    sample = arrivals[: clip.FPS]
    phase = _phase(sample, overhead, sizes) if len(sample) == clip.FPS else None
    if phase is None:
        return {}
    first = sample[0]
    numbers = [
        number
        for number, at_ns in published.items()
        if number % len(units) == phase and at_ns <= first.received_ns
    ]
    if not numbers:
        return {}
    base = max(numbers)
    found = {}
    for arrival in arrivals:
        ticks = (arrival.timestamp - first.timestamp) & 0xFFFF_FFFF
        number = base + (ticks + pacing.TICKS // 2) // pacing.TICKS
        if number in published:
            found[number] = (arrival.received_ns - published[number]) / 1e6
    return found


class Meter:
    """Measures one sender process, step by step."""

    def __init__(self, scenario: str, name: str, pid: int, units: list[clip.Unit], log: Path) -> None:
        self._scenario = scenario
        self._name = name
        self._pid = pid
        self._units = units
        self._log = log
        self._first: tuple[int, int] | None = None

    async def step(self, viewers: Sequence[Viewer], seconds: float) -> Step:
        """Watches for `seconds`."""
        loop = asyncio.get_running_loop()
        for viewer in viewers:
            viewer.reception.arrivals = []
        before, own_before = process.usage(self._pid), process.usage(os.getpid())
        totals = [viewer.totals() for viewer in viewers]
        busy_before, start = process.machine_busy_s(), loop.time()
        await asyncio.sleep(seconds)
        after, own_after = process.usage(self._pid), process.usage(os.getpid())
        received = [viewer.totals().since(old) for viewer, old in zip(viewers, totals, strict=True)]
        elapsed, busy_s = loop.time() - start, process.machine_busy_s() - busy_before
        published = pacing.published(self._log)
        times: list[float] = []
        keyframe_times: list[float] = []
        keyframes = {place for place, unit in enumerate(self._units) if clip.is_keyframe(unit)}
        missing = 0
        for viewer in viewers:
            arrivals, viewer.reception.arrivals = viewer.reception.arrivals or [], None
            assert viewer.srtp is not None
            # The first one may have begun before the interval.
            found = delays(arrivals[1:], viewer.srtp.overhead, self._units, published)
            times += found.values()
            keyframe_times += (found[number] for number in found if number % len(self._units) in keyframes)
            missing += max(0, int(elapsed * clip.FPS) - 2 - len(found))
            await asyncio.sleep(0)
        times.sort()
        packets = sum(total.packets for total in received)
        cpu_s, own_s = after.cpu_s - before.cpu_s, own_after.cpu_s - own_before.cpu_s
        if self._first is None:
            self._first = (len(viewers), after.pss_kb)
        first_viewers, first_pss = self._first
        added = len(viewers) - first_viewers
        return Step(
            scenario=self._scenario,
            sender=self._name,
            viewers=len(viewers),
            seconds=round(elapsed, 2),
            packets=packets,
            us_per_packet=round(cpu_s * 1e6 / packets, 2) if packets else 0.0,
            cpu_percent=round(100 * cpu_s / elapsed, 1),
            cpu_percent_per_viewer=round(100 * cpu_s / elapsed / len(viewers), 3),
            pss_mb=round(after.pss_kb / 1024, 1),
            pss_kb_per_viewer=round((after.pss_kb - first_pss) / added, 1) if added else None,
            delay_p50_ms=round(percentile(times, 0.50), 2),
            delay_p99_ms=round(percentile(times, 0.99), 2),
            delay_max_ms=round(times[-1], 2) if times else 0.0,
            delay_keyframe_p99_ms=round(percentile(sorted(keyframe_times), 0.99), 2),
            unmatched=missing,
            lost=sum(total.lost for total in received),
            dropped=0,
            loop_lag_ms=None,
            srtp=",".join(sorted({viewer.srtp.profile for viewer in viewers if viewer.srtp})),
            viewers_cpu_percent=round(100 * own_s / elapsed, 1),
            others_cpu_percent=round(100 * (busy_s - cpu_s - own_s) / elapsed, 1),
        )
