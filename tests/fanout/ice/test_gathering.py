"""Local candidates: what servers add, and that a server which fails delays no answer and is named once."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from aioice import Candidate, Connection
from aioice.ice import StunProtocol

from common.config import IceServer
from fanout.ice.gathering import Gatherer
from tests.support.coturn import HOST, PASSWORD, Nat, coturn, stun, turn
from tests.support.descriptors import all_closed

SIGNALING_WAITS_S = 2.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[int]:
    async with coturn(tmp_path) as port:
        yield port


@pytest.fixture
def silent() -> int:
    """A port that takes UDP and answers nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        yield sock.getsockname()[1]


async def gathered(gatherer: Gatherer, *addresses: str) -> list[Candidate]:
    """What is found for one viewer; all of it is closed again."""
    connection = Connection(ice_controlling=False)
    async with asyncio.timeout(SIGNALING_WAITS_S):
        found = await gatherer.gather(
            list(addresses), connection._protocols, lambda way: StunProtocol(connection)
        )
    await connection.close()
    return found


def types(candidates: list[Candidate]) -> list[str]:
    return [candidate.type for candidate in candidates]


async def test_reflexive_and_relayed(server: int) -> None:
    async with Nat.before(server) as nat, all_closed():
        host, reflexive, relayed = await gathered(Gatherer((stun(nat.port), turn(server))), HOST)
        assert types([host, reflexive, relayed]) == ["host", "srflx", "relay"]
        assert (reflexive.host, reflexive.port) == nat.mapped
        assert (reflexive.related_address, reflexive.related_port) == (host.host, host.port)
        assert host.priority > reflexive.priority > relayed.priority
        assert len({host.foundation, reflexive.foundation, relayed.foundation}) == 3


async def test_without_nat_the_reflexive_candidate_is_the_host_one(server: int) -> None:
    assert types(await gathered(Gatherer((stun(server),)), HOST)) == ["host"]


async def test_names_are_looked_up_once(
    server: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    asked: list[str] = []
    getaddrinfo = loop.getaddrinfo

    async def counted(host: str, *args: object, **options: object) -> object:
        asked.append(host)
        return await getaddrinfo(host, *args, **options)

    monkeypatch.setattr(loop, "getaddrinfo", counted)
    gatherer = Gatherer((IceServer("stun", "localhost", server),))
    await asyncio.gather(*(gathered(gatherer, HOST) for _ in range(3)))
    assert asked.count("localhost") == 1 and not caplog.records


async def test_a_name_that_is_not_found(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*args: object, **options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    found = await gathered(Gatherer((IceServer("stun", "stun.example"), turn(9))), HOST)
    assert types(found) == ["host"]
    assert "stun:stun.example:3478 has a name that is not found" in caplog.text


async def test_a_wrong_password_is_said_once_and_not_shown(
    server: int, caplog: pytest.LogCaptureFixture
) -> None:
    gatherer = Gatherer((turn(server, password="wr0ng"),))
    for _ in range(2):
        assert types(await gathered(gatherer, HOST)) == ["host"]
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"! full ICE: turn:{HOST}:{server} refuses user name or password; viewers do without it"]
    assert "wr0ng" not in caplog.text


@pytest.mark.parametrize("kind", ["stun", "turn"])
async def test_a_silent_server_delays_no_answer(
    silent: int, server: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with all_closed():
        servers = (stun(silent), turn(server)) if kind == "stun" else (stun(server), turn(silent))
        found = await gathered(Gatherer(servers), HOST)
        assert types(found) == (["host", "relay"] if kind == "stun" else ["host"])
        assert f"{kind}:{HOST}:{silent} gave no answer within 1 s" in caplog.text
        assert PASSWORD not in caplog.text


async def test_a_closed_tcp_port(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    assert types(await gathered(Gatherer((turn(port, "tcp"),)), HOST)) == ["host"]
    assert f"turn:{HOST}:{port}?transport=tcp cannot be reached" in caplog.text


async def test_an_address_of_another_machine(caplog: pytest.LogCaptureFixture) -> None:
    found = await gathered(Gatherer(()), "192.0.2.201", HOST, "::1")
    assert [(candidate.host, candidate.type) for candidate in found] == [(HOST, "host"), ("::1", "host")]
    assert found[0].priority > found[1].priority
    assert "address 192.0.2.201 cannot be used: Cannot assign requested address" in caplog.text


async def test_a_stun_server_that_no_address_reaches(caplog: pytest.LogCaptureFixture) -> None:
    assert types(await gathered(Gatherer((IceServer("stun", "192.0.2.1"),)), HOST)) == ["host"]
    assert "stun:192.0.2.1:3478 cannot be asked from any address of this machine" in caplog.text


async def test_cancelled_gathering_keeps_nothing_open(silent: int) -> None:
    async with all_closed() as descriptors:
        connection = Connection(ice_controlling=False)
        gatherer = Gatherer((stun(silent), turn(silent)))
        work = asyncio.create_task(
            gatherer.gather([HOST], connection._protocols, lambda way: StunProtocol(connection))
        )
        while psutil.Process().num_fds() < descriptors + 2:
            await asyncio.sleep(0)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        await connection.close()
