"""Paths of full ICE whose way is full; what they carry otherwise is in test_ice_full.py."""

import socket
from pathlib import Path

import pytest

from fanout.ice.full_paths import MAX_WAITING_OCTETS, RelayedPath, SocketPath
from fanout.ice.turn import allocate
from tests.support.coturn import HOST, coturn, turn


async def test_a_turn_server_that_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with coturn(tmp_path) as port:
        allocation = await allocate(turn(port, "tcp"), (HOST, port))
        path = RelayedPath(allocation, (HOST, 9))
        assert path.waiting_octets == 0 and path.send_packets([b"\x80"])
        waiting = MAX_WAITING_OCTETS + 1
        monkeypatch.setattr(allocation._client.transport, "get_write_buffer_size", lambda: waiting)
        assert path.waiting_octets == waiting and not path.send_packets([b"\x80"])
        allocation.close()
        assert allocation._release is not None
        await allocation._release


def test_a_socket_that_is_full() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)

        class Connected:
            """Sends where the pair leads, as a UDP socket with a full buffer does."""

            def sendto(self, data: bytes, address: object) -> None:
                ours.send(data)

        path = SocketPath(Connected(), (HOST, 9))
        sent = 0
        while path.send_packets([bytes(1_000)]):
            sent += 1
        assert sent > 0 and path.waiting_octets == 0
        path.send_datagram(b"lost")


@pytest.mark.parametrize(
    ("address", "text"), [((HOST, 9), "udp 127.0.0.1:9"), (("2001:db8::7", 9), "udp [2001:db8::7]:9")]
)
def test_shown(address: tuple[str, int], text: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert str(SocketPath(sock, address)) == text
