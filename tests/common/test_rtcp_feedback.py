"""RTCP feedback: what is written is read back, layouts of the drafts, damage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rtcp_feedback import (
    REFERENCE_WRAP_US,
    RTCP_PSFB,
    RTCP_RTPFB,
    Feedback,
    KeyframeRequest,
    Nack,
    ReceiverEstimate,
    RtpError,
    TransportFeedback,
    parse_feedback,
    serialize_feedback,
)

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
SSRCS = bytes.fromhex("00000001 00000002")


@st.composite
def transport_feedback(draw: st.DrawFn) -> TransportFeedback:
    base = draw(u16)
    step = st.one_of(st.integers(0, 3), st.integers(0, 255), st.integers(-0x8000, 0x7FFF))
    # Runs of packets, received or not, as networks make them; single ones too.
    runs = draw(st.lists(st.tuples(st.booleans(), st.integers(1, 40) | st.just(9000)), max_size=6))
    position = 0
    received = []
    arrival = draw(st.integers(0, REFERENCE_WRAP_US // 250 - 1))
    for arrived, packets in runs:
        if arrived and packets < 9000:
            for _ in range(packets):
                received.append(((base + position) & 0xFFFF, 250 * arrival))
                arrival += draw(step)
                position += 1
        else:
            position += packets
    return TransportFeedback(
        draw(u32), draw(u32), base, draw(u8), tuple(received), position - len(received), position
    )


feedback = st.one_of(
    st.builds(KeyframeRequest, sender_ssrc=u32, media_ssrc=u32),
    transport_feedback(),
    st.builds(
        ReceiverEstimate,
        sender_ssrc=u32,
        bitrate=st.builds(int.__lshift__, st.integers(0, (1 << 18) - 1), st.integers(0, 45)),
        ssrcs=st.lists(u32, max_size=5).map(tuple),
    ),
)


def parse(data: bytes) -> list[Feedback]:
    return parse_feedback(data[1], data[0] & 0x1F, data[4:])


def transport(text: str) -> TransportFeedback:
    """From base sequence number, packet status count, reference time, feedback count, chunks and deltas."""
    (packet,) = parse_feedback(RTCP_RTPFB, 15, SSRCS + bytes.fromhex(text))
    assert isinstance(packet, TransportFeedback)
    return packet


@given(feedback)
def test_round_trip(packet: Feedback) -> None:
    data = serialize_feedback(packet)
    assert len(data) == 4 + 4 * int.from_bytes(data[2:4], "big")
    assert parse(data) == [packet]


@given(u32, u32, st.lists(u16, max_size=40, unique=True))
def test_nack_names_every_sequence(sender: int, media: int, missing: list[int]) -> None:
    (nack,) = parse(serialize_feedback(Nack(sender, media, tuple(missing))))
    assert isinstance(nack, Nack)
    assert sorted(nack.sequences) == sorted(missing)


def test_nack_blp_wraps() -> None:
    # PID 65535 with the lowest bit of BLP: the next sequence number is 0.
    body = SSRCS + bytes.fromhex("ffff0001")
    assert parse_feedback(RTCP_RTPFB, 1, body) == [Nack(1, 2, (65_535, 0))]


def test_fir_names_its_media_in_the_entries() -> None:
    body = bytes.fromhex("00000001 00000000 0000000a 01000000 0000000b 02000000")
    assert parse_feedback(RTCP_PSFB, 4, body) == [KeyframeRequest(1, 10), KeyframeRequest(1, 11)]


def test_transport_feedback_as_runs() -> None:
    # 3 small deltas, 2 not received, 1 large delta of -250 us; reference time 16 * 64 ms.
    packet = transport("fffe0006 00001007 2003 0002 4001 04 00 ff ffff")
    assert packet.base_sequence == 65_534
    assert packet.feedback_count == 7
    assert packet.received == (
        (65_534, 1_025_000),
        (65_535, 1_025_000),
        (0, 1_088_750),
        (3, 1_088_500),
    )
    assert (packet.lost, packet.span) == (2, 6)


def test_transport_feedback_as_vectors() -> None:
    # The vectors of the draft's section 3.1.4, without a reserved symbol in the second.
    packet = transport("0000000e 00000000 9f1c" + "01" * 8)
    assert [sequence for sequence, _ in packet.received] == [1, 2, 3, 4, 5, 9, 10, 11]
    assert packet.received[-1][1] == 8 * 250
    # Not received, a large delta, three small ones, two not received.
    packet = transport("00000007 00000000 c950 0401 00 01 01")
    assert packet.received == ((1, 1025 * 250), (2, 1025 * 250), (3, 1026 * 250), (4, 1027 * 250))
    assert packet.lost == 3


@pytest.mark.parametrize("chunk", ["bfff", "d555", "3fff", "2003"])
def test_symbols_past_the_count_are_passed_over(chunk: str) -> None:
    packet = transport(f"00000003 00000000 {chunk} 010101 00")
    assert packet.received == ((0, 250), (1, 500), (2, 750))
    assert packet.lost == 0


def test_largest_claim_of_nothing_received() -> None:
    packet = transport("0007ffff 00000000" + "1fff" * 8 + "0007")
    assert packet.received == ()
    assert packet.lost == packet.span == 65_535


def test_arrivals_too_far_apart_are_not_written() -> None:
    with pytest.raises(ValueError, match="8192000 us"):
        serialize_feedback(TransportFeedback(1, 2, 0, 0, ((0, 0), (1, 8_192_000)), 0, 2))


def test_estimate() -> None:
    # The bit rate is mantissa * 2^exponent (section 2.2): exponent 3, mantissa 0x2_0001.
    body = bytes.fromhex("00000001 00000000 52454d42 020e0001 0000000a 0000000b")
    assert parse_feedback(RTCP_PSFB, 15, body) == [ReceiverEstimate(1, 0x2_0001 << 3, (10, 11))]


def test_estimate_keeps_18_bits() -> None:
    (packet,) = parse(serialize_feedback(ReceiverEstimate(1, 10_000_001, ())))
    assert packet == ReceiverEstimate(1, 10_000_000, ())


@pytest.mark.parametrize(
    ("kind", "fmt"),
    [(RTCP_RTPFB, 3), (RTCP_PSFB, 2), (RTCP_PSFB, 15), (RTCP_PSFB, 31)],
)
def test_other_feedback_is_passed_over(kind: int, fmt: int) -> None:
    assert parse_feedback(kind, fmt, SSRCS + b"GOOG" + bytes(8)) == []


@pytest.mark.parametrize(
    ("kind", "fmt", "body"),
    [
        (RTCP_RTPFB, 1, "00000001"),
        (RTCP_RTPFB, 15, "00000001 00000002 00000001 000000"),
        (RTCP_RTPFB, 15, "00000001 00000002 00000001 00000000"),  # no chunk
        (RTCP_RTPFB, 15, "00000001 00000002 0000000f 00000000 8000 0000"),  # 14 of 15 statuses, then one of 0
        (RTCP_RTPFB, 15, "00000001 00000002 0000ffff 00000000 3fff 3fff"),  # 8191 claimed, 2 octets
        (RTCP_RTPFB, 15, "00000001 00000002 00000002 00000000 2002 01"),  # one delta of two
        (RTCP_RTPFB, 15, "00000001 00000002 00000002 00000000 4002 010101"),  # one and a half large deltas
        (RTCP_RTPFB, 15, "00000001 00000002 0000000e 00000000 bfff 01"),
        (RTCP_RTPFB, 15, "00000001 00000002 00000001 00000000 6001 0101"),  # reserved symbol in a run
        (RTCP_RTPFB, 15, "00000001 00000002 00000007 00000000 cd50 0101010101"),  # in a vector
        (RTCP_PSFB, 15, "00000001 00000000 52454d42"),
        (RTCP_PSFB, 15, "00000001 00000000 52454d42 02000001 00000001"),  # one SSRC of two
        (RTCP_PSFB, 15, "00000001 00000000 52454d42 00ffffff"),  # 2^81 bit/s
    ],
)
def test_damage(kind: int, fmt: int, body: str) -> None:
    with pytest.raises(RtpError):
        parse_feedback(kind, fmt, bytes.fromhex(body))


@given(transport_feedback(), st.data())
def test_cut_or_changed_feedback_is_feedback_or_an_error(
    packet: TransportFeedback, data: st.DataObject
) -> None:
    octets = bytearray(serialize_feedback(packet)[4:])
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= data.draw(u8)
    for damaged in (octets, octets[:at]):
        try:
            parsed = parse_feedback(RTCP_RTPFB, 15, bytes(damaged))
        except RtpError:
            continue
        (found,) = parsed
        assert isinstance(found, TransportFeedback)
        assert len(found.received) + found.lost == found.span
        assert len(found.received) <= len(damaged)


@given(st.sampled_from([RTCP_RTPFB, RTCP_PSFB]), st.integers(0, 31), st.binary(max_size=60))
def test_any_octets_are_feedback_or_an_error(kind: int, fmt: int, body: bytes) -> None:
    for candidate in (body, SSRCS + body, SSRCS + b"REMB" + body):
        try:
            packets = parse_feedback(kind, fmt, candidate)
        except RtpError:
            continue
        assert all(isinstance(packet, Feedback) for packet in packets)
