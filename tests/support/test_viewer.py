"""The test viewer against a peer that is not ours: aiortc, in this process."""

import asyncio
import contextlib
import random
import struct
from collections.abc import AsyncIterator
from fractions import Fraction

import aioice.ice
import av
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from hypothesis import given
from hypothesis import strategies as st

from common.rtcp_feedback import TransportFeedback
from common.rtp import RtpPacket, parse_rtcp
from tests.bench import clip
from tests.support.viewer import Viewer
from tests.support.viewer_feedback import MissingPackets, TransportReceiver
from tests.support.viewer_rtp import HeaderExtensions, Reception, read_extensions
from tests.support.viewer_sdp import (
    CHROMIUM,
    PLAIN,
    PLAYOUT_DELAY,
    WITH_H265,
    AnswerError,
    offer,
    parse_answer,
)
from tests.support.viewer_units import DepacketizeError, Depacketizer, InOrder

SPS = bytes((0x67, 0x42, 0xC0, 0x1F)) + bytes(range(1, 20))
PPS = bytes((0x68, 0xCE, 0x3C, 0x80))
UNITS: tuple[clip.Unit, ...] = (
    (SPS, PPS, b"\x65" + bytes(1 + number % 255 for number in range(5000))),
    (b"\x41" + bytes(1 + number % 250 for number in range(900)),),
    (b"\x41" + bytes(1 + number % 99 for number in range(3000)),),
)


class Track(MediaStreamTrack):
    """Gives the units over and over."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._number = 0

    async def recv(self) -> "av.Packet[av.stream.Stream]":
        await asyncio.sleep(0.01)
        packet: av.Packet[av.stream.Stream] = av.Packet(clip.annex_b(UNITS[self._number % len(UNITS)]))
        packet.pts, packet.time_base = self._number * 900, Fraction(1, 90_000)
        self._number += 1
        return packet


@pytest.fixture
async def peer(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[RTCPeerConnection]:
    address = getattr(request, "param", "127.0.0.1")
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [address])
    connection = RTCPeerConnection()
    connection.addTrack(Track())
    yield connection
    await connection.close()


async def answer(peer: RTCPeerConnection, offer: str) -> str:
    await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return peer.localDescription.sdp


def full_peer_viewer(**options: object) -> Viewer:
    """A viewer for a peer that is no ICE-lite server, which takes the DTLS role that it is not asked for."""
    return Viewer(decrypt=True, setup="active", require_server=False, **options)


def assert_in_order(viewer: Viewer) -> None:
    received = viewer.access_units
    shift = next(place for place, unit in enumerate(received) if unit.keyframe)
    for place, unit in enumerate(received[shift:]):
        assert unit.nals == UNITS[place % len(UNITS)]


@pytest.mark.parametrize(
    "profile", ["SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM", "SRTP_AES128_CM_SHA1_80"]
)
async def test_decrypts_what_aiortc_sends(peer: RTCPeerConnection, profile: str) -> None:
    viewer = full_peer_viewer(profiles=profile, features=PLAIN)
    try:
        await viewer.connect(await answer(peer, viewer.offer()))
        assert viewer.srtp is not None and viewer.srtp.profile == profile
        await viewer.until(lambda: len(viewer.access_units) >= 12)
        await viewer.until(lambda: bool(viewer.sender_reports))
        viewer.send_pli()
        viewer.send_nack(viewer.packets[-1].sequence)
        await viewer.until(lambda: viewer.totals().late == 1)
    finally:
        viewer.close()
    assert_in_order(viewer)
    assert viewer.totals().lost == -1  # the one that came twice
    assert not viewer.faults and not viewer.repaired
    assert viewer.consents >= 1


async def test_reads_retransmission_streams(peer: RTCPeerConnection) -> None:
    viewer = full_peer_viewer()
    try:
        await viewer.connect(await answer(peer, viewer.offer()))
        assert viewer.answer is not None and viewer.answer.audio is None
        assert viewer.answer.video.rtx and viewer.answer.video.rtx_ssrc
        await viewer.until(lambda: len(viewer.packets) >= 5)
        wanted = viewer.packets[2]
        viewer.send_nack(wanted.sequence)
        await viewer.until(lambda: bool(viewer.repaired))
    finally:
        viewer.close()
    assert viewer.repaired == [wanted]
    assert viewer.rtx.packets == 1 and viewer.rtx.ssrc == viewer.answer.video.rtx_ssrc
    assert viewer.totals().lost == viewer.totals().late == 0 and not viewer.faults


@pytest.mark.parametrize("features", [CHROMIUM, CHROMIUM - {"rtx"}])
async def test_asks_for_what_it_misses_until_it_has_it(
    peer: RTCPeerConnection, features: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = full_peer_viewer(nacks=True, features=features)
    media, dice = viewer._media, random.Random(4)
    dropped = []

    def lossy(data: bytes, received_ns: int) -> None:
        if viewer.packets and dice.random() < 0.1:
            dropped.append(data)
        else:
            media(data, received_ns)

    monkeypatch.setattr(viewer, "_media", lossy)
    try:
        await viewer.connect(await answer(peer, viewer.offer()))
        await viewer.until(lambda: len(viewer.access_units) >= 60)
    finally:
        viewer.close()
    assert_in_order(viewer)
    assert len(dropped) > 5 and not viewer.skipped and not viewer.faults
    assert bool(viewer.repaired) is ("rtx" in features)


@pytest.mark.parametrize("peer", ["::1"], indirect=True)
async def test_over_ipv6(peer: RTCPeerConnection) -> None:
    viewer = full_peer_viewer(host="::1")
    try:
        await viewer.connect(await answer(peer, viewer.offer()))
        await viewer.until(lambda: len(viewer.access_units) >= 4)
    finally:
        viewer.close()
    assert viewer.remote is not None and viewer.remote[0] == "::1"


class TcpFront(asyncio.DatagramProtocol):
    """RFC 4571 frames of a TCP connection as datagrams to a peer that has only UDP."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def datagram_received(self, data: bytes, address: object) -> None:
        # In small pieces, so that the reader has to put frames together.
        frame = struct.pack("!H", len(data)) + data
        for at in range(0, len(frame), 700):
            self._writer.write(frame[at : at + 700])


async def test_over_tcp(peer: RTCPeerConnection) -> None:
    viewer = full_peer_viewer(tcp=True, nat=True)
    text = await answer(peer, viewer.offer())
    assert "tcptype active" in viewer.offer()
    behind = parse_answer(text).candidates[0]

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: TcpFront(writer), remote_addr=(behind.host, behind.port)
        )
        try:
            with contextlib.suppress(asyncio.IncompleteReadError), contextlib.closing(transport):
                while True:
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    transport.sendto(await reader.readexactly(length))
            writer.close()
            await writer.wait_closed()
        except ConnectionError:  # with something unread the viewer's end is a reset
            writer.close()
        finally:
            gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    lines = [line for line in text.split("\r\n") if not line.startswith("a=candidate")]
    lines.insert(-1, f"a=candidate:1 1 tcp 1 127.0.0.1 {port} typ host tcptype passive")
    try:
        await viewer.connect("\r\n".join(lines))
        await viewer.until(lambda: len(viewer.access_units) >= 12)
        viewer.stall()
        seen = viewer.totals().packets
        await asyncio.sleep(0.1)
        assert viewer.totals().packets == seen
        viewer.resume()
        await viewer.until(lambda: viewer.totals().packets > seen)
    finally:
        viewer.close()
        server.close()
        await asyncio.wait_for(gone.wait(), 10)
    assert_in_order(viewer)
    assert not viewer.faults


async def test_counts_and_records_without_decrypting(peer: RTCPeerConnection) -> None:
    viewer = Viewer(setup="active", require_server=False)
    viewer.reception.arrivals = []
    try:
        await viewer.connect(await answer(peer, viewer.offer()))
        await viewer.until(lambda: viewer.totals().units >= 10)
    finally:
        viewer.close()
    totals = viewer.totals()
    assert totals.lost == totals.gaps == totals.late == 0
    assert len(viewer.reception.arrivals) == totals.units
    assert not viewer.packets and not viewer.faults


async def test_refuses_the_answer_of_a_full_agent(peer: RTCPeerConnection) -> None:
    viewer = Viewer(setup="active")
    try:
        with pytest.raises(AnswerError, match="ice-lite"):
            await viewer.connect(await answer(peer, viewer.offer()))
    finally:
        viewer.vanish()


async def test_nobody_answers() -> None:
    viewer = Viewer(setup="active", require_server=False)
    other = Viewer()  # holds a port and knows no session
    connection = RTCPeerConnection()
    connection.addTrack(Track())
    try:
        text = await answer(connection, viewer.offer())
        lines = [line for line in text.split("\r\n") if not line.startswith("a=candidate")]
        lines.insert(-1, f"a=candidate:1 1 udp 1 {other.address[0]} {other.address[1]} typ host")
        with pytest.raises(TimeoutError):
            await viewer.connect("\r\n".join(lines), deadline_s=0.3)
    finally:
        viewer.vanish()
        other.vanish()
        await connection.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("v=0\r\n", "v=1\r\n"), "v=0"),
        (("m=video 9", "m=video 0"), "rejects"),
        (("RTP/SAVPF 102", "RTP/SAVPF 96"), "payload type 96"),
        (("a=mid:0\r\n", ""), "a=mid"),
    ],
)
async def test_answers_that_no_browser_takes(change: tuple[str, str], message: str) -> None:
    viewer = Viewer()
    offer = viewer.offer()
    viewer.vanish()
    assert parse_answer(offer).payload_type == 102
    with pytest.raises(AnswerError, match=message):
        parse_answer(offer.replace(*change))


def packet(sequence: int, payload: bytes, *, marker: bool = False, timestamp: int = 0) -> RtpPacket:
    return RtpPacket(102, marker, sequence, timestamp, 1, payload)


@pytest.mark.parametrize(
    ("packets", "message"),
    [
        ([packet(1, b"\x41a"), packet(3, b"\x41a")], "follows"),
        ([packet(1, b"\x41a"), packet(2, b"\x41a", timestamp=1)], "timestamp"),
        ([packet(1, b"\x7c\x85a", marker=True)], "marker"),
        ([packet(1, b"\x7c\x85a"), packet(2, b"\x41a")], "no last fragment"),
        ([packet(1, b"\x7c\x05a")], "out of order"),
        ([packet(1, b"\x78\x00\x09a")], "wrong size"),
        ([packet(1, b"\x79a")], "does not belong"),
    ],
)
def test_depacketizer_is_strict(packets: list[RtpPacket], message: str) -> None:
    depacketizer = Depacketizer()
    with pytest.raises(DepacketizeError, match=message):
        for each in packets:
            depacketizer.feed(each)


def wire(sequence: int, *, size: int = 17, second: int = 102, extension: bytes = b"", ssrc: int = 7) -> bytes:
    """An SRTP packet as far as it can be read without its key."""
    first = 0x90 if extension else 0x80
    header = struct.pack("!BBHII", first, second, sequence & 0xFFFF, 3000, ssrc)
    if extension:
        header += b"\xbe\xde" + (len(extension) // 4).to_bytes(2, "big") + extension
    return header + bytes(size - len(header))


def test_reception_counts_loss_across_the_wrap() -> None:
    reception = Reception()
    for sequence in (0xFFFE, 0xFFFF, 2, 3, 1):
        reception.take(wire(sequence), 0, 17, 0)
    totals = reception.totals()
    assert (totals.packets, totals.expected, totals.lost) == (5, 6, 1)
    assert (totals.gaps, totals.late) == (1, 1)
    assert [reception.extended(sequence) for sequence in (3, 0, 0xFFFF)] == [0x1_0003, 0x1_0000, 0xFFFF]


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.sampled_from([1, 1, 1, 1, 2, 0, -3]), min_size=1, max_size=40),
    st.booleans(),
    st.integers(0, 40),
    st.integers(0, 16),
)
def test_a_train_at_once_counts_as_its_packets_one_by_one(
    first: int, steps: list[int], marker: bool, other: int, shorter: int
) -> None:
    extension = bytes((0x41, 0, 0, 0))
    sequences = [first + sum(steps[: place + 1]) for place in range(len(steps))]
    packets = [
        wire(number, size=60, extension=extension, ssrc=8 if place == other else 7)
        for place, number in enumerate(sequences)
    ]
    last = wire(sequences[-1] + 1, size=60 - shorter, second=102 | marker << 7, extension=extension)
    train = bytearray(b"".join([*packets, last]))
    one_by_one, at_once = Reception(arrivals=[]), Reception(arrivals=[])
    for reception in (one_by_one, at_once):
        reception.take(wire(first, size=60, extension=extension), 0, 60, 1)
    taken = at_once.take_train(train, len(train), 60, 2)
    assert taken is (set(steps) == {1} and other >= len(steps))
    if taken:
        for at in range(0, len(train), 60):
            one_by_one.take(train, at, min(at + 60, len(train)), 2)
        assert one_by_one == at_once


def test_header_extensions() -> None:
    ntp = 0x1234_5678_9ABC_DEF0
    three = bytes((0x41, 1, 2, 0xC7)) + ntp.to_bytes(8, "big") + bytes((0x52, 0, 0, 50, 0, 0, 0, 0))
    assert read_extensions(wire(1, size=60, extension=three), 4, 12, 5) == HeaderExtensions(
        0x0102, ntp, (0, 500)
    )
    assert read_extensions(wire(1), 4, 12, 5) == HeaderExtensions()
    for broken in (
        bytes((0x42, 1, 2, 3)),
        bytes((0x31, 1, 2, 0)),
        bytes((0xF0, 0, 0, 0)),
        bytes((0x47, 0, 0, 0)),
    ):
        with pytest.raises(ValueError, match="header extension"):
            read_extensions(wire(1, size=60, extension=broken), 4, 12, 5)


def test_transport_feedback_octet_by_octet() -> None:
    """Written down from the draft's section 3.1: base, count, reference time, chunks, deltas, padding."""
    receiver = TransportReceiver()
    assert receiver.feedback(1, 2) == b""
    assert receiver.take(0xFFFE, 3, 64_000_000 * 5 + 1_000_000)
    assert not receiver.take(3, 2, 64_000_000 * 5 + 101_000_000)
    receiver.take(5, 1, 64_000_000 * 5 + 102_000_000)
    assert receiver.feedback(1, 2) == bytes.fromhex(
        "af cd 0008 00000001 00000002 fffe 0008 000005 00"  # padded; 8 packets from 0xFFFE on
        "2003 0002 4001 2002"  # 3 small, 2 not received, 1 large, 2 small
        "04 00 00 0190 00 04 01".replace(" ", "")
    )
    assert receiver.missing == 2
    receiver.take(8, 1, 64_000_000 * 6)
    assert receiver.feedback(1, 2)[12:20] == bytes.fromhex("0006 0003 000006 01")
    assert receiver.missing == 4


@given(
    st.integers(0, 0xFFFF),
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 20), st.integers(0, 90_000)), min_size=1, max_size=30
    ),
)
def test_transport_feedback_says_what_came(first: int, trains: list[tuple[int, int, int]]) -> None:
    receiver = TransportReceiver()
    sequence, at_us, taken = first, 1_000_000_000, {}
    for gap, packets, later_us in trains:
        at_us += later_us
        sequence += gap if taken else 0
        receiver.take(sequence & 0xFFFF, packets, at_us * 1000)
        taken.update(dict.fromkeys((n & 0xFFFF for n in range(sequence, sequence + packets)), at_us))
        sequence += packets
    (feedback,) = parse_rtcp(receiver.feedback(1, 2))
    assert isinstance(feedback, TransportFeedback) and feedback.base_sequence == first
    told = dict(feedback.received)
    assert told.keys() == taken.keys()
    assert feedback.span == sequence - first and feedback.lost == sequence - first - len(taken)
    start_us = taken[first] - told[first]
    assert all(0 <= at_us - start_us - told[n] + 250 <= 500 for n, at_us in taken.items())


def test_missing_packets_are_asked_for_as_chromium_does() -> None:
    missing = MissingPackets()
    for sequence in (5, 6, 9, 7):
        missing.take(sequence)
    assert missing.due(0.0) == [8] and missing.due(0.05) == [] and missing.due(0.1) == [8]
    for turn in range(2, 10):
        assert missing.due(turn / 8) == [8]
    assert missing.due(2.0) == [] and not missing
    missing.take(2000)
    assert missing.gave_up and not missing


def test_order_is_kept_until_it_is_given_up() -> None:
    order = InOrder()
    packets = {number: packet(number, b"\x41a", marker=number in (4, 6)) for number in range(1, 9)}
    assert order.push(1, packets[1]) == [packets[1]]
    assert order.push(3, packets[3]) == []
    assert order.push(2, packets[2]) == [packets[2], packets[3]]
    for number in (6, 7, 8):
        assert order.push(number, packets[number]) == []
    assert order.push(2, packets[2]) == []
    assert order.skip() == [packets[7], packets[8]]
    assert order.skip() == []


def test_h265_units() -> None:
    depacketizer = Depacketizer()
    aggregated = bytes((48 << 1, 1, 0, 3, 64, 1, 9, 0, 2, 66, 1))
    fragments = [
        bytes((49 << 1, 1, flags | 19)) + data for flags, data in ((0x80, b"a"), (0, b"b"), (0x40, b"c"))
    ]
    unit = None
    for number, payload in enumerate([aggregated, *fragments]):
        unit = depacketizer.feed(packet(number, payload, marker=number == 3), "H265")
    assert unit is not None and unit.keyframe
    assert unit.nals == (bytes((64, 1, 9)), bytes((66, 1)), bytes((38, 1)) + b"abc")


def test_offers_hold_their_features() -> None:
    text = offer("u", "p", "AA", features=WITH_H265 - {"rtx", "transport-cc"})
    assert "H265/90000" in text and "opus/48000/2" in text and "abs-capture-time" in text
    assert " rtx/" not in text and "transport-cc\r" not in text
    plain = offer("u", "p", "AA", features=PLAIN)
    assert "m=audio" not in plain and "extmap:" not in plain and " nack pli" in plain


def test_answers_tell_audio_retransmission_and_extensions() -> None:
    text = offer("u", "p", "AA").replace(
        "a=mid:0\r\n", "a=mid:0\r\na=ssrc-group:FID 11 12\r\na=ssrc:11 cname:x\r\n"
    )
    text = text.replace("a=mid:1\r\n", "a=mid:1\r\na=ssrc:13 cname:x\r\n")
    parsed = parse_answer(text)
    assert (parsed.video.ssrc, parsed.video.rtx_ssrc) == (11, 12)
    assert parsed.video.rtx[103] == 102 and parsed.video.formats[127] == "H264"
    assert parsed.transport_sequence == 4 and parsed.video.extensions[PLAYOUT_DELAY] == 5
    assert parsed.audio is not None and parsed.audio.ssrc == 13 and parsed.audio.formats[111] == "OPUS"
    assert parsed.audio.formats[0] == "PCMU"
    assert parse_answer(text.replace("m=audio 9", "m=audio 0")).audio is None
