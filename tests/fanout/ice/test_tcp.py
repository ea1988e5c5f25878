"""ICE over TCP: frames cut anywhere, slow readers, floods of connections, junk."""

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import LocalError
from fanout.ice import tcp as ice_tcp
from fanout.ice.tcp import MAX_FRAME_BYTES, Deframer, FrameError, IceTcp, TcpConnection, frames
from tests.support.ports import free_media_ports

PACKETS = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


@given(PACKETS, st.data())
def test_frames_cut_anywhere_come_out_whole(packets: list[bytes], data: st.DataObject) -> None:
    stream = frames(packets)
    assert Deframer().feed(stream) == packets
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    deframer = Deframer()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [frame for piece in pieces for frame in deframer.feed(piece)] == packets


def test_frames_cut_at_every_octet() -> None:
    packets = [b"one", bytes(300), b"x", b"last"]
    stream = frames(packets)
    for cut in range(len(stream) + 1):
        deframer = Deframer()
        assert deframer.feed(stream[:cut]) + deframer.feed(stream[cut:]) == packets
    deframer = Deframer()
    assert [frame for octet in stream for frame in deframer.feed(bytes((octet,)))] == packets


def test_empty_frames_say_nothing() -> None:
    assert Deframer().feed(b"\0\0" * 9 + b"\0\1x\0\0") == [b"x"]


def test_the_largest_frame_and_one_larger() -> None:
    largest = bytes(MAX_FRAME_BYTES)
    assert Deframer().feed(frames([largest])) == [largest]
    with pytest.raises(FrameError, match=str(MAX_FRAME_BYTES + 1)):
        Deframer().feed(frames([largest + b"x"])[:2])


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_fuzz_only_the_documented_error(chunks: list[bytes]) -> None:
    deframer = Deframer()
    with contextlib.suppress(FrameError):
        for chunk in chunks:
            assert all(0 < len(frame) <= MAX_FRAME_BYTES for frame in deframer.feed(chunk))


class Server:
    """Admits who says `let me in`; keeps what comes."""

    def __init__(self) -> None:
        self.port = free_media_ports(1)
        self.frames: list[bytes] = []
        self.connections: list[TcpConnection] = []
        self.lost: list[tuple[TcpConnection, str | None]] = []
        self.tcp = IceTcp(
            self.port, self.on_frame, lambda connection, fault: self.lost.append((connection, fault))
        )

    def on_frame(self, connection: TcpConnection, frame: bytes) -> None:
        self.frames.append(frame)
        if frame == b"let me in":
            self.connections.append(connection)
            self.tcp.admit(connection)

    def close(self) -> None:
        self.tcp.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    server.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def dial(server: Server, host: str = "127.0.0.1", own: str | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    if own is not None:
        sock.bind((own, 0))
    await asyncio.get_running_loop().sock_connect(sock, (host, server.port))
    return sock


async def enter(server: Server, host: str = "127.0.0.1") -> tuple[socket.socket, TcpConnection]:
    before = len(server.connections)
    sock = await dial(server, host)
    sock.send(frames([b"let me in"]))
    await until(lambda: len(server.connections) > before)
    return sock, server.connections[-1]


async def read(sock: socket.socket, deframer: Deframer) -> list[bytes]:
    return deframer.feed(await asyncio.get_running_loop().sock_recv(sock, 1 << 16))


async def is_closed(sock: socket.socket) -> bool:
    """True once the other side closed it, False when it is open after a while."""
    try:
        async with asyncio.timeout(1):
            return await asyncio.get_running_loop().sock_recv(sock, 99) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
async def test_frames_go_both_ways(server: Server, host: str) -> None:
    sock, connection = await enter(server, host)
    own_port = sock.getsockname()[1]
    assert str(connection) == (f"tcp [::1]:{own_port}" if host == "::1" else f"tcp 127.0.0.1:{own_port}")
    assert connection.local == host and connection.destination is None
    sock.send(frames([b"\x16 record", b"\x80 rtcp"])[:5])
    sock.send(frames([b"\x16 record", b"\x80 rtcp"])[5:])
    await until(lambda: server.frames[1:] == [b"\x16 record", b"\x80 rtcp"])
    connection.send_datagram(b"answer")
    assert connection.send_packets([b"first", b"second"])
    got: list[bytes] = []
    deframer = Deframer()
    while len(got) < 3:
        got += await read(sock, deframer)
    assert got == [b"answer", b"first", b"second"] and connection.waiting_octets == 0
    sock.close()


async def test_a_first_frame_that_proves_nothing_ends_the_connection(server: Server) -> None:
    sock = await dial(server)
    sock.send(frames([b"hello", b"let me in"]))
    assert await is_closed(sock)
    assert server.frames == [b"hello"] and server.connections == []
    sock.close()


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\xff" * 5000])
async def test_junk_ends_the_connection_and_no_other(server: Server, junk: bytes) -> None:
    good, _ = await enter(server)
    bad = await dial(server)
    bad.send(junk)
    assert await is_closed(bad)
    [(_, fault)] = server.lost
    assert fault is not None and "octets" in fault
    good.send(frames([b"still here"]))
    await until(lambda: b"still here" in server.frames)
    good.close()
    bad.close()


async def test_random_octets_end_connections_only(server: Server) -> None:
    good, _ = await enter(server)
    for _ in range(60):
        bad = await dial(server)
        bad.send(os.urandom(500))
        bad.close()
    good.send(frames([b"still here"]))
    await until(lambda: b"still here" in server.frames)
    good.close()


async def test_who_says_nothing_is_closed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_tcp, "AUTHENTICATION_S", 0.05)
    good, _ = await enter(server)
    silent, slow = await dial(server), await dial(server)
    slow.send(b"\0")  # half a length, for ever
    assert await is_closed(silent) and await is_closed(slow)
    assert [fault for _, fault in server.lost] == ["no ICE check within 0.05 s"] * 2
    good.send(frames([b"still here"]))
    await until(lambda: b"still here" in server.frames)
    for sock in (good, silent, slow):
        sock.close()


async def test_a_flood_of_one_address_makes_room_for_a_viewer_of_another(server: Server) -> None:
    other = await dial(server, own="127.0.0.9")
    await until(lambda: len(server.tcp._strangers) == 1)
    flood = [await dial(server, own="127.0.0.5") for _ in range(ice_tcp.MAX_STRANGERS_OF_ONE + 20)]
    await until(lambda: len(server.lost) == 20)
    assert all([await is_closed(sock) for sock in flood[:20]])
    # Neither the newest of the flood nor the other address were given up.
    flood[-1].send(frames([b"let me in"]))
    other.send(frames([b"let me in"]))
    await until(lambda: len(server.connections) == 2)
    for sock in (other, *flood):
        sock.close()


async def test_a_flood_of_many_addresses_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_tcp, "MAX_STRANGERS", 10)
    admitted, _ = await enter(server)
    flood = [await dial(server, own=f"127.0.1.{number}") for number in range(1, 31)]
    await until(lambda: len(server.lost) == 20)
    assert len(server.tcp._strangers) == 10
    flood[-1].send(frames([b"let me in"]))
    admitted.send(frames([b"still here"]))
    await until(lambda: len(server.connections) == 2 and b"still here" in server.frames)
    for sock in (admitted, *flood):
        sock.close()


def test_neighbours_in_an_ipv6_net_count_as_one() -> None:
    assert ice_tcp._network(("2001:db8::1", 1, 0, 0)) == ice_tcp._network(("2001:db8::2:3", 9, 0, 0))
    assert ice_tcp._network(("2001:db8::1", 1, 0, 0)) != ice_tcp._network(("2001:db8:0:1::1", 1, 0, 0))
    assert ice_tcp._network(("192.0.2.1", 1)) != ice_tcp._network(("192.0.2.2", 1))


def numbered(call: int, count: int) -> list[bytes]:
    """Packets that say which call they belong to."""
    return [struct.pack("!IH", call, position) + bytes(1100) for position in range(count)]


async def test_a_slow_reader_is_refused_and_gets_whole_frames_only(server: Server) -> None:
    sock, connection = await enter(server)
    taken, refused = [], []
    for call in range(2000):
        (taken if connection.send_packets(numbered(call, 18)) else refused).append(call)
        assert connection.waiting_octets <= ice_tcp.MAX_WAITING_OCTETS
        if len(refused) == 3:
            break
    assert len(refused) == 3 and connection.waiting_octets > 0
    connection.send_datagram(b"a check's answer passes all the same")
    got: list[bytes] = []
    deframer = Deframer()
    while not got or not got[-1].startswith(b"a check's answer"):
        got += await read(sock, deframer)
    assert got[:-1] == [packet for call in taken for packet in numbered(call, 18)]
    # It reads again, so it is served again.
    await until(lambda: connection.waiting_octets == 0)
    assert connection.send_packets([b"next"])
    assert await read(sock, deframer) == [b"next"]
    sock.close()


async def test_what_waits_too_long_refuses_more(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    sock, connection = await enter(server)
    while not connection.waiting_octets:
        assert connection.send_packets(numbered(0, 18))
    assert connection.send_packets([b"young enough"])
    monkeypatch.setattr(ice_tcp, "MAX_WAITING_S", -1.0)
    assert not connection.send_packets([b"too late"])
    sock.close()


async def test_a_large_frame_goes_to_an_idle_connection_whatever_its_size(server: Server) -> None:
    sock, connection = await enter(server)
    packets = numbered(7, 2 * ice_tcp.MAX_WAITING_OCTETS // 1100)
    assert connection.send_packets(packets)
    assert not connection.send_packets([b"not behind that"])
    got: list[bytes] = []
    deframer = Deframer()
    while len(got) < len(packets):
        got += await read(sock, deframer)
    assert got == packets
    sock.close()


async def test_control_is_bounded_too(server: Server) -> None:
    sock, connection = await enter(server)
    for _ in range(5000):
        connection.send_datagram(bytes(1200))
    assert 0 < connection.waiting_octets <= ice_tcp.MAX_WAITING_OCTETS + ice_tcp._CONTROL_OCTETS + 1202
    sock.close()


@pytest.mark.parametrize("reset", [False, True])
async def test_an_ended_connection_is_told_once_and_takes_nothing(server: Server, reset: bool) -> None:
    sock, connection = await enter(server)
    other, other_connection = await enter(server)
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    # Whoever sends learns it at once or not at all, and is not called back meanwhile.
    connection.send_packets([b"into the void"])
    connection.send_packets([b"into the void"])
    await until(lambda: server.lost)
    assert server.lost == [(connection, None)]
    assert not connection.send_packets([b"more"]) and connection.waiting_octets == 0
    connection.send_datagram(b"more")
    connection.close()
    assert other_connection.send_packets([b"fine"]) and await read(other, Deframer()) == [b"fine"]
    other.close()


async def test_an_end_while_octets_wait(server: Server) -> None:
    sock, connection = await enter(server)
    while not connection.waiting_octets:
        assert connection.send_packets(numbered(0, 18))
    sock.close()
    await until(lambda: server.lost)
    assert server.lost == [(connection, None)] and connection.waiting_octets == 0


async def test_out_of_files_it_pauses_and_goes_on(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ice_tcp, "_OUT_OF_FILES_PAUSE_S", 0.05)
    accept = socket.socket.accept
    failures = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ECONNABORTED, "aborted")]

    def failing(listener: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", failing)
    sock, _ = await enter(server)
    assert "Too many open files" in caplog.text and not failures
    sock.close()


async def test_a_tcp_port_in_use_names_the_key() -> None:
    port = free_media_ports(1)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(LocalError, match=rf"TCP port {port} .*media"),
    ):
        IceTcp(port, lambda connection, frame: None, lambda connection, fault: None)


async def test_a_restart_takes_the_port_back_at_once() -> None:
    server = Server()
    sock, _ = await enter(server)
    server.close()  # our side closes first and is left in TIME_WAIT
    assert await is_closed(sock)
    sock.close()
    IceTcp(server.port, server.on_frame, lambda connection, fault: None).close()
