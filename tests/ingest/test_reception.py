"""Sequence numbers and receiver reports."""

import pytest

from common.rtp import ReceiverReport, SenderReport, parse_rtcp
from ingest.reception import Arrival, Reception

IN_ORDER, AFTER_LOSS, LATE, RESTARTED = Arrival


def arrivals(sequences, reception=None):
    reception = reception or Reception(90_000, 1, "c")
    return [reception.packet(7, sequence, 0, 0.0) for sequence in sequences], reception


@pytest.mark.parametrize(
    ("sequences", "expected", "lost"),
    [
        ([1, 2, 3], [IN_ORDER] * 3, 0),
        ([65_534, 65_535, 0, 1], [IN_ORDER] * 4, 0),
        ([1, 5], [IN_ORDER, AFTER_LOSS], 3),
        ([65_535, 2], [IN_ORDER, AFTER_LOSS], 2),
        ([5, 5, 4, 6], [IN_ORDER, LATE, LATE, IN_ORDER], 0),
        ([5, 40_000, 40_001], [IN_ORDER, RESTARTED, IN_ORDER], 1),
        ([5_000, 100, 101], [IN_ORDER, RESTARTED, IN_ORDER], 1),
    ],
)
def test_order(sequences, expected, lost):
    found, reception = arrivals(sequences)
    assert found == expected
    assert reception.lost == lost


def test_another_source_begins_anew():
    _, reception = arrivals([1, 2])
    assert reception.packet(8, 900, 0, 0.0) is RESTARTED
    assert reception.packet(8, 901, 0, 0.0) is IN_ORDER
    assert reception.lost == 0


def block(reception, now):
    report = parse_rtcp(reception.report(now))[0]
    assert isinstance(report, ReceiverReport)
    return report.reports[0]


def test_report():
    _, reception = arrivals([65_534, 65_535, 3])
    reception.sender_report(SenderReport(7, 0x0102030405060708, 0, 0, 0), now=1.0)
    reception.sender_report(SenderReport(99, 0, 0, 0, 0), now=1.5)
    found = block(reception, now=3.0)
    assert (found.ssrc, found.highest_sequence, found.packets_lost) == (7, 65_536 + 3, 3)
    assert found.fraction_lost == 3 * 256 // 6
    assert (found.last_sr, found.delay_since_last_sr) == (0x03040506, 2 * 65_536)
    assert block(reception, now=3.0).fraction_lost == 0


def test_report_before_any_packet_has_no_block():
    report = parse_rtcp(Reception(90_000, 5, "c").report(0.0))
    assert report == [ReceiverReport(5)]


def test_jitter_follows_the_formula_of_rfc_3550():
    reception = Reception(90_000, 1, "c")
    reception.packet(7, 0, 0, 0.0)
    reception.packet(7, 1, 3600, 0.050)  # 10 ms late: 900 ticks
    assert block(reception, 1.0).jitter == 900 // 16
    assert reception.jitter_s == pytest.approx(0.010 / 16)
    reception.packet(7, 2, 4_000_000_000, 0.06)  # a jump is not jitter
    assert block(reception, 1.0).jitter == 900 // 16


def test_a_timestamp_that_wraps_is_no_jitter():
    reception = Reception(90_000, 1, "c")
    reception.packet(7, 0, 2**32 - 1800, 10.0)
    reception.packet(7, 1, 1800, 10.040)
    assert reception.jitter_s == pytest.approx(0)


def test_a_packet_that_waited_says_nothing_of_jitter():
    reception = Reception(90_000, 1, "c")
    reception.packet(7, 0, 0, 0.0)
    reception.packet(7, 2, 3600, 0.140, timed=False)
    reception.packet(7, 3, 7200, 0.140, timed=False)
    reception.packet(7, 4, 10_800, 0.140)
    assert reception.jitter_s == 0
    reception.packet(7, 5, 14_400, 0.190)
    assert reception.jitter_s == pytest.approx(0.010 / 16)


def test_the_packets_of_a_picture_may_take_their_time():
    reception = Reception(90_000, 1, "c")
    for sequence in range(10):
        reception.packet(7, sequence, 0, sequence * 0.003)
    assert reception.jitter_s == 0
