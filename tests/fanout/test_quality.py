"""What a viewer is given while its link goes bad and recovers: a closed loop over a simulated link."""

from itertools import pairwise

import pytest

from common.rtp import ReportBlock
from fanout.link import Link
from fanout.quality import Decision, Probe, QualityPolicy, Target
from tests.support.slow_link import START_S, STEP_S, Conditions, Rendition, Sender, SlowLink

MAIN = Rendition(2_000_000)
SUB = Rendition(200_000, 12)
PROBE_PAYLOAD = 1150
NTP_S = 1 << 32


class Viewer:
    """A worker's side of one viewer: sends what the policy decides, and its probes."""

    def __init__(
        self,
        conditions: Conditions,
        seed: int = 1,
        has_sub: bool = True,
        decide_s: float = 0.2,
        probes: bool = True,
        main: Rendition = MAIN,
    ) -> None:
        self.conditions = conditions
        self.renditions = {"main": main, "sub": SUB, "keyframes": SUB}
        self.way = SlowLink(conditions, seed)
        self.sender = Sender(self.way, main)
        self.policy = QualityPolicy(has_sub, self.way.now_s)
        self.target: Target = "main"
        self.changes: list[tuple[float, Target, str]] = []
        self.probes: list[float] = []
        self.refused = 0
        self._probing = probes
        self._probe: Probe | None = None
        self._left = self._credit = 0.0
        self._decide_s = decide_s
        self._decide_at = self.way.now_s
        self._report_at = self.way.now_s

    def run(self, seconds: float) -> list[tuple[float, Target]]:
        """Changes in this time, with when they came after its beginning."""
        began_s = self.way.now_s
        known = len(self.changes)
        while self.way.now_s < began_s + seconds - STEP_S / 2:
            self.step()
        return [(at_s - began_s, target) for at_s, target, _ in self.changes[known:]]

    def step(self) -> None:
        self.sender.step()
        self._send_probe()
        if self.way.now_s >= self._report_at:
            self._report_at += 1
            self.way.link.on_receiver_report(self.way.report_block(), round(self.way.now_s * NTP_S))
        if self.way.now_s >= self._decide_at:
            self._decide_at += self._decide_s
            bitrates = (self.renditions["main"].bitrate, SUB.bitrate)
            self._obey(self.policy.decide(self.way.link, *bitrates, self.refused, self.way.now_s))

    def _obey(self, decision: Decision) -> None:
        if decision.target != self.target:
            self.target = decision.target
            self.changes.append((self.way.now_s, decision.target, decision.reason))
            self.sender.show(self.renditions[decision.target])
            self.sender.keyframes_only = decision.target == "keyframes"
        if decision.probe is not None:
            self.probes.append(self.way.now_s)
            if self._probing:
                self._probe, self._left, self._credit = decision.probe, decision.probe.octets, 0.0
                self.way.link.probe_began(self.way.log.sequence, self.way.now_s)

    def _send_probe(self) -> None:
        if self._probe is None:
            return
        self._credit += self._probe.bitrate / 8 * STEP_S
        while self._credit > 0 and self._left > 0:
            self.way.send(PROBE_PAYLOAD + 60)
            self._credit -= PROBE_PAYLOAD
            self._left -= PROBE_PAYLOAD
        if self._left <= 0:
            self._probe = None
            self.way.link.probe_ended(self.way.log.sequence, self.way.now_s)

    def seconds_with_a_queue_over(self, queue_s: float, since_s: float) -> float:
        """As it was on the link, not as the policy saw it."""
        arrivals = [(at_s, queue) for at_s, queue in self.way.delays if at_s >= since_s]
        return sum(
            min(later_s - at_s, 0.1) for (at_s, _), (later_s, queue) in pairwise(arrivals) if queue > queue_s
        )


CLUTTER = [
    Conditions(),
    Conditions(jitter_s=0.05, delay_s=0.04),
    Conditions(loss=0.05, delay_s=0.04),
    Conditions(jitter_s=0.05, loss=0.05, delay_s=0.04, feedback_s=0.25),
    Conditions(queue_octets=16_000),
    Conditions(queue_octets=300_000),
]


@pytest.mark.parametrize("clutter", range(len(CLUTTER)))
@pytest.mark.parametrize("slow_for_s", [20, 33, 61])
def test_slow_link_and_back(clutter: int, slow_for_s: int) -> None:
    conditions = Conditions(**vars(CLUTTER[clutter]))
    viewer = Viewer(conditions)
    assert viewer.run(10) == []
    conditions.bitrate = 300e3
    changes = viewer.run(slow_for_s)
    assert [target for _, target in changes] == ["sub"]
    assert changes[0][0] < 3
    assert viewer.changes[0][2].startswith("the link carries 2") or "300 kbit/s" in viewer.changes[0][2]
    conditions.bitrate = 10e6
    changes = viewer.run(30)
    assert [target for _, target in changes] == ["main"]
    assert changes[0][0] < 12
    assert viewer.changes[-1][2] == "the link recovered"


def test_five_minutes_on_a_slow_link() -> None:
    slow = Conditions(bitrate=300e3)
    viewer, quiet = Viewer(slow), Viewer(slow)
    quiet.policy.wish = "sub"
    for each in (viewer, quiet):
        each.run(300)
    since_s = START_S + 15
    assert [target for _, target, _ in viewer.changes] == ["sub"]
    assert 25 < len(viewer.probes) < 45
    assert quiet.probes == []
    # What probes add to the queue: each less than 200 ms, and less than a fifth of the second around it.
    hurt_s = viewer.seconds_with_a_queue_over(0.3, since_s) - quiet.seconds_with_a_queue_over(0.3, since_s)
    assert hurt_s < 0.2 * len(viewer.probes)
    worst = [max(q for at_s, q in each.way.delays if at_s >= since_s) for each in (viewer, quiet)]
    assert worst[0] - worst[1] < 0.2


def test_smaller_stream_does_not_fit_either() -> None:
    conditions = Conditions()
    viewer = Viewer(conditions)
    viewer.run(10)
    conditions.bitrate = 120e3
    changes = viewer.run(60)
    assert [target for _, target in changes] == ["sub", "keyframes"]
    assert changes[1][0] < 8
    conditions.bitrate = 10e6
    changes = viewer.run(30)
    assert [target for _, target in changes] == ["sub", "main"]
    assert changes[1][0] < 15


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(bitrate=2.3e6),
        Conditions(bitrate=4e6, jitter_s=0.05, loss=0.05, delay_s=0.04),
        Conditions(bitrate=10e6, loss=0.08, delay_s=0.04),
    ],
    ids=["little room", "clutter", "loss"],
)
def test_main_is_kept_where_it_fits(conditions: Conditions, seed: int) -> None:
    viewer = Viewer(conditions, seed)
    assert viewer.run(60) == []
    assert viewer.probes == []


def test_join_burst_on_a_link_that_carries_the_stream() -> None:
    viewer = Viewer(Conditions(bitrate=10e6, queue_octets=4_000_000))
    viewer.sender.backlog = 2_500_000  # 10 s of main: 2 s of queue
    assert viewer.run(30) == []


def test_link_dies_for_some_seconds() -> None:
    conditions = Conditions()
    viewer = Viewer(conditions)
    viewer.run(10)
    conditions.loss = 1.0
    changes = viewer.run(4)
    assert [target for _, target in changes] == ["sub"]
    assert changes[0][0] < 3
    assert viewer.changes[0][2] == "nothing arrives at the viewer"
    conditions.loss = 0.0
    assert [target for _, target in viewer.run(15)][-1] == "main"


def test_decisions_come_seldom() -> None:
    conditions = Conditions()
    viewer = Viewer(conditions, decide_s=0.5)
    viewer.run(10)
    conditions.bitrate = 300e3
    assert viewer.run(40)[0][0] < 3
    conditions.bitrate = 10e6
    assert viewer.run(15)[-1][1] == "main"


def test_without_a_smaller_stream_keyframes_are_left() -> None:
    conditions = Conditions()
    viewer = Viewer(conditions, has_sub=False)
    viewer.run(5)
    conditions.bitrate = 300e3
    viewer.run(20)
    assert viewer.target == "keyframes"
    conditions.bitrate = 10e6
    viewer.run(15)
    assert viewer.target == "main"
    viewer.policy.wish = "sub"
    viewer.run(1)
    assert viewer.policy.decide(Link(), 1, 1, 0, START_S + 30).reason == "there is no smaller stream"


def test_probe_that_cannot_be_sent() -> None:
    conditions = Conditions(bitrate=300e3)
    viewer = Viewer(conditions, probes=False)
    viewer.run(60)
    assert viewer.target == "sub"
    assert 3 < len(viewer.probes) < 10


def test_main_fits_the_probe_but_does_not_last() -> None:
    """Half of the time main is more than the link carries: it is tried less and less."""
    conditions = Conditions(bitrate=2.6e6)
    viewer = Viewer(conditions)
    tries: list[float] = []
    for _ in range(3000):
        viewer.run(0.1)
        conditions.bitrate = 1e6 if viewer.target == "main" else 2.6e6
        if viewer.changes and viewer.changes[-1][1] == "main" and viewer.changes[-1][0] not in tries:
            tries.append(viewer.changes[-1][0])
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert len(waits) >= 4
    assert all(later > 1.4 * earlier for earlier, later in pairwise(waits[:4]))
    assert max(waits) < 75


@pytest.mark.parametrize("wish", ["main", "sub", "keyframes"])
def test_wish_is_obeyed(wish: Target) -> None:
    conditions = Conditions()
    viewer = Viewer(conditions)
    viewer.run(5)
    viewer.policy.wish = wish
    viewer.run(1)
    assert viewer.target == wish
    conditions.bitrate = 100e3
    viewer.run(20)
    decision = viewer.policy.decide(viewer.way.link, MAIN.bitrate, SUB.bitrate, 0, viewer.way.now_s)
    assert decision == Decision(wish, "asked for")


def test_back_to_auto_goes_up_at_once() -> None:
    viewer = Viewer(Conditions())
    viewer.policy.wish = "sub"
    viewer.run(10)
    viewer.policy.wish = "auto"
    assert [(target, at_s < 0.6) for at_s, target in viewer.run(10)] == [("main", True)]
    assert viewer.probes == []


def test_back_to_auto_probes_where_the_link_was_narrow() -> None:
    conditions = Conditions()
    viewer = Viewer(conditions)
    viewer.run(5)
    conditions.bitrate = 300e3
    viewer.run(10)
    assert viewer.target == "sub"
    viewer.policy.wish = "sub"
    conditions.bitrate = 10e6
    viewer.run(10)
    before = len(viewer.probes)
    viewer.policy.wish = "auto"
    (change,) = viewer.run(10)
    assert change[1] == "main" and 0.6 < change[0] < 4 and len(viewer.probes) > before


def test_back_to_auto_probes_where_not_even_the_wish_was_carried() -> None:
    conditions = Conditions()
    viewer = Viewer(conditions)
    viewer.policy.wish = "sub"
    viewer.run(5)
    conditions.bitrate = 100e3
    viewer.run(10)
    assert viewer.target == "sub" and viewer.way.link.congested
    conditions.bitrate = 10e6
    viewer.run(10)
    assert not viewer.way.link.congested
    viewer.policy.wish = "auto"
    (change,) = viewer.run(10)
    assert change[1] == "main" and change[0] > 0.6 and viewer.probes


def test_back_to_auto_probes_where_only_sub_came_back() -> None:
    conditions = Conditions()
    viewer = Viewer(conditions)
    viewer.run(5)
    conditions.bitrate = 100e3
    viewer.run(30)
    assert viewer.target == "keyframes"
    conditions.bitrate = 1e6
    viewer.run(90)
    assert viewer.target == "sub"
    viewer.policy.wish = "sub"
    viewer.run(5)
    viewer.policy.wish = "auto"
    assert viewer.run(10) == []


def test_full_way_out() -> None:
    viewer = Viewer(Conditions())
    viewer.run(1)
    viewer.refused = 40  # of the join
    assert viewer.run(9) == []
    viewer.refused += 1
    assert viewer.run(1) == [(pytest.approx(0.1, abs=0.2), "sub")]
    assert viewer.changes[-1][2] == "the way to the viewer is full"
    assert [target for _, target in viewer.run(12)] == ["main"]


def test_receiver_reports_only() -> None:
    """Main is tried after 10 s, then less and less often."""
    link, policy = Link(), QualityPolicy(True, START_S)
    viewer_target: Target = "main"
    found: list[tuple[float, Target]] = []
    highest, now_s = 0, START_S
    for second in range(300):
        lossy = viewer_target == "main" and second > 5
        highest += 200 if viewer_target == "main" else 30
        block = ReportBlock(1, 128 if lossy else 0, 0, highest, 0, 0, 0)
        link.on_receiver_report(block, round(now_s * NTP_S))
        for _ in range(5):
            now_s += 0.2
            decision = policy.decide(link, MAIN.bitrate, SUB.bitrate, 0, now_s)
            assert decision.probe is None
            if decision.target != viewer_target:
                viewer_target = decision.target
                found.append((now_s - START_S, viewer_target))
    ups = [at_s for at_s, target in found if target == "main"]
    downs = [at_s for at_s, target in found if target == "sub"]
    waits = [up - down for down, up in zip(downs, ups, strict=False)]
    assert waits[:4] == pytest.approx([10, 20, 40, 60], abs=0.5)
    assert max(waits) < 61
    assert "keyframes" not in {target for _, target in found}
