"""One RTP source: numbers, marker bits, reports."""

from common.rtp import SenderReport, parse_rtcp, parse_rtp
from common.units import ntp_to_unix_ns
from ingest.simulated.packets import RtpStream

NOW = 1_800_000_000 * 10**9


def test_packets_of_an_access_unit() -> None:
    stream = RtpStream(payload_type=96, ssrc=5, sequence=65_534, first_timestamp=0xFFFF_FFFF)
    payloads = [(b"abc", False), (b"de", False), (b"f", True)]
    packets = [parse_rtp(data) for data in stream.packets(payloads, 90_001)]
    assert [(packet.payload, packet.marker) for packet in packets] == payloads
    assert [packet.sequence for packet in packets] == [65_534, 65_535, 0]
    assert {(packet.payload_type, packet.timestamp, packet.ssrc) for packet in packets} == {(96, 90_000, 5)}
    assert (stream.packet_count, stream.octet_count) == (3, 6)


def test_a_report_tells_the_time_of_a_tick() -> None:
    stream = RtpStream(payload_type=0, ssrc=7, sequence=0, first_timestamp=1000)
    stream.packets([(b"abcd", False)], 0)
    (report,) = parse_rtcp(stream.report(NOW, 8000))
    assert isinstance(report, SenderReport)
    assert (report.ssrc, report.rtp_timestamp) == (7, 9000)
    assert (report.packet_count, report.octet_count) == (1, 4)
    assert abs(ntp_to_unix_ns(report.ntp) - NOW) <= 1
