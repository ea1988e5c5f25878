"""Sockets of UDP: pairs of ports, groups, whose packets are taken, and what is sent to open the way."""

import asyncio
import contextlib
import errno
import socket

import pytest

from common.clock import SystemClock
from common.errors import LocalError
from common.rtp import Goodbye, RtpPacket, SenderReport, parse_rtp, serialize_rtcp, serialize_rtp
from ingest import udp
from ingest.reorder import ReorderBuffer
from ingest.rtp_track import RtpTrack
from ingest.rtsp.sdp import Track
from ingest.rtsp.transport import Multicast
from ingest.udp import PUNCH, UdpReceiver, bind_pair, bind_pairs, join_group

from .recording_sink import RecordingSink

LOCAL = ("127.0.0.1", 0)
LOCAL_6 = ("::1", 0, 0, 0)
AUDIO = Track("audio", "PCMA", 8, 8000, 1, (), "rtsp://h/2")
VIDEO = Track("video", "JPEG", 8, 90_000, 0, (), "rtsp://h/1")


def packet(sequence, payload=b"x", ssrc=7):
    return serialize_rtp(RtpPacket(8, False, sequence, sequence * 160, ssrc, payload))


class Camera:
    """A receiver at work, and a socket that sends to it."""

    def __init__(self, receiver, pair, sink, sender):
        self.receiver, self.pair, self.sink, self.sender = receiver, pair, sink, sender
        self.firsts, self.errors = [], []

    def send(self, *packets, to=None):
        for data in packets:
            self.sender.sendto(data, to or self.pair.rtp.getsockname())

    async def frames(self, count):
        await self.sink.until(lambda: len(self.sink.all_frames) >= count)
        return [frame.nals[0] for _, frame in self.sink.all_frames]


@contextlib.contextmanager
def camera(hosts=("127.0.0.1",), local=LOCAL, pair=None, targets=((), ()), unheard=(), track=AUDIO):
    pair = pair or bind_pair(local)
    sink = RecordingSink()
    track = RtpTrack(track, 0, sink, own_ssrc=1, cname="c", reorder=ReorderBuffer(8))
    with socket.socket(pair.rtp.family, socket.SOCK_DGRAM) as sender:
        sender.bind(local)
        made = Camera(None, pair, sink, sender)
        made.receiver = UdpReceiver(
            pair,
            track,
            SystemClock(),
            frozenset(hosts),
            *targets,
            unheard,
            made.firsts.append,
            made.errors.append,
        )
        made.track = track
        made.receiver.start()
        try:
            yield made
        finally:
            made.receiver.stop()
            pair.close()


@pytest.mark.parametrize("local", [LOCAL, LOCAL_6])
def test_pairs_are_neighbours_with_rtp_even(local):
    pairs = bind_pairs(local, 8)
    for pair in pairs:
        rtp, rtcp = pair.ports
        assert rtp % 2 == 0
        assert rtcp == rtp + 1
        assert pair.rtp.getsockname()[0] == local[0]
        assert pair.kernel_drops == 0
        pair.close()


def test_no_ports_are_our_own_fault():
    with pytest.raises(LocalError, match=r"192\.0\.2\.77"):
        bind_pairs(("192.0.2.77", 0), 2)


@pytest.mark.parametrize(
    "open_them",
    [lambda: bind_pair(LOCAL), lambda: join_group(Multicast("239.255.77.1", 5000, 5001, None), LOCAL)],
)
def test_no_sockets_are_our_own_fault(monkeypatch, open_them):
    opened = []

    def limited(*args):
        if opened:
            raise OSError(errno.EMFILE, "Too many open files")
        opened.append(given(*args))
        return opened[0]

    given = udp.socket.socket
    monkeypatch.setattr(udp.socket, "socket", limited)
    with pytest.raises(LocalError, match="gives no sockets for UDP: Too many open files"):
        open_them()
    assert opened[0].fileno() == -1


@pytest.mark.parametrize(("local", "hosts"), [(LOCAL, {"127.0.0.1"}), (LOCAL_6, {"::1"})])
async def test_packets_become_frames(local, hosts):
    with camera(hosts, local) as it:
        it.send(packet(1, b"a"), packet(2, b"b"))
        assert await it.frames(2) == [b"a", b"b"]
        assert it.firsts == [True]
        assert it.receiver.foreign == 0


async def test_a_burst_comes_whole():
    count = 3 * udp.MAX_DATAGRAMS_PER_TURN
    with camera() as it:
        it.send(*(packet(number, bytes(1400)) for number in range(count)))
        assert len(await it.frames(count)) == count
        assert it.receiver.kernel_drops == 0


async def test_datagrams_of_the_largest_size_are_whole():
    with camera() as it:
        it.send(packet(1, bytes(9000)))
        assert await it.frames(1) == [bytes(9000)]


async def test_only_the_camera_is_heard():
    with camera(hosts={"127.0.0.2"}) as it:
        it.send(packet(1, b"evil"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.2", 0))
            other.sendto(packet(2, b"good"), it.pair.rtp.getsockname())
            assert await it.frames(1) == [b"good"]
        # From whatever port.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.2", 0))
            other.sendto(packet(3, b"too"), it.pair.rtp.getsockname())
            assert await it.frames(2) == [b"good", b"too"]
        assert it.receiver.foreign == 1


async def test_what_is_missing_is_waited_for_and_given_up():
    with camera() as it:
        it.send(packet(1, b"a"), packet(3, b"c"), packet(2, b"b"))
        assert await it.frames(3) == [b"a", b"b", b"c"]
        it.send(packet(5, b"e"))
        assert await it.frames(4) == [b"a", b"b", b"c", b"e"]
        assert (it.track.lost, it.track.reordered) == (1, 1)
        it.send(packet(7, b"g"))
        assert (await it.frames(5))[-1] == b"g"


async def test_rtcp():
    with camera(track=VIDEO) as it:
        rtcp = it.pair.rtcp.getsockname()
        it.send(serialize_rtcp(SenderReport(7, 1 << 32, 0, 0, 0)), to=rtcp)
        await it.sink.until(lambda: it.sink.calls)
        it.send(packet(1))
        async with asyncio.timeout(5):
            while len(it.firsts) < 2:
                await asyncio.sleep(0.01)
        assert it.firsts == [False, True]
        it.send(serialize_rtcp(Goodbye((7,))), to=rtcp)
        async with asyncio.timeout(5):
            while not it.errors:
                await asyncio.sleep(0.01)
        assert "BYE" in str(it.errors[0])


async def test_what_the_sink_raises_ends_the_connection():
    with camera() as it:
        fault = ValueError("sink")

        def refuse(track, frames):
            raise fault

        it.sink.frames = refuse
        it.send(packet(1))
        async with asyncio.timeout(5):
            while not it.errors:
                await asyncio.sleep(0.01)
        assert it.errors == [fault]


async def test_the_way_is_opened():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(LOCAL)
        server.setblocking(False)
        targets = ([server.getsockname()], [server.getsockname(), ("127.0.0.1", 9)])
        with camera(targets=targets) as it:
            it.receiver.punch()
            it.receiver.send_rtcp(b"report")
            got = [await asyncio.get_running_loop().sock_recvfrom(server, 100) for _ in range(2)]
            assert got == [
                (PUNCH, it.pair.rtp.getsockname()),
                (b"report", it.pair.rtcp.getsockname()),
            ]
    assert parse_rtp(PUNCH).payload == b""


async def test_nothing_is_sent_to_where_nothing_came_from():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as named:
        named.bind(("127.0.0.2", 0))
        named.setblocking(False)
        target = [named.getsockname()]
        hosts = ("127.0.0.1", "127.0.0.2")
        with camera(hosts, targets=(target, target), unheard=("127.0.0.2",)) as it:
            it.send(packet(1, b"a"))
            assert await it.frames(1) == [b"a"]
            it.receiver.punch()
            it.receiver.send_rtcp(b"report")
            with pytest.raises(BlockingIOError):
                named.recv(100)
            named.sendto(packet(2, b"b"), it.pair.rtp.getsockname())
            assert await it.frames(2) == [b"a", b"b"]
            it.receiver.punch()
            assert await asyncio.get_running_loop().sock_recv(named, 100) == PUNCH


async def test_a_camera_that_listens_nowhere_does_no_harm():
    with camera(targets=([("127.0.0.1", 9)], [("nowhere.invalid", 9)])) as it:
        for _ in range(3):
            it.receiver.punch()
            it.receiver.send_rtcp(b"")
        it.send(packet(1, b"a"))
        assert await it.frames(1) == [b"a"]


def group_sender(group, port):
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    sender.bind(("127.0.0.1", 0))
    sender.connect((group, port))
    return sender


@pytest.mark.parametrize(
    ("group", "source"), [("239.255.77.1", None), ("239.255.77.1", "10.0.0.1"), ("232.1.77.1", "127.0.0.1")]
)
async def test_multicast(group, source):
    rtp, rtcp = bind_free_ports()
    pair = join_group(Multicast(group, rtp, rtcp, source), LOCAL)
    # Another program, or another rendition of the same camera.
    again = join_group(Multicast(group, rtp, rtcp, source), LOCAL)
    with camera(pair=pair) as it, group_sender(group, rtp) as sender:
        sender.send(packet(1, b"a"))
        assert await it.frames(1) == [b"a"]
    again.close()


@pytest.mark.parametrize("source", [None, "::1"])
def test_multicast_of_ipv6_can_be_joined(source):
    group = "ff35::77:1" if source else "ff15::77:1"
    rtp, rtcp = bind_free_ports()
    try:
        pair = join_group(Multicast(group, rtp, rtcp, source), LOCAL_6)
    except LocalError as exc:
        pytest.skip(str(exc))
    assert pair.ports == (rtp, rtcp)
    pair.close()


def test_a_group_that_cannot_be_joined():
    rtp, rtcp = bind_free_ports()
    with pytest.raises(LocalError, match=r"cannot join multicast group 239\.255\.77\.1: "):
        join_group(Multicast("239.255.77.1", rtp, rtcp, None), ("192.0.2.77", 0))


def bind_free_ports():
    pair = bind_pair(LOCAL)
    ports = pair.ports
    pair.close()
    return ports
