"""A TURN allocation, with coturn: channels, renewal, giving back, and a server that is not what it was."""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aioice import stun as stun_messages

from fanout.ice import turn as turn_module
from fanout.ice.turn import MAX_HELD, MAX_PEERS, Allocation, allocate
from tests.support.coturn import HOST, Nat, coturn, turn
from tests.support.descriptors import all_closed

BAD_PRIORITY = struct.pack("!HHI12sHH", 0x0101, 8, 0x2112A442, bytes(12), 0x0024, 1) + bytes(4)
"What aioice's parser raises struct.error for."


class Sink(asyncio.DatagramProtocol):
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.arrived.put_nowait((data, address))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[int]:
    async with coturn(tmp_path) as port:
        yield port


@pytest.fixture
async def peer() -> AsyncIterator[Sink]:
    transport, peer = await asyncio.get_running_loop().create_datagram_endpoint(Sink, local_addr=(HOST, 0))
    yield peer
    transport.close()


def address_of(peer: Sink) -> tuple[str, int]:
    return peer.transport.get_extra_info("sockname")


async def opened(port: int, transport: str = "udp") -> tuple[Allocation, Sink]:
    allocation = await allocate(turn(port, transport), (HOST, port))
    sink = Sink()
    allocation.receive(sink)
    return allocation, sink


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_both_ways_in_order_from_the_first_datagram(server: int, peer: Sink, transport: str) -> None:
    async with all_closed():
        allocation, sink = await opened(server, transport)
        sent = [bytes([number]) * (number + 1) for number in range(MAX_HELD)]
        for data in sent:
            allocation.sendto(data, address_of(peer))
        assert [await peer.arrived.get() for _ in sent] == [(data, allocation.relayed) for data in sent]
        tasks = len(asyncio.all_tasks())
        for data in sent:
            allocation.sendto(data, address_of(peer))
        assert len(asyncio.all_tasks()) == tasks
        for data in sent:
            assert await peer.arrived.get() == (data, allocation.relayed)
            peer.transport.sendto(data, allocation.relayed)
            assert await sink.arrived.get() == (data, address_of(peer))
        allocation.close()
        await sink.lost.wait()
    allocation.sendto(b"too late", address_of(peer))


async def test_a_channel_is_renewed(server: int, peer: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_module, "RENEWAL_S", 0.01)
    allocation, sink = await opened(server)
    asked: asyncio.Queue[int] = asyncio.Queue()
    bind = allocation._client.channel_bind

    async def counted(channel: int, address: tuple[str, int]) -> None:
        await bind(channel, address)
        asked.put_nowait(channel)

    monkeypatch.setattr(allocation._client, "channel_bind", counted)
    for _ in range(3):
        allocation.sendto(b"x", address_of(peer))
        assert await asked.get() == 0x4000
    allocation.close()
    await sink.lost.wait()


async def test_peers_are_bounded(server: int) -> None:
    allocation, sink = await opened(server)
    for number in range(MAX_PEERS + 10):
        allocation.sendto(b"x", (HOST, 9_000 + number))
    assert len(allocation._peers) == MAX_PEERS
    allocation.close()
    await sink.lost.wait()


async def test_a_peer_that_the_server_refuses_is_asked_for_again(server: int, peer: Sink) -> None:
    allocation, sink = await opened(server)
    refused = ("::1", 9)  # of another family than the allocation
    for _ in range(2):
        allocation.sendto(b"x", refused)
        binding = allocation._peers[refused].binding
        assert binding is not None
        await binding
        assert not allocation._peers[refused].bound and not allocation._peers[refused].held
    allocation.sendto(b"good", address_of(peer))
    assert (await peer.arrived.get())[0] == b"good"
    allocation.close()
    await sink.lost.wait()


async def test_a_wrong_password_is_a_refusal(server: int) -> None:
    async with all_closed():
        with pytest.raises(stun_messages.TransactionFailed) as caught:
            await allocate(turn(server, password="wrong"), (HOST, server))
        assert caught.value.response.error_code == 401


async def test_unreadable_messages_harm_nothing(server: int, peer: Sink) -> None:
    async with Nat.before(server) as nat:
        allocation, sink = await opened(nat.port)
        for data in (BAD_PRIORITY, b"", b"\x40", b"\x40\x00\xff\xff", bytes(20), b"\xff" * 50):
            nat.inject(data)
        allocation.sendto(b"after", address_of(peer))
        assert (await peer.arrived.get())[0] == b"after"
        allocation.close()
        await sink.lost.wait()


async def test_a_silent_server_keeps_nothing_open(
    server: int, peer: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_module, "CLOSING_S", 0.01)
    async with Nat.before(server) as nat, all_closed():
        allocation, sink = await opened(nat.port)
        nat.passes = False
        allocation.sendto(b"x", address_of(peer))
        allocation.close()
        await sink.lost.wait()
