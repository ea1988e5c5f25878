"""The test viewer against a peer that is not ours: aiortc, in this process."""

import asyncio
from collections.abc import AsyncIterator
from fractions import Fraction

import aioice.ice
import av
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription

from common.rtp import RtpPacket
from tests.bench import clip
from tests.support.viewer import Viewer
from tests.support.viewer_rtp import DepacketizeError, Depacketizer, Reception
from tests.support.viewer_sdp import AnswerError, parse_answer

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
async def peer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RTCPeerConnection]:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    connection = RTCPeerConnection()
    connection.addTrack(Track())
    yield connection
    await connection.close()


async def answer(peer: RTCPeerConnection, offer: str) -> str:
    await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return peer.localDescription.sdp


@pytest.mark.parametrize(
    "profile", ["SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM", "SRTP_AES128_CM_SHA1_80"]
)
async def test_decrypts_what_aiortc_sends(peer: RTCPeerConnection, profile: str) -> None:
    viewer = Viewer(decrypt=True, setup="active", profiles=profile, require_server=False)
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
    received = viewer.access_units
    shift = next(place for place, unit in enumerate(received) if unit.keyframe)
    for place, unit in enumerate(received[shift:]):
        assert unit.nals == UNITS[place % len(UNITS)]
    assert viewer.totals().lost == -1  # the one that came twice
    assert not viewer.faults
    assert viewer.consents >= 1


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


def test_reception_counts_loss_across_the_wrap() -> None:
    reception = Reception()
    for sequence in (0xFFFE, 0xFFFF, 2, 3, 1):
        data = bytes((0x80, 102)) + sequence.to_bytes(2, "big") + bytes(8) + b"media"
        reception.take(data, 0, len(data), 0)
    totals = reception.totals()
    assert (totals.packets, totals.expected, totals.lost) == (5, 6, 1)
    assert (totals.gaps, totals.late) == (1, 1)
