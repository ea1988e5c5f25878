"""RTP and RTCP: what is written is read back; damaged octets raise RtpError and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rtp import (
    Goodbye,
    KeyframeRequest,
    Nack,
    ReceiverEstimate,
    ReceiverReport,
    ReportBlock,
    RtpError,
    RtpPacket,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    parse_rtcp,
    parse_rtp,
    serialize_rtcp,
    serialize_rtp,
)

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    marker=st.booleans(),
    sequence=u16,
    timestamp=u32,
    ssrc=u32,
    payload=st.binary(max_size=100),
)
blocks = st.builds(
    ReportBlock,
    ssrc=u32,
    fraction_lost=u8,
    packets_lost=st.integers(-(2**23), 2**23 - 1),
    highest_sequence=u32,
    jitter=u32,
    last_sr=u32,
    delay_since_last_sr=u32,
)
reports = st.lists(blocks, max_size=3).map(tuple)
rtcp = st.one_of(
    st.builds(
        SenderReport,
        ssrc=u32,
        ntp=st.integers(0, 2**64 - 1),
        rtp_timestamp=u32,
        packet_count=u32,
        octet_count=u32,
        reports=reports,
    ),
    st.builds(ReceiverReport, ssrc=u32, reports=reports),
    st.builds(Goodbye, ssrcs=st.lists(u32, max_size=4).map(tuple)),
    # Feedback is told apart by tests/common/test_rtcp_feedback.py; here it stands among the others.
    st.builds(KeyframeRequest, sender_ssrc=u32, media_ssrc=u32),
    st.just(Nack(1, 2, (3, 4))),
    st.just(TransportFeedback(1, 2, 7, 0, ((7, 64_000), (9, 64_250)), 1, 3)),
    st.just(ReceiverEstimate(1, 300_000, (2,))),
)


@given(packets)
def test_rtp_round_trip(packet: RtpPacket) -> None:
    assert parse_rtp(serialize_rtp(packet)) == packet


@given(packets, st.lists(u32, max_size=15), st.none() | st.binary(max_size=40), st.integers(0, 20))
def test_csrc_extension_and_padding_are_taken_off(
    packet: RtpPacket, csrcs: list[int], extension: bytes | None, padding: int
) -> None:
    data = bytearray(serialize_rtp(packet))
    inserted = b"".join(csrc.to_bytes(4, "big") for csrc in csrcs)
    data[0] |= len(csrcs)
    if extension is not None:
        words = -(-len(extension) // 4)
        data[0] |= 0x10
        inserted += b"\xbe\xde" + words.to_bytes(2, "big") + extension.ljust(4 * words, b"\0")
    data[12:12] = inserted
    if padding:
        data[0] |= 0x20
        data += bytes(padding - 1) + bytes((padding,))
    assert parse_rtp(bytes(data)) == packet


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        bytes(12),  # version 0
        b"\x8f" + bytes(11),  # 15 CSRCs announced
        b"\x90" + bytes(11),  # extension announced
        b"\x90" + bytes(11) + b"\xbe\xde\xff\xff",
        b"\xa0" + bytes(11) + b"\x00",  # padding of 0
        b"\xa0" + bytes(11) + b"\x02",  # padding into the header
    ],
)
def test_bad_rtp(data: bytes) -> None:
    with pytest.raises(RtpError):
        parse_rtp(data)


@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda rest: b"\xb3" + rest))
def test_any_octets_are_rtp_or_an_error(data: bytes) -> None:
    try:
        parse_rtp(data)
    except RtpError:
        return


@given(st.lists(rtcp, max_size=4))
def test_compound_round_trip(compound: list) -> None:
    data = b"".join(map(serialize_rtcp, compound))
    assert len(data) % 4 == 0
    assert parse_rtcp(data) == compound


@pytest.mark.parametrize("name", ["", "a", "ab", "abc", "abcd", "x" * 300])
def test_source_description_is_padded_and_passed_over(name: str) -> None:
    data = serialize_rtcp(SourceDescription(7, name))
    assert len(data) % 4 == 0
    assert parse_rtcp(data + serialize_rtcp(Goodbye((7,)))) == [Goodbye((7,))]


@pytest.mark.parametrize(
    "data",
    [
        b"\x80",
        b"\x00\xc8\x00\x00",  # version 0
        b"\x80\xc8\x00\x01" + bytes(3),  # passes the end
        b"\x80\xc8\x00\x01" + bytes(4),  # sender report without its sender information
        b"\x80\xc9\x00\x00",  # receiver report without SSRC
        b"\x81\xc9\x00\x01" + bytes(4),  # one block announced
        b"\x81\xcb\x00\x00",  # BYE of one source, none there
        b"\x81\xce\x00\x01" + bytes(4),  # feedback with one SSRC
    ],
)
def test_bad_rtcp(data: bytes) -> None:
    with pytest.raises(RtpError):
        parse_rtcp(data)


@given(st.binary(max_size=100), u8, st.integers(198, 210))
def test_any_octets_are_rtcp_or_an_error(data: bytes, first: int, kind: int) -> None:
    body = data[: len(data) // 4 * 4]
    framed = bytes((0x80 | first & 0x3F, kind)) + (len(body) // 4).to_bytes(2, "big") + body
    for candidate in (data, framed, framed + data):
        try:
            parse_rtcp(candidate)
        except RtpError:
            continue
