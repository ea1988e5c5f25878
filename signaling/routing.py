"""Which worker gets the next viewer: the one with the most headroom, by what all of them measure. [P]

A report is a second old and noisy, and the handshakes of those who come together cost more than their video.
So each of a worker's last reports is carried on to the viewers that it has by now, and the lowest figure
counts: a single second of handshakes makes nobody look busy, a lasting load does.

What two workers measure for the same viewers differs from second to second. A difference is only believed as
far as it is larger than that, and between workers that are alike the number of viewers decides.

Time in which a worker wanted a CPU and had none counts as if it had used it: something else runs there. An
event loop that is late tells of the same. All workers are late while many viewers come at once; what counts
is how much later one is than the others.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from statistics import median, median_low

from common.messages import WorkerReport

FULL_CPU = 0.9
"Above this share of its core a worker takes no more viewers."
FULL_LAG_S = 0.25
"An event loop that is always this late has no time left either: more than six frame intervals."
FULL_REFUSED = 0.1
"A worker of whose packets the kernel refuses this share is full, too."
LASTING = 2
"Reports in a row that must agree before a worker counts as full; one second of handshakes is no reason."
KEPT_REPORTS = 5

# 25 % of a core for 240 viewers (docs/measurements.md); what the worker measures itself takes over.
PRIOR_VIEWER = 0.25 / 240
PRIOR_WEIGHT = 20
"Viewers by which a measured cost counts as much as the prior."
MIN_VIEWER = PRIOR_VIEWER / 10
"Viewers who are given nothing now cost nothing now, but may at any time."
NOISE_SHARE = 0.25
NOISE_CPU = 0.04
"What is measured may differ by this share of what is expected, and of a core, without a meaning."
STREAM_VIEWERS = 2
"What another stream costs a worker, in viewers: to receive and packetize what nobody there watches yet."

REPORT_INTERVAL_S = 1.0
LAG_FREE_S = 0.02
"Half a frame interval later than the others is nothing that a viewer sees."
SPIKE_S = 0.3
"A single lateness of this much counts too, while it is fresh: the process was stopped or starved."


@dataclass(frozen=True, slots=True)
class Load:
    """What is known of one live worker."""

    worker: str
    reports: tuple[WorkerReport, ...] = ()
    "Its last ones, the newest first, at most `KEPT_REPORTS`."
    waits: tuple[float, ...] = ()
    "Share of the time before each report in which its process wanted a CPU and had none; as far as known."
    viewers: int = 0
    "Sessions it has now, with the offers that are under way to it."
    cameras: frozenset[str] = frozenset()
    "Those that its viewers watch, and those that it subscribes to."
    silent_s: float = 0.0
    "Since it was heard."
    unanswered_s: float = 0.0
    "Age of the oldest offer under way to it."
    draining: bool = False

    @property
    def cpu(self) -> float:
        """Share of one core in the last second, 0 to 1; 0 before the first report."""
        return self.reports[0].cpu if self.reports else 0.0

    @property
    def viewer_cpu(self) -> float:
        """Share of a core that one more viewer uses."""
        return _cost((report.cpu, report.viewers) for report in self.reports)

    @property
    def viewer_cost(self) -> float:
        """The same with the time that is waited for."""
        return _cost((report.cpu + wait, report.viewers) for report, wait in self._measurements())

    def _measurements(self) -> Iterable[tuple[WorkerReport, float]]:
        return zip(self.reports, (*self.waits, *[0.0] * len(self.reports)), strict=False)

    @property
    def measured(self) -> float:
        """Share of a core that its viewers of now want in the long run, by what was used and waited for."""
        cost = self.viewer_cost
        carried = [
            report.cpu + wait + cost * (self.viewers - report.viewers)
            for report, wait in self._measurements()
        ]
        return max(min(carried, default=cost * self.viewers), 0.0)

    def work(self, typical_cost: float) -> float:
        """The same, but what it should be at that cost of a viewer, unless it differs by more than noise."""
        expected = typical_cost * self.viewers
        difference = self.measured - expected
        noise = NOISE_SHARE * expected + NOISE_CPU
        return expected + min(difference + noise, 0.0) + max(difference - noise, 0.0)

    @property
    def lasting_lag_s(self) -> float:
        """How late its event loop always is."""
        return min((report.loop_lag_s for report in self.reports), default=0.0)

    @property
    def newest_lag_s(self) -> float:
        """How late it was at most in the last reports, or is with the next one or an answer."""
        overdue_s = self.silent_s - REPORT_INTERVAL_S
        return max([overdue_s, self.unanswered_s, *(report.loop_lag_s for report in self.reports[:LASTING])])

    @property
    def refused_share(self) -> float:
        """Of the packets between the last two reports, those that the kernel did not take."""
        if len(self.reports) < 2:
            return 0.0
        newest, before = self.reports[:2]
        refused = max(newest.refused_sends - before.refused_sends, 0)
        sent = max(newest.packets - before.packets, 0)
        return refused / (sent + refused) if refused else 0.0

    @property
    def has_room(self) -> bool:
        """It can take a viewer without harm to those that it has."""
        last = self.reports[:LASTING]
        cost = self.viewer_cpu
        cpu = min((report.cpu + cost * (self.viewers + 1 - report.viewers) for report in last), default=0.0)
        # A process that has just started was late once.
        lag_s = min(report.loop_lag_s for report in last) if len(last) == LASTING else 0.0
        return (
            not self.draining and cpu < FULL_CPU and lag_s < FULL_LAG_S and self.refused_share < FULL_REFUSED
        )

    def lateness(self, others: Collection["Load"]) -> float:
        """Share of its headroom that is not there, by how late it is beside the others."""
        if not others:
            return 0.0
        lasting_s = self.lasting_lag_s - median(other.lasting_lag_s for other in others)
        newest_s = self.newest_lag_s - median(other.newest_lag_s for other in others)
        late_s = max(lasting_s - LAG_FREE_S, newest_s if newest_s > SPIKE_S else 0.0, 0.0)
        return min(late_s / FULL_LAG_S, 1.0)


def _cost(measured: Iterable[tuple[float, int]]) -> float:
    """The lowest cost of a viewer in these pairs of load and viewers; few viewers leave it near the prior."""
    costs = [(load + PRIOR_VIEWER * PRIOR_WEIGHT) / (viewers + PRIOR_WEIGHT) for load, viewers in measured]
    return max(min(costs, default=PRIOR_VIEWER), MIN_VIEWER)


def headrooms(loads: Collection[Load]) -> dict[str, float]:
    """Share of a core that each worker has free for more viewers; may be negative."""
    typical = median_low([load.viewer_cost for load in loads]) if loads else 0.0
    free = {}
    for load in loads:
        others = [other for other in loads if other is not load]
        taken = load.work(typical) + load.lateness(others) + load.refused_share / FULL_REFUSED
        free[load.worker] = 1.0 - taken
    return free


def choose(loads: Iterable[Load], camera: str, without: Collection[str] = ()) -> str | None:
    """The worker for the next viewer of `camera`, none of `without`; None when nobody has room."""
    live = list(loads)
    free = headrooms(live)

    def rank(load: Load) -> tuple[float, int, str]:
        # An idle worker gets its first viewer in any case: its death, if it comes, hits the others less.
        has_it = camera in load.cameras or not load.viewers
        taken = load.viewer_cost * (1 if has_it else 1 + STREAM_VIEWERS)
        return taken - free[load.worker], load.viewers, load.worker

    fitting = [load for load in live if load.has_room and load.worker not in without]
    return min(fitting, key=rank).worker if fitting else None
