"""Packets to numbered access units over several connections."""

from hypothesis import given, settings
from hypothesis import strategies as st

from common.rtp import Goodbye, RtpPacket, SenderReport, serialize_rtcp, serialize_rtp
from common.units import unix_ns_to_ntp
from ingest.rtsp.sdp import VideoTrack
from ingest.stream import VideoStream

from .test_depacketizer import IDR, PPS, SLICE, SPS

TRACK = VideoTrack("rtsp://h/t", "rtsp://h/", 96, (SPS, PPS))
SECOND_NS = 1_000_000_000


def packet(sequence, payload, timestamp=None, payload_type=96, ssrc=7):
    stamp = sequence * 3600 if timestamp is None else timestamp
    return serialize_rtp(RtpPacket(payload_type, True, sequence, stamp, ssrc, payload))


def started():
    stream = VideoStream(epoch=5)
    stream.restart(TRACK, 1, "c")
    return stream


def feed(stream, *packets, at_s=0):
    return stream.rtp(list(packets), at_s, at_s * SECOND_NS)


def test_numbers_and_parameters():
    stream = started()
    units = feed(stream, packet(1, IDR), packet(2, SLICE), packet(3, SLICE))
    assert [(unit.sequence, unit.keyframe, unit.epoch, unit.codec) for unit in units] == [
        (0, True, 5, "H264"),
        (1, False, 5, "H264"),
        (2, False, 5, "H264"),
    ]
    assert stream.published == stream.next_sequence == 3
    assert (stream.parameters.width, stream.parameters.profile_level_id) == (640, "42c01f")


def test_a_gap_leaves_one_number_out():
    stream = started()
    feed(stream, packet(1, IDR), packet(2, SLICE))
    units = feed(stream, packet(5, SLICE), packet(6, IDR), packet(7, SLICE))
    assert [unit.sequence for unit in units] == [3, 4]
    assert stream.lost_packets == 2


def test_damage_is_counted_over_connections():
    stream = started()
    feed(stream, packet(1, IDR), packet(2, SLICE), packet(3, b"\x5c"), packet(9, SLICE, ssrc=8))
    feed(stream, packet(10, b"\x5c", ssrc=8), packet(11, SLICE, ssrc=8))
    stream.restart(TRACK, 1, "c")
    assert stream.damaged == 2


def test_reconnection_leaves_one_number_out_and_time_goes_on():
    stream = started()
    feed(stream, packet(1, IDR), packet(2, SLICE), packet(9, SLICE))
    stream.restart(TRACK, 1, "c")
    units = feed(stream, packet(1, IDR, 999_999), packet(2, SLICE, 999_999 + 3600), at_s=3)
    assert [unit.sequence for unit in units] == [3, 4]
    assert [unit.timestamp for unit in units] == [7200 + 3 * 90_000, 7200 + 3 * 90_000 + 3600]
    assert stream.lost_packets == 6


def test_new_source_without_reconnection():
    stream = started()
    units = feed(
        stream,
        *(packet(1, IDR), packet(2, SLICE)),
        *(packet(77, IDR, 50, ssrc=8), packet(78, SLICE, 3650, ssrc=8)),
    )
    assert [(unit.sequence, unit.keyframe) for unit in units] == [
        (0, True),
        (1, False),
        (3, True),
        (4, False),
    ]


def test_what_is_not_the_track_is_passed_over():
    stream = started()
    extended = bytearray(packet(3, SLICE))
    extended[0] |= 0x10
    extended[12:12] = b"\xbe\xde\x00\x01\x10\x00\x00\x00"
    units = feed(
        stream,
        *(packet(1, IDR), packet(2, SLICE), b"\x80", b"", packet(9, SLICE, payload_type=97)),
        *(packet(2, SLICE), bytes(extended)),
    )
    assert [unit.nals[-1] for unit in units] == [IDR, SLICE, SLICE]
    assert stream.malformed == 2
    assert stream.lost_packets == 0


def test_before_it_plays():
    stream = VideoStream(1)
    assert feed(stream, packet(1, IDR)) == []
    assert stream.receiver_report(0) is None
    assert stream.lost_packets == 0


def test_rtcp():
    stream = started()
    feed(stream, packet(1, IDR))
    report = SenderReport(7, unix_ns_to_ntp(5 * SECOND_NS), 3600, 0, 0)
    assert stream.rtcp(serialize_rtcp(report), 0) is False
    assert stream.rtcp(b"\x80", 0) is False
    assert stream.malformed == 1
    assert stream.rtcp(serialize_rtcp(Goodbye((7,))), 0) is True
    (unit, second) = feed(stream, packet(2, SLICE), at_s=6)
    assert (unit.capture_ns, second.capture_ns) == (5 * SECOND_NS, 5 * SECOND_NS + SECOND_NS // 25)
    assert stream.receiver_report(1)


def test_unreadable_sps_passes():
    stream = VideoStream(1)
    stream.restart(VideoTrack("", "", 96, (b"\x67\x42\xc0\x1f\xff", PPS)), 1, "c")
    assert len(feed(stream, packet(1, IDR), packet(2, SLICE))) == 2
    assert stream.parameters is None


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.one_of(st.binary(max_size=40), st.builds(packet, st.integers(0, 9), st.binary(max_size=8))))
)
def test_fuzz_nothing_raises(packets):
    stream = started()
    feed(stream, *packets)
    for data in packets:
        stream.rtcp(data, 0)
    stream.receiver_report(1)
