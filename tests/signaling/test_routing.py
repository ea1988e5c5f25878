"""The worker with the most headroom gets the next viewer: by rules, and in simulated bursts."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import WorkerReport
from signaling.routing import KEPT_REPORTS, PRIOR_VIEWER, Load, choose, headrooms


def report(
    cpu: float = 0.0,
    viewers: int = 0,
    lag_s: float = 0.002,
    packets: int = 0,
    refused: int = 0,
    cameras: tuple[str, ...] = (),
) -> WorkerReport:
    return WorkerReport(
        worker="w",
        viewers=viewers,
        cpu=cpu,
        loop_lag_s=lag_s,
        packets_per_s=0.0,
        egress="kernel",
        packets=packets,
        retransmitted=0,
        dropped_frames=0,
        switches=0,
        rejected=0,
        history_octets=0,
        cameras=cameras,
        refused_sends=refused,
        draining=False,
    )


def load(name: str, *reports: WorkerReport, viewers: int | None = None, **more: object) -> Load:
    if viewers is None:
        viewers = reports[0].viewers if reports else 0
    return Load(name, reports, viewers=viewers, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("loads", "chosen"),
    [
        ([], None),
        ([load("a")], "a"),
        ([load("a", report(cpu=0.9))], None),
        ([load("a", report()), load("b", report())], "a"),
        ([load("a", report(), viewers=1), load("b", report())], "b"),
        ([load("a", report(cpu=0.3, viewers=10)), load("b", report(cpu=0.2, viewers=90))], "b"),
        # One second of handshakes says nothing, two in a row with nothing before them do.
        ([load("a", report(cpu=0.95), report(cpu=0.1)), load("b", report(cpu=0.2))], "a"),
        ([load("a", report(cpu=0.95), report(cpu=0.95)), load("b", report(cpu=0.2))], "b"),
        # What has come since the report counts as much as what is in it.
        ([load("a", report(viewers=10), viewers=40), load("b", report(viewers=30))], "b"),
        ([load("a", report(cpu=0.05), draining=True), load("b", report(cpu=0.6))], "b"),
        ([load("a", draining=True)], None),
    ],
)
def test_choice(loads: list[Load], chosen: str | None) -> None:
    assert choose(loads, "front") == chosen


def test_those_that_failed_are_left_out() -> None:
    loads = [load("a"), load("b", report(cpu=0.5, viewers=9))]
    assert choose(loads, "front", without={"a"}) == "b"
    assert choose(loads, "front", without={"a", "b"}) is None


def test_the_camera_decides_when_it_is_close() -> None:
    def serving(name: str, viewers: int, *cameras: str) -> Load:
        measured = report(cpu=PRIOR_VIEWER * viewers, viewers=viewers)
        return load(name, measured, viewers=viewers, cameras=frozenset(cameras))

    idle = serving("a", 20)
    assert choose([idle, serving("b", 21, "front")], "front") == "b"
    assert choose([idle, serving("b", 21, "front")], "yard") == "a"
    assert choose([idle, serving("b", 30, "front")], "front") == "a"


def test_the_measured_cost_of_a_viewer_takes_over_from_the_prior() -> None:
    assert load("a").viewer_cost == PRIOR_VIEWER
    assert load("a", report(cpu=0.5, viewers=100)).viewer_cost == pytest.approx(0.005, rel=0.2)
    assert load("a", report(cpu=0.0, viewers=100)).viewer_cost > 0


def test_a_worker_that_is_always_late_or_refused_by_the_kernel_is_full() -> None:
    late = report(lag_s=0.3)
    assert not load("a", late, late).has_room
    assert load("a", late, report()).has_room
    assert load("a", late).has_room
    dropping = load("a", report(packets=1800, refused=300), report(packets=900, refused=100))
    assert dropping.refused_share == pytest.approx(2 / 11)
    assert not dropping.has_room
    assert load("a", report(packets=5), report(packets=900, refused=100)).refused_share == 0.0


def test_a_process_that_stood_still_has_less_headroom() -> None:
    well = [load(name, report(), report()) for name in "abc"]
    for stopped in (
        load("d", report(lag_s=1.0), report()),
        load("d", report(), report(), silent_s=1.6),
        load("d", report(), report(), unanswered_s=0.4),
    ):
        free = headrooms([*well, stopped])
        assert free["d"] < free["a"] - 0.5
    everybody = headrooms([load(name, report(lag_s=1.0), report()) for name in "abcd"])
    assert min(everybody.values()) > 0.9
    assert headrooms([load("d", report(lag_s=1.0), report())])["d"] > 0.9
    assert headrooms([]) == {}


@dataclass
class Simulated:
    """A worker that burns `cost` of a core for a viewer and 6 ms for a join, and reports every second."""

    name: str
    phase_s: float
    cost: float = 0.0012
    lag_s: float = 0.004
    viewers: int = 0
    joins: int = 0
    wait: float = 0.0
    "Share of the time that it waits for a CPU."
    reports: list[WorkerReport] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def tell(self, dice: random.Random) -> None:
        cpu = 0.006 + self.cost * self.viewers * dice.uniform(0.8, 1.2) + 0.006 * self.joins
        lag_s = self.lag_s * dice.uniform(0.5, 2.0) + 0.002 * self.joins * dice.random()
        self.reports = [report(min(cpu, 1.0), self.viewers, lag_s), *self.reports][:KEPT_REPORTS]
        wait = (self.wait + 0.007 * self.joins) * dice.uniform(0.7, 1.3)
        self.waits = [min(wait, 1.0), *self.waits][:KEPT_REPORTS]
        self.joins = 0

    def load(self) -> Load:
        return Load(self.name, tuple(self.reports), tuple(self.waits), self.viewers)


def burst(dice: random.Random, workers: list[Simulated], joins: int, lasts_s: float) -> None:
    """Lets that many viewers come at random within that time; reports come in between."""
    steps_per_s = 100
    when = sorted(dice.uniform(0.0, lasts_s) for _ in range(joins))
    for step in range(int(lasts_s * steps_per_s) + 2):
        now_s = step / steps_per_s
        for worker in workers:
            if step % steps_per_s == int(worker.phase_s * steps_per_s):
                worker.tell(dice)
        while when and when[0] <= now_s:
            when.pop(0)
            chosen = choose([worker.load() for worker in workers], f"camera-{dice.randrange(50)}")
            serving = next(worker for worker in workers if worker.name == chosen)
            serving.viewers += 1
            serving.joins += 1


def simulated(dice: random.Random, **special: Simulated) -> list[Simulated]:
    workers = [special.get(name, Simulated(name, dice.random())) for name in ("w0", "w1", "w2", "w3")]
    for _ in range(KEPT_REPORTS):
        for worker in workers:
            worker.tell(dice)
    return workers


@pytest.mark.parametrize("lasts_s", [0.1, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("before", [0, 40])
def test_a_burst_spreads_within_ten_percent(lasts_s: float, before: int) -> None:
    for seed in range(10):
        dice = random.Random(seed)
        workers = simulated(dice)
        for worker in workers:
            worker.viewers = before
        for _ in range(KEPT_REPORTS):
            for worker in workers:
                worker.tell(dice)
        burst(dice, workers, 200, lasts_s)
        counts = [worker.viewers for worker in workers]
        mean = sum(counts) / 4
        assert max(abs(count - mean) for count in counts) <= 0.1 * mean, (seed, counts)


def test_a_burst_evens_out_what_was_uneven_before() -> None:
    dice = random.Random(1)
    workers = simulated(dice)
    workers[0].viewers = 60
    for _ in range(KEPT_REPORTS):
        for worker in workers:
            worker.tell(dice)
    burst(dice, workers, 200, 1.0)
    counts = [worker.viewers for worker in workers]
    assert max(counts) - min(counts) <= 13, counts


def test_a_worker_whose_viewers_cost_more_gets_fewer() -> None:
    dice = random.Random(2)
    workers = simulated(dice)
    workers[3].cost = 0.003
    for worker in workers:
        worker.viewers = 40
    for _ in range(KEPT_REPORTS):
        for worker in workers:
            worker.tell(dice)
    burst(dice, workers, 200, 1.0)
    counts = [worker.viewers for worker in workers]
    assert counts[3] < 0.75 * min(counts[:3]), counts


def test_a_worker_beside_a_burner_gets_fewer() -> None:
    for seed in range(10):
        dice = random.Random(seed)
        workers = simulated(dice, w2=Simulated("w2", dice.random(), lag_s=0.08))
        burst(dice, workers, 200, 1.0)
        others = [worker.viewers for worker in workers if worker.name != "w2"]
        assert workers[2].viewers < 0.8 * min(others), (seed, [worker.viewers for worker in workers])


def test_a_worker_that_waits_for_its_cpu_gets_fewer() -> None:
    for seed in range(10):
        dice = random.Random(seed)
        workers = simulated(dice, w1=Simulated("w1", dice.random(), wait=0.08))
        burst(dice, workers, 200, 1.0)
        others = [worker.viewers for worker in workers if worker.name != "w1"]
        assert workers[1].viewers < 0.8 * min(others), (seed, [worker.viewers for worker in workers])


def test_waiting_makes_nobody_full() -> None:
    """While the whole machine is busy, everybody waits."""
    waiting = load("a", report(cpu=0.1, viewers=10), waits=(0.95,), viewers=10)
    assert waiting.measured > 1.0
    assert choose([waiting], "front") == "a"


@st.composite
def any_loads(draw: st.DrawFn) -> list[Load]:
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True))
    return [
        Load(
            name,
            tuple(
                report(
                    draw(st.floats(0, 2)),
                    draw(st.integers(0, 500)),
                    draw(st.floats(0, 5)),
                    draw(st.integers(0, 1 << 40)),
                    draw(st.integers(0, 1 << 40)),
                )
                for _ in range(draw(st.integers(0, KEPT_REPORTS)))
            ),
            tuple(draw(st.lists(st.floats(0, 1), max_size=KEPT_REPORTS))),
            draw(st.integers(0, 500)),
            draw(st.frozensets(st.sampled_from(["front", "yard"]))),
            draw(st.floats(0, 2)),
            draw(st.floats(0, 2)),
            draw(st.booleans()),
        )
        for name in names
    ]


@given(any_loads())
def test_the_chosen_one_has_room(loads: list[Load]) -> None:
    chosen = choose(loads, "front")
    assert (chosen is None) == (not any(each.has_room for each in loads))
    assert chosen is None or any(each.worker == chosen and each.has_room for each in loads)
