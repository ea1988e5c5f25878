"""What is concluded of a viewer's network, over a simulated bottleneck; and what must not be."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rtcp_feedback import REFERENCE_WRAP_US, TransportFeedback
from common.rtp import ReportBlock
from fanout.link import Link
from tests.support.slow_link import START_S, STEP_S, Conditions, Rendition, Sender, SentPackets, SlowLink

MAIN = Rendition(2_000_000)
NTP_S = 1 << 32


def run(sender: Sender, seconds: float, check: Callable[[Link], None] = lambda link: None) -> None:
    """Lets time pass; `check` is called for each decision that could be made."""
    for step in range(round(seconds / STEP_S)):
        sender.step()
        if step % 20 == 0:
            sender.link.link.check(sender.link.now_s)
            check(sender.link.link)


def never_congested(link: Link) -> None:
    assert not link.congested, (link.queue_s, link.loss, link.stalled)


def seconds_until_congested(sender: Sender, at_most_s: float) -> float:
    began_s = sender.link.now_s
    while sender.link.now_s - began_s < at_most_s:
        run(sender, 0.1)
        if sender.link.link.congested:
            return sender.link.now_s - began_s
    raise AssertionError(f"not congested after {at_most_s} s")


def viewer(conditions: Conditions, rendition: Rendition = MAIN, seed: int = 1) -> Sender:
    return Sender(SlowLink(conditions, seed), rendition)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("conditions", "rendition"),
    [
        (Conditions(loss=0.05, delay_s=0.04), MAIN),
        (Conditions(loss=0.05, delay_s=0.04), Rendition(200_000, 12)),
        (Conditions(jitter_s=0.05), MAIN),
        (Conditions(loss=0.05, jitter_s=0.05, delay_s=0.04), MAIN),
        (Conditions(feedback_s=0.25), MAIN),
        (Conditions(bitrate=300e3), Rendition(200_000, 12)),  # each keyframe needs half a second
    ],
    ids=["loss", "loss of a small stream", "jitter", "both", "seldom told", "little room"],
)
def test_a_link_that_carries_the_stream(conditions: Conditions, rendition: Rendition, seed: int) -> None:
    sender = viewer(conditions, rendition, seed)
    run(sender, 40, never_congested)
    assert sender.link.link.loss == pytest.approx(conditions.loss, abs=0.09)


def test_large_keyframe() -> None:
    # 300 kB at once on 20 Mbit/s: 120 ms of queue.
    rendition = Rendition(4_000_000, gop_s=4.0, keyframe_weight=17)
    assert rendition.frame_octets(0) == pytest.approx(300_000, rel=0.05)
    sender = viewer(Conditions(bitrate=20e6, queue_octets=400_000), rendition)
    run(sender, 20, never_congested)
    assert 0.08 < sender.link.worst_queue_s < 0.15


def test_join_burst() -> None:
    # 10 s of 4 Mbit/s as fast as the pacer lets them out, on loopback.
    sender = viewer(Conditions(bitrate=5e9, delay_s=0.0001, queue_octets=1 << 20), Rendition(4_000_000))
    sender.backlog = 5_000_000
    run(sender, 5, never_congested)
    available = sender.link.link.available_bitrate
    assert available is not None
    assert 50e6 < available < 90e6


@pytest.mark.parametrize("step_s", [-5.0, -1.0, -0.2, 0.2, 0.4, 1.0, 60.0])
def test_receivers_clock_is_set(step_s: float) -> None:
    conditions = Conditions()
    sender = viewer(conditions)
    run(sender, 5, never_congested)
    conditions.clock_offset_s += step_s
    run(sender, 30, never_congested)
    assert sender.link.link.queue_s == pytest.approx(0, abs=0.03)
    conditions.bitrate = 300e3
    assert seconds_until_congested(sender, 3) < 2


@pytest.mark.parametrize("drift", [-200e-6, 200e-6])
def test_clocks_drift_apart(drift: float) -> None:
    def queue_is_small(link: Link) -> None:
        assert link.queue_s is None or link.queue_s < 0.02

    run(viewer(Conditions(clock_drift=drift)), 90, queue_is_small)


def test_numbers_wrap() -> None:
    wrap_s = REFERENCE_WRAP_US / 1e6
    conditions = Conditions(clock_offset_s=wrap_s - START_S % wrap_s - 5)
    sender = Sender(SlowLink(conditions, first_sequence=65_000), MAIN)
    run(sender, 10, never_congested)
    assert sender.link.log.sequence > 65_536
    assert sender.link.link.loss == 0
    assert sender.link.link.available_bitrate == pytest.approx(2.1e6, rel=0.3)
    conditions.bitrate = 300e3
    run(sender, 3)
    assert sender.link.link.available_bitrate == pytest.approx(300e3, rel=0.05)


@pytest.mark.parametrize("queue_octets", [16_000, 64_000, 300_000])
@pytest.mark.parametrize("clutter", [Conditions(), Conditions(jitter_s=0.05, loss=0.05, delay_s=0.04)])
def test_link_becomes_slow(queue_octets: int, clutter: Conditions) -> None:
    conditions = Conditions(
        jitter_s=clutter.jitter_s, loss=clutter.loss, delay_s=clutter.delay_s, queue_octets=queue_octets
    )
    sender = viewer(conditions)
    run(sender, 5, never_congested)
    conditions.bitrate = 300e3
    assert seconds_until_congested(sender, 3) < 1.6
    run(sender, 0.5)
    assert sender.link.link.available_bitrate == pytest.approx(300e3, rel=0.15)
    conditions.bitrate = 10e6
    run(sender, 4)
    run(sender, 10, never_congested)


def test_link_carries_a_little_less() -> None:
    # Its queue holds less than 0.3 s and a tenth is lost: neither would do alone.
    conditions = Conditions()
    sender = viewer(conditions)
    run(sender, 5, never_congested)
    conditions.bitrate = 1.9e6
    assert seconds_until_congested(sender, 10) < 10


def test_heavy_loss() -> None:
    conditions = Conditions()
    sender = viewer(conditions)
    run(sender, 5, never_congested)
    conditions.loss = 0.3
    assert 1 <= seconds_until_congested(sender, 4) < 2.5
    assert sender.link.link.loss == pytest.approx(0.3, abs=0.1)
    conditions.loss = 0.0
    run(sender, 2)
    run(sender, 5, never_congested)


def test_nothing_arrives_any_more() -> None:
    conditions = Conditions()
    sender = viewer(conditions)
    run(sender, 5)
    link = sender.link.link
    link.rtt_s = 0.04
    conditions.loss = 1.0
    assert 1 <= seconds_until_congested(sender, 3) < 2
    assert link.stalled
    assert link.rtt_s is None
    conditions.loss = 0.0
    run(sender, 1)
    assert not link.stalled
    run(sender, 5, never_congested)


@pytest.mark.parametrize("delay_s", [0.01, 0.05, 0.1])
def test_feedback_that_is_lost_now_and_then(delay_s: float) -> None:
    """Of few packets, as the worker asks for while all is well; of all where that is in doubt."""
    conditions = Conditions(delay_s=delay_s, feedback_s=0.05, feedback_loss=0.1)
    sender = viewer(conditions, Rendition(200_000, 12))
    link = sender.link.link
    doubts = 0
    for look in range(600):
        conditions.announce_s = 0.0 if link.in_doubt else 1.0
        # Not in step with the announcements.
        for _ in range(100 + look % 2):
            sender.step()
        link.check(sender.link.now_s)
        never_congested(link)
        doubts += link.in_doubt
    assert 10 < doubts < 120
    conditions.loss = 1.0
    lost_s = sender.link.now_s
    while not link.stalled:
        conditions.announce_s = 0.0 if link.in_doubt else 1.0
        for _ in range(100):
            sender.step()
        link.check(sender.link.now_s)
        assert sender.link.now_s - lost_s < 4


def test_feedback_about_more_than_there_is_during_a_probe() -> None:
    conditions = Conditions()
    sender = viewer(conditions)
    run(sender, 2)
    conditions.feedback = False
    way, link = sender.link, sender.link.link
    link.probe_began(way.log.sequence, way.now_s)
    first = way.log.sequence & 0xFFFF
    for _ in range(14):
        way.send(1000)
    link.probe_ended(way.log.sequence, way.now_s)
    received = tuple((first + number, number * 250) for number in range(14))
    link.on_transport_feedback(
        TransportFeedback(1, 2, first, 0, received, 39_986, 40_000), way.log, way.now_s
    )
    run(sender, 3)
    assert link.probed is not None and 0 <= link.probed.loss <= 1


def test_queue_is_forgotten_when_nothing_is_sent() -> None:
    """A sender that waits for the link to drain must learn that it has."""
    conditions = Conditions()
    sender = viewer(conditions)
    run(sender, 5)
    conditions.bitrate = 300e3
    seconds_until_congested(sender, 3)
    for _ in range(round(5 / STEP_S)):
        sender.link.advance()
        sender.link.link.check(sender.link.now_s)
    assert not sender.link.link.congested
    assert sender.link.link.queue_s is None


def test_silence_ends_when_nothing_is_sent() -> None:
    conditions = Conditions()
    sender = viewer(conditions)
    run(sender, 5)
    conditions.loss = 1.0
    seconds_until_congested(sender, 3)
    for _ in range(round(3 / STEP_S)):
        sender.link.advance()
        sender.link.link.check(sender.link.now_s)
    assert not sender.link.link.congested


def test_keyframes_now_and_then_are_no_silence() -> None:
    sender = viewer(Conditions(loss=0.2, delay_s=0.2), Rendition(200_000, gop_s=10))
    sender.keyframes_only = True
    run(sender, 60, never_congested)


def block(sequence: int = 0, fraction: int = 0, last_sr: int = 0, delay: int = 0) -> ReportBlock:
    return ReportBlock(1, fraction, 0, sequence, 0, last_sr, delay)


def test_round_trip_time() -> None:
    # The example of RFC 3550 figure 2: 6.125 s.
    link = Link()
    link.on_receiver_report(block(last_sr=0xB705_2000, delay=0x0005_4000), 0xB44D_B710_8000_0000)
    assert link.rtt_s == 6.125


@pytest.mark.parametrize(
    ("last_sr", "delay"),
    [
        (0, 0),  # no sender report was heard yet
        (0xB705_2000, 0x0010_4000),  # waited longer than it was on its way
        (0xB600_0000, 0),  # over 10 s
        (0xB711_0000, 0),  # from the future
    ],
)
def test_round_trip_times_that_cannot_be(last_sr: int, delay: int) -> None:
    link = Link()
    link.on_receiver_report(block(last_sr=last_sr, delay=delay), 0xB44D_B710_8000_0000)
    assert link.rtt_s is None


def test_loss_from_receiver_reports() -> None:
    link = Link()
    for second, fraction in enumerate([0, 0, 0, 77, 77, 77]):
        link.on_receiver_report(block(200 * second, fraction), second * NTP_S)
        assert link.congested == (second == 5)
    assert link.loss == pytest.approx(0.3, abs=0.01)
    # Nothing is sent any more: reports go on and say nothing new.
    link.on_receiver_report(block(1000, 0), 6 * NTP_S)
    link.on_receiver_report(block(1000, 0), 7 * NTP_S)
    assert not link.congested


def test_losses_of_reports_that_come_no_more_are_forgotten() -> None:
    """A viewer to whom nothing is sent reports nothing, not even that its link is good again."""
    link = Link()
    for second in range(8):
        now_s = START_S + second
        link.on_receiver_report(block(200 * second, 77), round(now_s * NTP_S))
        link.check(now_s)
    assert link.congested
    for quarter in range(4 * 4):
        link.check(now_s + quarter / 4)
    assert link.congested
    link.check(now_s + 6)
    assert not link.congested
    assert link.loss == 0
    # What is lost then counts from the beginning.
    for second in range(3):
        link.on_receiver_report(block(2000 + 200 * second, 77), round((now_s + 7 + second) * NTP_S))
        link.check(now_s + 7 + second)
        assert link.congested == (second >= 1)


def test_loss_by_chance_in_receiver_reports() -> None:
    conditions = Conditions(feedback=False, loss=0.05)
    for seed in range(5):
        sender = viewer(conditions, Rendition(200_000, 12), seed)
        for second in range(60):
            run(sender, 1, never_congested)
            sender.link.link.on_receiver_report(sender.link.report_block(), second * NTP_S)


def test_receivers_estimate() -> None:
    link = Link()
    link.on_receiver_estimate(700_000, START_S)
    assert link.available_bitrate == 700_000
    sender = viewer(Conditions())
    run(sender, 2)
    sender.link.link.on_receiver_estimate(700_000, sender.link.now_s)
    assert sender.link.link.available_bitrate != 700_000


def probe(sender: Sender, bitrate: int, seconds: float) -> None:
    link = sender.link
    link.link.probe_began(link.log.sequence, link.now_s)
    assert link.link.probed is None
    credit = 0.0
    for _ in range(round(seconds / STEP_S)):
        credit += bitrate / 8 * STEP_S
        while credit > 0:
            link.send(1200)
            credit -= 1200
        run(sender, STEP_S)
    link.link.probe_ended(link.log.sequence, link.now_s)
    run(sender, 2)


@pytest.mark.parametrize("clutter", [Conditions(), Conditions(jitter_s=0.05, loss=0.03, delay_s=0.1)])
@pytest.mark.parametrize(("carries", "seen"), [(10e6, 2.6e6), (1e6, 1e6), (300e3, 300e3)])
def test_probe(clutter: Conditions, carries: float, seen: float) -> None:
    conditions = Conditions(carries, 300_000, clutter.delay_s, clutter.loss, clutter.jitter_s)
    sender = viewer(conditions, Rendition(200_000, 12))
    run(sender, 5.5)
    probe(sender, 2_400_000, 0.3)
    probed = sender.link.link.probed
    assert probed is not None
    assert probed.bitrate == pytest.approx(seen, rel=0.2)
    assert probed.sent_bitrate == pytest.approx(2.6e6, rel=0.2)
    assert probed.loss == pytest.approx(conditions.loss, abs=0.06)
    if carries == 10e6:
        assert sender.link.link.available_bitrate == pytest.approx(seen, rel=0.2)


def test_probe_of_which_nothing_is_heard() -> None:
    conditions = Conditions()
    sender = viewer(conditions)
    run(sender, 2)
    conditions.loss = 1.0
    probe(sender, 2_400_000, 0.3)
    probed = sender.link.link.probed
    assert probed is not None
    assert (probed.bitrate, probed.loss) == (0, 1.0)


def test_claims_about_packets_that_never_left() -> None:
    link = Link()
    link.on_transport_feedback(TransportFeedback(1, 2, 0, 0, ((0, 0),), 0, 1), SentPackets(), START_S)
    assert not link.measures
    assert link.available_bitrate is None


@given(
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF),
            st.lists(st.tuples(st.integers(0, 60), st.integers(-(2**41), 2**41)), max_size=8),
            st.integers(0, 0xFFFF),
        ),
        max_size=12,
    )
)
def test_any_feedback_does_no_harm(claims: list[tuple[int, list[tuple[int, int]], int]]) -> None:
    link, log = Link(), SentPackets()
    for number in range(40):
        log.add(START_S + number / 100, 1200)
    now_s = START_S + 0.5
    link.probe_began(10, now_s)
    link.probe_ended(30, now_s)
    for base, received, lost in claims:
        arrivals = tuple(received)
        now_s += 0.1
        link.on_transport_feedback(
            TransportFeedback(1, 2, base, 0, arrivals, lost, lost + len(arrivals)), log, now_s
        )
        link.check(now_s)
        assert 0 <= link.loss <= 1
        assert isinstance(link.congested, bool)
        assert link.available_bitrate is None or 0 <= link.available_bitrate < 1 << 63
