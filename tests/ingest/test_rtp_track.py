"""RTP packets of one connection to frames, and what the sink is told besides."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import CameraError
from common.rtp import (
    Goodbye,
    ReceiverReport,
    RtpPacket,
    SenderReport,
    parse_rtcp,
    serialize_rtcp,
    serialize_rtp,
)
from ingest.reorder import MAX_HOLD_S, ReorderBuffer
from ingest.rtp_track import MAX_RESTARTS, RtpTrack
from ingest.rtsp.sdp import Track

from .codecs.test_h264 import IDR, PPS, SLICE, SPS
from .recording_sink import RecordingSink

SETS = "Z0LAH9oCgL/lwEQAAAMABAAAAwDIPGDKgA==,aM48gA=="
VIDEO = Track("video", "H264", 96, 90_000, 0, (("sprop-parameter-sets", SETS),), "rtsp://h/1")
AUDIO = Track("audio", "PCMA", 8, 8000, 1, (), "rtsp://h/2")


def packet(sequence, payload, timestamp=None, payload_type=96, ssrc=7):
    stamp = sequence * 3600 if timestamp is None else timestamp
    return serialize_rtp(RtpPacket(payload_type, True, sequence, stamp, ssrc, payload))


def made(description=VIDEO, reorder=None):
    sink = RecordingSink()
    return RtpTrack(description, 0, sink, own_ssrc=1, cname="c", reorder=reorder), sink


def feed(track, *packets, at_s=0.0):
    track.rtp(list(packets), at_s, int(at_s * 1e9))


def pictures(sink):
    return [(frame.nals[-1], frame.keyframe, frame.gap) for _, frame in sink.all_frames]


def test_frames_and_what_the_track_is():
    track, sink = made()
    feed(track, packet(1, IDR), packet(2, SLICE), packet(3, SLICE), at_s=2.5)
    assert pictures(sink) == [(IDR, True, True), (SLICE, False, False), (SLICE, False, False)]
    assert (track.kind, track.codec, track.clock_rate, track.channels, track.config) == (
        "video",
        "H264",
        90_000,
        0,
        b"",
    )
    assert (track.parameters.width, track.parameters.profile_level_id) == (640, "42c01f")
    assert sink.all_frames[0][1].nals == (SPS, PPS, IDR)
    assert track.last_packet_at == 2.5
    assert (track.lost, track.damaged, track.malformed, track.reordered) == (0, 0, 0, 0)


def test_audio():
    track, sink = made(AUDIO)
    feed(track, packet(1, b"a" * 160, 0, payload_type=8), packet(2, b"b" * 160, 160, payload_type=8))
    assert [frame.nals for _, frame in sink.all_frames] == [(b"a" * 160,), (b"b" * 160,)]
    assert (track.kind, track.codec, track.clock_rate, track.channels) == ("audio", "PCMA", 8000, 1)
    assert track.parameters is None


def test_loss_is_a_gap_also_when_it_ends_a_batch():
    track, sink = made()
    feed(track, packet(1, IDR), packet(2, SLICE))
    # Number 4 is of the same source, though it is not read: what is missing before it is missing.
    feed(track, packet(4, b"", payload_type=97))
    feed(track, packet(5, SLICE), packet(6, IDR), packet(7, SLICE))
    assert pictures(sink)[2:] == [(IDR, True, True), (SLICE, False, False)]
    assert track.lost == 1


def test_another_payload_type_of_the_same_source_has_its_place_in_the_sequence():
    track, sink = made()
    feed(track, packet(1, IDR), packet(2, b"", payload_type=97), packet(3, SLICE), packet(4, SLICE))
    assert len(pictures(sink)) == 3
    assert track.lost == 0


def test_what_is_not_the_track_is_passed_over():
    track, sink = made()
    extended = bytearray(packet(3, SLICE))
    extended[0] |= 0x10
    extended[12:12] = b"\xbe\xde\x00\x01\x10\x00\x00\x00"
    feed(
        track,
        *(packet(1, IDR), packet(2, SLICE), b"\x80", b"", packet(9, SLICE, payload_type=97, ssrc=8)),
        *(packet(2, SLICE), bytes(extended)),
    )
    assert [nal for nal, _, _ in pictures(sink)] == [IDR, SLICE, SLICE]
    assert track.malformed == 2
    assert track.lost == 0


def test_a_new_source_is_told_between_its_frames_and_the_old():
    track, sink = made()
    feed(track, packet(1, IDR), packet(2, SLICE), packet(3, b"\x5c"), packet(9, SLICE))
    damaged = track.damaged
    assert damaged > 0
    feed(track, packet(77, IDR, 50, ssrc=8), packet(78, SLICE, 3650, ssrc=8), packet(79, SLICE, 7250, ssrc=8))
    assert [call[0] for call in sink.calls] == ["frames", "restarted", "frames"]
    assert [frame.timestamp for frame in sink.calls[2][2]] == [50, 3650, 7250]
    assert track.damaged == damaged


def test_a_source_that_changes_all_the_time_ends_the_connection():
    """Two senders on one port, both of whose streams begin anew with each packet of the other."""
    track, sink = made()
    for sequence in range(MAX_RESTARTS):
        feed(track, packet(sequence, IDR, ssrc=8 + sequence % 2), at_s=sequence / 10)
    with pytest.raises(CameraError, match=r"began anew 20 times within 10 s.*two senders"):
        feed(track, packet(sequence, IDR, ssrc=7), at_s=2.0)
    assert [call[0] for call in sink.calls].count("restarted") == MAX_RESTARTS - 1


def heard(sequence, ssrc=7):
    return packet(sequence, b"a" * 160, sequence * 160, payload_type=8, ssrc=ssrc)


@pytest.mark.parametrize("reorder", [False, True])
def test_sound_whose_source_changes_all_the_time_is_left_out(reorder):
    """The picture has nothing to do with it, and shall not go with it."""
    track, sink = made(AUDIO, ReorderBuffer(8) if reorder else None)
    for sequence in range(MAX_RESTARTS + 1):
        assert track.note is None
        feed(track, heard(sequence, ssrc=8 + sequence % 2), at_s=sequence / 10)
    assert "audio is left out: it began anew 20 times within 10 s" in track.note
    calls = len(sink.calls)
    # For the rest of the connection, also when one of them is alone.
    for sequence in range(30, 60):
        feed(track, heard(sequence), at_s=float(sequence))
        if reorder and sequence % 7:
            feed(track, heard(sequence + 2), at_s=float(sequence))
            assert track.deadline is not None
            track.poll(sequence + MAX_HOLD_S, 0)
            assert track.deadline is None
    track.rtcp([serialize_rtcp(SenderReport(7, 1 << 32, 0, 0, 0))], 60.0, 0)
    assert len(sink.calls) == calls
    assert "audio is left out" in track.note
    track.receiver_report(61.0)


def test_a_source_that_changes_now_and_then_goes_on():
    track, sink = made()
    for index in range(200):
        feed(track, packet(index, IDR, ssrc=8 + index % 2), at_s=float(index))
    assert [call[0] for call in sink.calls].count("restarted") == 199


@pytest.mark.parametrize(
    ("useless", "why"),
    [
        (lambda number: b"\0" * 40, "that cannot be read as RTP"),
        (lambda number: packet(number, b"xx", payload_type=110), "of payload type 110 (its SDP says 96)"),
        (lambda number: packet(number, b"x", payload_type=0, ssrc=8), "of payload type 0 (its SDP says 96)"),
        (lambda number: packet(1, SLICE), "whose sequence number came before"),
        (lambda number: packet(number, b""), "without a payload"),
    ],
)
def test_only_packets_with_something_for_the_depacketizer_are_of_use(useless, why):
    track, _ = made()
    assert track.passed_over is None
    feed(track, packet(1, SLICE), at_s=1.0)
    for number in (2, 3):
        feed(track, useless(number), at_s=2.0)
    assert (track.last_packet_at, track.passed_over) == (1.0, f"2 packets {why}")
    feed(track, packet(4, SLICE), at_s=3.0)
    assert (track.last_packet_at, track.passed_over) == (3.0, None)


def test_packets_that_come_twice_are_counted():
    track, _ = made()
    feed(track, packet(1, IDR), packet(1, IDR), packet(2, SLICE), packet(1, IDR))
    assert (track.dropped, track.lost) == (2, 0)


def test_reordering():
    track, sink = made(reorder=ReorderBuffer(96))
    feed(track, packet(1, IDR), packet(3, SLICE), at_s=1.0)
    assert track.deadline == 1.0 + MAX_HOLD_S
    feed(track, packet(2, SLICE), packet(2, SLICE), at_s=1.02)
    assert (track.deadline, track.reordered, track.dropped, track.lost) == (None, 1, 1, 0)
    feed(track, packet(5, SLICE), at_s=1.04)
    track.poll(1.04 + MAX_HOLD_S, 0)
    assert (track.deadline, track.lost) == (None, 1)
    assert len(pictures(sink)) == 3


def test_what_waits_for_a_lost_packet_is_no_jitter():
    """Every tenth packet is lost: what follows it is given free 100 ms later, and none came late."""
    track, _ = made(reorder=ReorderBuffer(96))
    for index in range(500):
        now = index * 0.04
        if track.deadline is not None and track.deadline <= now:
            track.poll(track.deadline, 0)
        if index % 10 != 5:
            feed(track, packet(index, SLICE), at_s=now)
    assert track.lost == 50
    assert track.jitter_s < 0.001


def test_without_reordering_there_is_nothing_to_wait_for():
    track, _ = made()
    feed(track, packet(1, IDR), packet(3, SLICE))
    assert track.deadline is None
    track.poll(9, 0)


def test_rtcp():
    track, sink = made()
    early = SenderReport(7, 1 << 32, 0, 0, 0)
    track.rtcp([serialize_rtcp(early)], 0.0, 4)
    feed(track, packet(1, IDR))
    report = SenderReport(7, 5 << 32, 3600, 0, 0)
    track.rtcp([serialize_rtcp(report), b"\x80", serialize_rtcp(SenderReport(9, 1, 1, 0, 0))], 1.0, 5)
    assert [call for call in sink.calls if call[0] == "sender_report"] == [
        ("sender_report", 0, early, 4),
        ("sender_report", 0, report, 5),
    ]
    assert track.malformed == 1
    answer = parse_rtcp(track.receiver_report(3.0))[0]
    assert isinstance(answer, ReceiverReport)
    assert (answer.reports[0].ssrc, answer.reports[0].delay_since_last_sr) == (7, 2 * 65_536)


def test_goodbye():
    track, _ = made()
    feed(track, packet(1, IDR))
    # Of another receiver in the group.
    track.rtcp([serialize_rtcp(Goodbye((9,)))], 0.0, 0)
    with pytest.raises(CameraError, match="BYE"):
        track.rtcp([serialize_rtcp(Goodbye((9, 7)))], 0.0, 0)


def test_a_goodbye_of_the_sound_ends_the_sound_alone():
    track, sink = made(AUDIO)
    feed(track, heard(1))
    track.rtcp([serialize_rtcp(Goodbye((7,)))], 0.0, 0)
    assert track.note == "audio has ended: camera said goodbye to it (RTCP BYE)"
    # Another source of sound may follow (RFC 3550 section 8.2).
    feed(track, heard(70, ssrc=9), heard(71, ssrc=9))
    assert track.note is None
    assert len(sink.all_frames) == 3


def test_receiver_report_before_anything_came():
    track, _ = made()
    assert parse_rtcp(track.receiver_report(1.0)) == [ReceiverReport(1)]


@pytest.mark.parametrize("reorder", [False, True])
@settings(max_examples=100)
@given(
    packets=st.lists(
        st.one_of(st.binary(max_size=40), st.builds(packet, st.integers(0, 9), st.binary(max_size=8)))
    )
)
def test_fuzz_nothing_raises(reorder, packets):
    track, _ = made(reorder=ReorderBuffer(96) if reorder else None)
    feed(track, *packets)
    for data in packets:
        try:
            track.rtcp([data], 0.0, 0)
        except CameraError as exc:
            assert "BYE" in str(exc)
    track.poll(1.0, 0)
    track.receiver_report(1.0)
