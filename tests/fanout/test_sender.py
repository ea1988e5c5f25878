"""One viewer's stream on a real socket: what arrives, in which order, with which numbers."""

import asyncio
import itertools
import os
import socket
from collections.abc import Iterator

import pylibsrtp
import pytest

from common.rtp import RtpPacket, SenderReport, parse_rtcp, parse_rtp
from fanout.egress import Egress
from fanout.pacer import Pacer
from fanout.packetizer import PacketizedUnit, packetize
from fanout.sender import RtpSender
from fanout.srtp import MasterKey, protector
from tests.fanout.units import access_unit

SSRC = 4711
KEY, SALT = os.urandom(16), os.urandom(12)


class Wire:
    """A sender and the decrypting other end of its socket."""

    def __init__(self, gso: bool = True) -> None:
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.setblocking(False)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.egress = Egress(self.socket, gso)
        self.paced: list[RtpSender] = []
        master = MasterKey("SRTP_AEAD_AES_128_GCM", KEY, SALT)
        self.sender = RtpSender(
            self.egress, self, protector(master, SSRC, 102), self.receiver.getsockname(), SSRC
        )
        self.srtp = pylibsrtp.Session(
            pylibsrtp.Policy(
                key=KEY + SALT,
                ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
                srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
            )
        )

    def add(self, paced: RtpSender) -> None:
        self.paced.append(paced)

    def discard(self, paced: RtpSender) -> None:
        self.paced.clear()

    def received(self) -> list[RtpPacket]:
        packets = []
        while True:
            try:
                packets.append(parse_rtp(self.srtp.unprotect(self.receiver.recv(2048))))
            except BlockingIOError:
                return packets

    def close(self) -> None:
        self.receiver.close()
        self.socket.close()


@pytest.fixture(params=[True, False], ids=["gso", "one by one"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    wire = Wire(request.param)
    yield wire
    wire.close()


def unit(sequence: int, keyframe: bool = False, size: int = 3000) -> PacketizedUnit:
    packetized = packetize(access_unit(sequence, keyframe, size), sequence * 3600)
    assert packetized is not None
    return packetized


def test_nothing_before_a_keyframe_then_everything_in_order(wire: Wire) -> None:
    wire.sender.send(unit(0))
    assert wire.received() == [] and wire.sender.dropped_frames == 0
    units = [unit(1, keyframe=True), unit(2), unit(3, size=20_000)]
    for each in units:
        wire.sender.send(each)
    packets = wire.received()
    assert [p.payload for p in packets] == [payload for u in units for run in u.runs for payload in run]
    assert [p.sequence for p in packets] == list(
        range(packets[0].sequence, packets[0].sequence + len(packets))
    )
    assert [p.marker for p in packets] == [n == u.packets - 1 for u in units for n in range(u.packets)]
    offsets = [p.timestamp - packets[0].timestamp for p in packets]
    assert offsets == [(n * 3600) for n, u in enumerate(units) for _ in range(u.packets)]
    assert {p.ssrc for p in packets} == {SSRC} and {p.payload_type for p in packets} == {102}


def test_join_sends_the_cached_gop_paced_within_one_frame_interval(wire: Wire) -> None:
    gop = [unit(0, keyframe=True, size=100_000), *(unit(n, size=30_000) for n in range(1, 20))]
    wire.sender.send_cached(gop, 3600)
    assert wire.paced and wire.received() == []
    wire.sender.send(unit(20))  # live waits behind the cached ones
    first_portion = None
    while wire.sender.pump(40):
        if first_portion is None:
            first_portion = len(wire.received())
    assert first_portion is not None and 20 < first_portion <= 40


def test_join_timestamps_rise_to_the_live_one(wire: Wire) -> None:
    wire.sender.send_cached([unit(0, keyframe=True), *(unit(n) for n in range(1, 100))], 3600)
    wire.sender.send(unit(100))
    while wire.sender.pump(40):
        pass
    timestamps = [p.timestamp for p in wire.received() if p.marker]
    steps = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(timestamps)]
    assert len(timestamps) == 101 and min(steps) >= 1
    assert sum(steps[:-1]) < 3600 and steps[-1] == 3600


def test_keyframe_request_repeats_the_gop_between_two_frames(wire: Wire) -> None:
    gop = [unit(0, keyframe=True), *(unit(n) for n in range(1, 50))]
    for each in gop:
        wire.sender.send(each)
    before = wire.received()[-1]
    wire.sender.send_cached(gop, 3600)
    wire.sender.send(unit(50))
    while wire.sender.pump(1000):
        pass
    packets = wire.received()
    assert packets[0].sequence == (before.sequence + 1) & 0xFFFF
    timestamps = [(p.timestamp - before.timestamp) & 0xFFFFFFFF for p in packets if p.marker]
    assert timestamps == sorted(set(timestamps)) and timestamps[0] > 0
    assert timestamps[-1] == 3600 and timestamps[-2] < 3600


def test_a_second_request_during_the_answer_changes_nothing(wire: Wire) -> None:
    gop = [unit(0, keyframe=True)]
    wire.sender.send_cached(gop, 3600)
    wire.sender.send_cached(gop, 3600)
    while wire.sender.pump(1000):
        pass
    assert len(wire.received()) == gop[0].packets


def test_a_refused_packet_costs_the_frames_to_the_next_keyframe(wire: Wire) -> None:
    wire.sender.send(unit(0, keyframe=True))
    good, wire.sender.address = wire.sender.address, ("127.0.0.1", 0)  # the kernel refuses port 0
    wire.sender.send(unit(1))
    wire.sender.address = good
    wire.sender.send(unit(2))
    assert wire.sender.dropped_frames == 2
    before = wire.received()
    wire.sender.send(unit(3, keyframe=True))
    after = wire.received()
    assert wire.sender.dropped_frames == 2 and len(after) == unit(3, keyframe=True).packets
    # No index is used twice, and the gap tells the receiver.
    assert (after[0].sequence - before[-1].sequence) & 0xFFFF > 1


def test_sender_report_maps_capture_time(wire: Wire) -> None:
    assert wire.sender.report(0, "c") is None
    wire.sender.send(unit(25, keyframe=True))
    packet = wire.received()[-1]
    report = wire.sender.report(25 * 40_000_000 + 1_000_000_000, "c")
    assert report is not None
    parsed = parse_rtcp(report)[0]
    assert isinstance(parsed, SenderReport)
    assert (parsed.rtp_timestamp - packet.timestamp) & 0xFFFFFFFF == 90_000
    assert parsed.packet_count == unit(25, keyframe=True).packets
    assert parsed.octet_count == wire.sender.octets > 3000


async def test_pacer_gives_every_backlog_its_turn() -> None:
    class Backlog:
        def __init__(self, packets: int) -> None:
            self.left = packets

        def pump(self, packets: int) -> bool:
            order.append(self)
            self.left -= packets
            return self.left > 0

    order: list[Backlog] = []
    small, large = Backlog(50), Backlog(200)
    pacer = Pacer()
    pacer.add(large)
    pacer.add(small)
    async with asyncio.timeout(5):
        while large.left > 0:
            await asyncio.sleep(0.005)
    assert order[:4] == [large, small, large, small] and order.count(large) == 5
    gone = Backlog(10_000)
    pacer.add(gone)
    pacer.discard(gone)
    await asyncio.sleep(0.02)
    assert gone.left == 10_000
    pacer.close()
