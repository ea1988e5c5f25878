"""The worker's UDP socket met by aioice, by strangers and by noise."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import aioice
import pytest
from aioice import stun as reference

from common.errors import LocalError
from fanout.egress import Address
from fanout.ice_lite import CONSENT_S, MAX_ADDRESSES, IceSession, IceSocket


class Peer:
    """What an IceSession tells its viewer."""

    def __init__(self, remote_ufrag: str) -> None:
        self.records: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.addresses: list[Address] = []
        self.session = IceSession(remote_ufrag, self.records.append, self.rtcp.append, self.addresses.append)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


@pytest.fixture
async def ice() -> AsyncIterator[tuple[IceSocket, int]]:
    port = free_port()
    ice = IceSocket(port, "127.0.0.1")
    yield ice, port
    ice.close()


def check(
    peer: Peer, password: str | None = None, local: str | None = None, **extra: object
) -> tuple[bytes, reference.Message]:
    attributes = {
        "USERNAME": f"{local or peer.session.ufrag}:{peer.session.remote_ufrag}",
        "PRIORITY": 1000,
        **extra,
    }
    message = reference.Message(reference.Method.BINDING, reference.Class.REQUEST, attributes=attributes)
    message.add_message_integrity((password or peer.session.password).encode())
    return bytes(message), message


async def ask(port: int, data: bytes, sock: socket.socket) -> reference.Message | None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendto(sock, data, ("127.0.0.1", port))
    try:
        async with asyncio.timeout(0.2):
            answer, _ = await loop.sock_recvfrom(sock, 2048)
    except TimeoutError:
        return None
    return reference.parse_message(answer)


@pytest.fixture
def sock() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


async def test_a_full_agent_connects_and_data_passes(ice: tuple[IceSocket, int]) -> None:
    agent = aioice.Connection(ice_controlling=True, components=1)
    agent.remote_is_lite = True
    await agent.gather_candidates()
    peer = Peer(agent.local_username)
    ice[0].open(peer.session)
    agent.remote_username, agent.remote_password = peer.session.ufrag, peer.session.password
    await agent.add_remote_candidate(aioice.Candidate("1", 1, "udp", 2130706431, "127.0.0.1", ice[1], "host"))
    await agent.add_remote_candidate(None)
    async with asyncio.timeout(10):
        await agent.connect()
        await agent.send(b"\x16\xfe\xff record")
        await agent.send(b"\x80\xc9\x00\x01 rtcp")
        while not (peer.records and peer.rtcp):
            await asyncio.sleep(0.01)
        assert peer.session.address == peer.addresses[-1]
        ice[0].egress.send_datagram(b"\x16 answer", peer.session.address)
        assert await agent.recv() == b"\x16 answer"
    assert ice[0].has_consent(peer.session)
    await agent.close()


async def test_wrong_password_user_and_noise_are_counted_and_not_answered(
    ice: tuple[IceSocket, int], sock: socket.socket
) -> None:
    peer = Peer("viewer")
    ice[0].open(peer.session)
    noise = [
        check(peer, password="wrong" * 6)[0],
        check(peer, local="nobody")[0],
        check(peer)[0][:-9],
        b"\0\1\0\x08\x21\x12\xa4\x42" + bytes(12) + b"\0\x24\0\1\0\0\0\0",
        *(os.urandom(1 + n * 13) for n in range(50)),
        b"\x16\xfe\xff DTLS from a stranger",
        b"\x80\xc8 RTCP from a stranger",
        b"",
    ]
    for data in noise:
        sock.sendto(data, ("127.0.0.1", ice[1]))
    # The good one after all of them is answered: nothing was disturbed.
    data, sent = check(peer)
    answer = await ask(ice[1], data, sock)
    assert answer is not None and answer.transaction_id == sent.transaction_id
    assert ice[0].rejected == len(noise)
    assert peer.records == [] and peer.rtcp == [] and peer.addresses == [sock.getsockname()]
    sock.close()


async def test_the_mapped_address_is_told(ice: tuple[IceSocket, int], sock: socket.socket) -> None:
    peer = Peer("viewer")
    ice[0].open(peer.session)
    answer = await ask(ice[1], check(peer)[0], sock)
    assert answer is not None and answer.check_message_integrity(peer.session.password.encode())
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == sock.getsockname()
    sock.close()


async def test_two_controlled_agents_are_a_role_conflict(
    ice: tuple[IceSocket, int], sock: socket.socket
) -> None:
    peer = Peer("viewer")
    ice[0].open(peer.session)
    answer = await ask(ice[1], check(peer, **{"ICE-CONTROLLED": 5})[0], sock)
    assert answer is not None and answer.attributes["ERROR-CODE"][0] == 487
    assert peer.session.address is None
    sock.close()


async def test_the_nominated_address_wins_and_a_change_is_told(ice: tuple[IceSocket, int]) -> None:
    peer = Peer("viewer")
    ice[0].open(peer.session)
    first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for each in (first, second):
        each.bind(("127.0.0.1", 0))
        each.setblocking(False)
    await ask(ice[1], check(peer, PRIORITY=100)[0], first)
    await ask(ice[1], check(peer, PRIORITY=50)[0], second)
    assert peer.addresses == [first.getsockname()]
    await ask(ice[1], check(peer, PRIORITY=50, **{"USE-CANDIDATE": None})[0], second)
    assert peer.addresses == [first.getsockname(), second.getsockname()]
    await ask(ice[1], check(peer, PRIORITY=10, **{"USE-CANDIDATE": None})[0], first)
    assert peer.session.address == second.getsockname()
    # When the selected address falls silent, a worse one takes over.
    peer.session.selected_heard_at -= 10
    await ask(ice[1], check(peer, PRIORITY=10, **{"USE-CANDIDATE": None})[0], first)
    assert peer.session.address == first.getsockname()
    first.close()
    second.close()


async def test_an_address_belongs_to_who_checked_it_last(
    ice: tuple[IceSocket, int], sock: socket.socket
) -> None:
    first, second = Peer("one"), Peer("two")
    for peer in (first, second, first):
        ice[0].open(peer.session)
        await ask(ice[1], check(peer)[0], sock)
    sock.sendto(b"\x16 record", ("127.0.0.1", ice[1]))
    await ask(ice[1], check(first)[0], sock)
    assert first.records == [b"\x16 record"] and second.records == []
    sock.close()


async def test_a_datagram_that_fails_is_said_once_and_stops_nothing(
    ice: tuple[IceSocket, int], sock: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    peer = Peer("viewer")
    peer.session.on_record = lambda record: [][1]
    ice[0].open(peer.session)
    await ask(ice[1], check(peer)[0], sock)
    for _ in range(3):
        sock.sendto(b"\x16 record", ("127.0.0.1", ice[1]))
    assert await ask(ice[1], check(peer)[0], sock) is not None
    assert ice[0].rejected == 3
    assert sum("failed" in record.getMessage() for record in caplog.records) == 1
    sock.close()


async def test_addresses_are_bounded_and_forgotten(ice: tuple[IceSocket, int]) -> None:
    peer = Peer("viewer")
    ice[0].open(peer.session)
    for _ in range(MAX_ADDRESSES + 3):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            one.setblocking(False)
            await ask(ice[1], check(peer)[0], one)
            latest = one.getsockname()
    # The oldest were given up, never the selected one.
    assert len(peer.session.addresses) == MAX_ADDRESSES
    assert latest in peer.session.addresses and peer.session.address in peer.session.addresses
    ice[0].end(peer.session)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.setblocking(False)
        assert await ask(ice[1], check(peer)[0], one) is None


async def test_consent_runs_out(ice: tuple[IceSocket, int]) -> None:
    peer = Peer("viewer")
    ice[0].open(peer.session)
    assert ice[0].has_consent(peer.session)
    peer.session.heard_at -= CONSENT_S
    assert not ice[0].has_consent(peer.session)


async def test_a_port_in_use_names_the_key(ice: tuple[IceSocket, int]) -> None:
    with pytest.raises(LocalError, match=rf"{ice[1]}.*media\.port"):
        IceSocket(ice[1], "127.0.0.1")
