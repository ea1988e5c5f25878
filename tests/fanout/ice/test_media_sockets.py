"""Datagrams through real sockets: where the answer leaves from, floods, ports in use, no IPv6."""

import asyncio
import contextlib
import errno
import json
import logging
import socket
import subprocess
from collections.abc import Iterator

import pytest

from common.errors import LocalError
from fanout.egress import Extensions, Lane, TransportLog
from fanout.ice import media_sockets
from fanout.ice.media_sockets import READ_BATCH, Ancillary, MediaSockets, SocketAddress, UdpPath
from fanout.ice.paths import Destination
from fanout.ice.tcp import IceTcp
from fanout.srtp import MasterKey, session_keys
from tests.support.netns import Namespace, namespace
from tests.support.ports import free_media_ports


class Echo:
    """Sends every datagram back the way it came."""

    def __init__(self) -> None:
        self.port = free_media_ports(1)
        self.paths: list[UdpPath | None] = []
        self.sockets = MediaSockets(self.port, self.receive)

    def receive(self, data: bytes, source: SocketAddress, ancillary: Ancillary) -> None:
        path = self.sockets.path(source, ancillary)
        self.paths.append(path)
        if path is not None:
            path.send_datagram(data)


@contextlib.contextmanager
def echo() -> Iterator[Echo]:
    one = Echo()
    try:
        yield one
    finally:
        one.sockets.close()


async def ask(
    data: bytes, family: socket.AddressFamily, own: str, target: tuple[str, int]
) -> tuple[str, int]:
    """Sends, and tells where the same came back from."""
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((own, 0))
        await loop.sock_sendto(sock, data, target)
        async with asyncio.timeout(5):
            answer, source = await loop.sock_recvfrom(sock, 2048)
    assert answer == data
    return source[:2]


@pytest.mark.parametrize("addressed", ["127.0.0.1", "127.0.0.2", "127.9.8.7"])
async def test_the_answer_leaves_from_the_ipv4_address_that_was_asked(addressed: str) -> None:
    with echo() as far:
        assert await ask(b"hello", socket.AF_INET, "127.0.0.3", (addressed, far.port)) == (
            addressed,
            far.port,
        )
        [path] = far.paths
        assert path is not None and path.destination is not None
        assert (path.destination.host, path.destination.local) == ("127.0.0.3", addressed)
        assert str(path) == f"udp 127.0.0.3:{path.destination.port}"


async def test_ipv6_has_the_same_port_number() -> None:
    with echo() as far:
        if not far.sockets.has_ipv6:
            pytest.skip("no IPv6 on this machine")
        assert await ask(b"hello", socket.AF_INET6, "::1", ("::1", far.port)) == ("::1", far.port)
        [path] = far.paths
        assert path is not None and path.destination is not None
        assert (path.destination.host, path.destination.local) == ("::1", "::1")
        assert str(path) == f"udp [::1]:{path.destination.port}"


_ASKER = """
import json, socket, sys
for address, port in json.loads(sys.argv[1]):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        for _ in range(50):
            try:
                sock.sendto(b"hello", (address, port))
                print(json.dumps([address, sock.recvfrom(99)[1][0]]))
                break
            except OSError:  # also while the cable comes up
                continue
"""


def _give_ipv6_addresses(far: Namespace, addresses: list[str]) -> None:
    routes = subprocess.run(
        ("ip", "-json", "route", "get", far.address), check=True, capture_output=True, text=True
    )
    near = json.loads(routes.stdout)[0]["dev"]
    for address in addresses:
        subprocess.run(("ip", "address", "add", f"{address}/64", "dev", near, "nodad"), check=True)
    subprocess.run(
        ("ip", "-netns", far.name, "address", "add", "fdcc:7:3::f/64", "dev", "far", "nodad"), check=True
    )


async def test_the_answer_leaves_from_the_ipv6_address_that_was_asked() -> None:
    addresses = ["fdcc:7:3::1", "fdcc:7:3::2", "fdcc:7:3::3"]
    with namespace() as cable, echo() as far:
        if not far.sockets.has_ipv6:
            pytest.skip("no IPv6 on this machine")
        _give_ipv6_addresses(cable, addresses)
        targets = json.dumps([(address, far.port) for address in addresses])
        asker = await asyncio.create_subprocess_exec(
            *cable.command, "python3", "-c", _ASKER, targets, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asker.communicate()
        assert [json.loads(line) for line in output.splitlines()] == [[one, one] for one in addresses]


async def test_one_turn_of_the_loop_reads_a_bounded_number() -> None:
    got = 0

    def receive(data: bytes, source: SocketAddress, ancillary: Ancillary) -> None:
        nonlocal got
        got += 1

    port = free_media_ports(1)
    sockets = MediaSockets(port, receive)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(3 * READ_BATCH + 1):
            sock.sendto(b"x", ("127.0.0.1", port))
    turns = []
    while got < 3 * READ_BATCH + 1:
        before = got
        await asyncio.sleep(0)
        turns.append(got - before)
    assert max(turns) == READ_BATCH
    sockets.close()


async def test_empty_and_oversized_datagrams_arrive_too() -> None:
    sizes: list[int] = []
    port = free_media_ports(1)
    sockets = MediaSockets(port, lambda data, source, ancillary: sizes.append(len(data)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"", ("127.0.0.1", port))
        sock.sendto(bytes(9000), ("127.0.0.1", port))
    async with asyncio.timeout(5):
        while len(sizes) < 2:
            await asyncio.sleep(0)
    assert sizes == [0, media_sockets.MAX_DATAGRAM_BYTES]
    sockets.close()


async def test_what_the_kernel_refuses_is_told_and_harms_nothing() -> None:
    with echo() as far:
        await ask(b"hello", socket.AF_INET, "127.0.0.1", ("127.0.0.1", far.port))
        [path] = far.paths
        assert path is not None
        assert path.send_packets([b"one", b"two"])
        assert not path.send_packets([bytes(70_000)])
        path.send_datagram(bytes(70_000))
        assert path.waiting_octets == 0


async def test_a_link_local_source_is_no_path() -> None:
    with echo() as far:
        info = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, bytes(16) + b"\1\0\0\0")]
        assert far.sockets.path(("fe80::1", 5000, 0, 2), info) is None


async def test_without_ipv6_it_carries_on_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bound = media_sockets._bound

    def only_ipv4(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return bound(family, kind, port)

    monkeypatch.setattr(media_sockets, "_bound", only_ipv4)
    with caplog.at_level(logging.INFO), echo() as far:
        assert not far.sockets.has_ipv6
        assert await ask(b"hello", socket.AF_INET, "127.0.0.1", ("127.0.0.1", far.port))
        assert far.sockets.path(("2001:db8::1", 5000, 0, 0), [(41, 50, bytes(20))]) is None
        tcp = IceTcp(far.port, lambda connection, frame: None, lambda connection, fault: None)
        tcp.close()
    assert sum("no IPv6" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_a_udp_port_in_use_names_the_key(family: socket.AddressFamily) -> None:
    port = free_media_ports(1)
    with socket.socket(family, socket.SOCK_DGRAM) as holder:
        if family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        holder.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
        with pytest.raises(LocalError, match=rf"UDP port {port} .*media\.port"):
            MediaSockets(port, lambda data, source, ancillary: None)
    # Nothing was left open.
    MediaSockets(port, lambda data, source, ancillary: None).close()


def test_a_path_is_a_value_of_both_ends() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        destination = Destination("192.0.2.7", 5000, "198.51.100.1")
        assert UdpPath(sock, destination).destination is destination


@pytest.mark.parametrize("addressed", ["127.0.0.2", "::1"])
async def test_the_egress_sends_on_the_same_sockets(addressed: str) -> None:
    with echo() as far:
        family = socket.AF_INET6 if ":" in addressed else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((addressed, far.port))  # takes nothing from another address
            sock.send(b"hello")
            async with asyncio.timeout(5):
                assert await asyncio.get_running_loop().sock_recv(sock, 99) == b"hello"
                [path] = far.paths
                assert path is not None and path.destination is not None
                keys = session_keys(MasterKey("SRTP_AEAD_AES_128_GCM", bytes(16), bytes(12)))
                lane = Lane(keys, 77, 96, 0, 0, Extensions(), TransportLog())
                lane.aim(path.destination)
                assert far.sockets.egress.send(lane, ((b"one", b"two"), (b"three",)), 9000, True, 0)
                got = [await asyncio.get_running_loop().sock_recv(sock, 99) for _ in range(3)]
        assert [len(packet) for packet in got] == [12 + 3 + 16, 12 + 3 + 16, 12 + 5 + 16]
