"""Full ICE met by aioice as the browser, over sockets and over coturn, and by what no browser would do."""

import asyncio
import contextlib
import os
import random
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path as FilePath

import aioice
import pytest
from aioice import stun as stun_messages
from aioice.candidate import candidate_priority
from aioice.ice import TransportPolicy

from common.config import IceServer
from common.errors import LocalError, ViewerError
from fanout.ice import full as ice_full
from fanout.ice import full_paths as ice_full_paths
from fanout.ice.candidates import MAX_FRAGMENT, MAX_REMOTE_CANDIDATES
from fanout.ice.full import MAX_EARLY_RECORDS, FullAgent, FullSession
from fanout.ice.paths import Path
from fanout.ice.session import RemoteIce
from tests.support.coturn import HOST, PASSWORD, USERNAME, coturn, turn
from tests.support.descriptors import all_closed

HOST_PRIORITY = candidate_priority(1, "host")
RECORD, RTCP = b"\x16record", b"\x81\xc9rtcp"
BAD_PRIORITY = struct.pack("!HHI12sHH", 0x0001, 8, 0x2112A442, bytes(12), 0x0024, 1) + bytes(4)
"What aioice's parser raises struct.error for."


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


class Viewer:
    """What arrives for one viewer, and its paths as text."""

    session: FullSession

    def __init__(self) -> None:
        self.arrived: list[bytes] = []
        self.paths: list[str] = []

    def on_record(self, record: bytes) -> None:
        self.arrived.append(record)

    def on_rtcp(self, data: bytes) -> None:
        self.arrived.append(data)

    def on_path(self, path: Path) -> None:
        assert self.session.path is path
        self.paths.append(str(path))


def browser(port: int | None = None) -> aioice.Connection:
    """aioice as the controlling side; with the port of coturn it uses nothing but its relay."""
    if port is None:
        return aioice.Connection(ice_controlling=True)
    return aioice.Connection(
        ice_controlling=True,
        turn_server=(HOST, port),
        turn_username=USERNAME,
        turn_password=PASSWORD,
        transport_policy=TransportPolicy.RELAY,
    )


def lines(candidates: list[aioice.Candidate]) -> tuple[str, ...]:
    return tuple(f"candidate:{candidate.to_sdp()}" for candidate in candidates)


async def opened(agent: FullAgent, peer: aioice.Connection, candidates: tuple[str, ...]) -> Viewer:
    """A session for the browser, which is told our side of ICE."""
    viewer = Viewer()
    remote = RemoteIce(peer.local_username, peer.local_password, candidates)
    viewer.session = await agent.open(remote, viewer)
    peer.remote_username, peer.remote_password = viewer.session.ufrag, viewer.session.password
    return viewer


async def connected(agent: FullAgent, peer: aioice.Connection, only: str = "", told: bool = True) -> Viewer:
    """Both sides done; `only` is what each candidate of ours that the browser gets has in it."""
    await peer.gather_candidates()
    viewer = await opened(agent, peer, lines(peer.local_candidates) if told else ())
    for line in viewer.session.candidates:
        if only in line:
            await peer.add_remote_candidate(aioice.Candidate.from_sdp(line.removeprefix("candidate:")))
    async with asyncio.timeout(10):
        await peer.connect()
    await until(lambda: viewer.paths)
    return viewer


async def carries(viewer: Viewer, peer: aioice.Connection) -> None:
    """Datagrams pass both ways."""
    path = viewer.session.path
    assert path is not None and path.destination is None
    packets = [bytes([0x80, number]) + os.urandom(1_100) for number in range(30)]
    tasks = len(asyncio.all_tasks())
    path.send_datagram(RECORD)
    assert path.send_packets(packets)
    assert len(asyncio.all_tasks()) == tasks and path.waiting_octets == 0
    async with asyncio.timeout(10):
        assert [await peer.recv() for _ in range(31)] == [RECORD, *packets]
    before = len(viewer.arrived)
    for data in (RECORD, RTCP):
        await peer.send(data)
    await until(lambda: len(viewer.arrived) == before + 2)
    assert viewer.arrived[before:] == [RECORD, RTCP]


@pytest.fixture
async def server(tmp_path: FilePath) -> AsyncIterator[int]:
    async with coturn(tmp_path) as port:
        yield port


@contextlib.asynccontextmanager
async def running(*servers: IceServer, addresses: tuple[str, ...] = (HOST,)) -> AsyncIterator[FullAgent]:
    """An agent; afterwards all that it opened is closed."""
    async with all_closed():
        agent = FullAgent(servers, addresses)
        yield agent
        await agent.close()


@pytest.mark.parametrize("address", [HOST, "::1"])
async def test_a_host_pair(address: str) -> None:
    peer = browser()
    async with running(addresses=(address,)) as agent:
        viewer = await connected(agent, peer)
        assert not agent.lite and viewer.session.has_consent()
        assert viewer.paths[0].startswith("udp [" if ":" in address else "udp ")
        await carries(viewer, peer)
        await peer.close()
        assert agent.rejected == 0


async def test_all_addresses_but_loopback_where_none_are_named() -> None:
    peer = browser()
    async with running(addresses=()) as agent:
        try:
            viewer = await opened(agent, peer, ())
        except LocalError:
            pytest.skip("this machine has no network")
        assert all(" typ host" in line and HOST not in line for line in viewer.session.candidates)


@pytest.mark.parametrize("trains", [True, False])
async def test_packets_of_many_sizes(trains: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not trains:
        # What no kernel knows is refused, as by a way out without segmentation offload.
        monkeypatch.setattr(ice_full_paths, "_UDP_SEGMENT", 9_999)
    peer = browser()
    async with running() as agent:
        viewer = await connected(agent, peer)
        path = viewer.session.path
        assert path is not None
        packets = [b"\x80" + os.urandom(size) for size in (*[900] * 50, 20, 20, 1_200, 7, 8, 9, 1_000, 1)]
        assert path.send_packets(packets)
        async with asyncio.timeout(10):
            assert [await peer.recv() for _ in packets] == packets
        await peer.close()
        viewer.session.close()
        await agent.close()
        assert not path.send_packets(packets)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_only_relayed(server: int, transport: str) -> None:
    # The browser lets only 127.0.0.1 through its relay, so ours on 127.0.0.2 gets nowhere by itself.
    peer = browser(server)
    async with running(turn(server, transport), addresses=("127.0.0.2",)) as agent:
        viewer = await connected(agent, peer, only="typ relay")
        assert viewer.paths[0].startswith("relayed 127.0.0.1:")
        await carries(viewer, peer)
        path = viewer.session.path
        viewer.session.close()
        await agent.close()
        assert path is not None and not path.send_packets([RTCP])
        await peer.close()


async def test_without_any_way(server: int) -> None:
    async with running(addresses=("192.0.2.201",)) as agent:
        with pytest.raises(LocalError, match="no address of this machine"):
            await opened(agent, browser(), ())


async def test_a_wrong_turn_password_leaves_the_host_pair(
    server: int, caplog: pytest.LogCaptureFixture
) -> None:
    peer = browser()
    async with running(turn(server, password="wr0ng")) as agent:
        viewer = await connected(agent, peer)
        await carries(viewer, peer)
        await peer.close()
    assert "refuses user name or password" in caplog.text and "wr0ng" not in caplog.text


async def test_candidates_that_come_later() -> None:
    # The browser is told none of ours: only checks to its own, which are trickled, find the way.
    peer = browser()
    await peer.gather_candidates()
    async with running() as agent:
        viewer = await opened(agent, peer, ())
        connecting = asyncio.create_task(peer.connect())
        fragment = "".join(f"a={line}\r\n" for line in lines(peer.local_candidates))
        viewer.session.add_candidates(f"a=ice-ufrag:old\r\n{fragment}")
        viewer.session.add_candidates(f"a=ice-ufrag:{peer.local_username}\r\n{fragment}a=end-of-candidates")
        async with asyncio.timeout(10):
            await connecting
        await until(lambda: viewer.paths)
        await carries(viewer, peer)
        with pytest.raises(ViewerError, match="characters"):
            viewer.session.add_candidates("a" * (MAX_FRAGMENT + 1))
        await peer.close()


async def test_hidden_addresses_that_cannot_be_resolved() -> None:
    peer = browser()
    await peer.gather_candidates()
    async with running() as agent:
        hidden = "candidate:0 1 UDP 2122252543 8e2b5b3c-0000-4c3d-9e8f-001122334455.local 49203 typ host"
        viewer = await opened(agent, peer, (hidden,))
        for line in viewer.session.candidates:
            await peer.add_remote_candidate(aioice.Candidate.from_sdp(line.removeprefix("candidate:")))
        await peer.connect()
        await until(lambda: viewer.paths)
        await carries(viewer, peer)
        await peer.close()


async def test_remote_candidates_are_bounded() -> None:
    async with running() as agent:
        many = tuple(f"candidate:{n} 1 udp 1 192.0.2.9 {n + 1} typ host" for n in range(200))
        viewer = await opened(agent, browser(), many)
        viewer.session.add_candidates("".join(f"a={line}\r\n" for line in many))
        await asyncio.sleep(0)
        assert len(viewer.session._connection.remote_candidates) == MAX_REMOTE_CANDIDATES


async def test_consent_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_full, "CONSENT_INTERVAL_S", 0.01)
    monkeypatch.setattr(ice_full, "CONSENT_S", 0.5)
    peer = browser()
    async with running() as agent:
        viewer = await connected(agent, peer)
        since = viewer.session._connection.consented_at
        await until(lambda: viewer.session._connection.consented_at > since + 0.5)
        assert viewer.session.has_consent()
        await peer.close()
        await until(lambda: not viewer.session.has_consent())


async def test_closed_while_everything_is_under_way(server: int) -> None:
    peer = browser()
    await peer.gather_candidates()
    async with running(turn(server)) as agent:
        opening = [asyncio.create_task(opened(agent, peer, lines(peer.local_candidates))) for _ in range(4)]
        await asyncio.sleep(0)
        opening[0].cancel()
        viewers = [await task for task in opening[1:]]
        viewers[0].session.close()
        viewers[0].session.close()
        assert not viewers[0].session.has_consent()
        await asyncio.sleep(0.05)
        viewers[1].session.close()
    assert all(not viewer.paths for viewer in viewers)
    await peer.close()


async def test_the_agent_is_closed_while_it_gathers(server: int) -> None:
    async with running(turn(server)) as agent:
        opening = asyncio.create_task(opened(agent, browser(), ()))
        await asyncio.sleep(0)
        await agent.close()
        with pytest.raises(LocalError):
            await opening


class BarePeer(asyncio.DatagramProtocol):
    """A browser whose every check is the test's."""

    def __init__(self, session: FullSession, password: str) -> None:
        self.answers = True
        self.conflict = False
        self._session = session
        self._password = password.encode()
        self._replies: dict[bytes, asyncio.Future[stun_messages.Message]] = {}
        self.withheld: list[tuple[stun_messages.Message, tuple[str, int]]] = []

    @classmethod
    async def of(cls, viewer: Viewer) -> "BarePeer":
        loop = asyncio.get_running_loop()
        peer = cls(viewer.session, "p" * 22)
        peer.transport, _ = await loop.create_datagram_endpoint(lambda: peer, local_addr=(HOST, 0))
        peer.port = peer.transport.get_extra_info("sockname")[1]
        return peer

    @property
    def target(self) -> tuple[str, int]:
        _, _, _, _, host, port, *_ = self._session.candidates[0].split()
        return host, int(port)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        message = stun_messages.parse_message(data)
        if message.message_class is stun_messages.Class.REQUEST:
            if self.answers:
                self.answer(message, address)
            else:
                self.withheld.append((message, address))
        elif message.transaction_id in self._replies:
            self._replies.pop(message.transaction_id).set_result(message)

    def answer(self, request: stun_messages.Message, address: tuple[str, int]) -> None:
        kind = stun_messages.Class.ERROR if self.conflict else stun_messages.Class.RESPONSE
        reply = stun_messages.Message(stun_messages.Method.BINDING, kind, request.transaction_id)
        if self.conflict:
            reply.attributes["ERROR-CODE"] = (487, "Role Conflict")
        else:
            reply.attributes["XOR-MAPPED-ADDRESS"] = address
        reply.add_message_integrity(self._password)
        self.transport.sendto(bytes(reply), address)

    def check(
        self, priority: int = HOST_PRIORITY, password: str | None = None, nominate: bool = True
    ) -> bytes:
        request = stun_messages.Message(stun_messages.Method.BINDING, stun_messages.Class.REQUEST)
        request.attributes["USERNAME"] = f"{self._session.ufrag}:bare"
        request.attributes["PRIORITY"] = priority
        request.attributes["ICE-CONTROLLING"] = 1
        if nominate:
            request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity((password or self._session.password).encode())
        self.transport.sendto(bytes(request), self.target)
        return request.transaction_id

    async def checked(self, priority: int = HOST_PRIORITY, nominate: bool = True) -> stun_messages.Message:
        """Sends a check and gives what is answered."""
        reply = self._replies[self.check(priority, nominate=nominate)] = asyncio.Future()
        async with asyncio.timeout(10):
            return await reply


@pytest.fixture
async def viewer() -> AsyncIterator[Viewer]:
    async with running() as agent:
        viewer = Viewer()
        viewer.session = await agent.open(RemoteIce("bare", "p" * 22), viewer)
        yield viewer


@contextlib.asynccontextmanager
async def bare(viewer: Viewer, count: int = 1) -> AsyncIterator[list[BarePeer]]:
    peers = [await BarePeer.of(viewer) for _ in range(count)]
    yield peers
    for peer in peers:
        peer.transport.close()


async def test_strangers_and_noise(viewer: Viewer, caplog: pytest.LogCaptureFixture) -> None:
    agent = viewer.session.agent
    noise = random.Random(1)
    async with bare(viewer, 2) as (good, stranger):
        sent = [RECORD, RTCP, BAD_PRIORITY, b"\x40channel", b"\x01", bytes(20), b"\xff" * 2_000]
        sent += [
            bytes([first]) + noise.randbytes(noise.randrange(60)) for first in range(4) for _ in range(20)
        ]
        for data in sent:
            stranger.transport.sendto(data, stranger.target)
        stranger.check(password="wrong" * 5)
        await until(lambda: agent.rejected == len(sent) + 1)
        assert len([record for record in caplog.records if record.exc_info]) == 1
        await good.checked()
        await until(lambda: viewer.paths)
        assert viewer.paths == [f"udp {HOST}:{good.port}"] and viewer.arrived == []
        good.transport.sendto(RECORD, good.target)
        good.transport.sendto(b"\x45nothing of ours", good.target)
        await until(lambda: agent.rejected == len(sent) + 2)
        assert viewer.arrived == [RECORD]


async def test_records_that_overtake_the_answer_to_our_check_wait_for_it(viewer: Viewer) -> None:
    async with bare(viewer) as (peer,):
        peer.answers = False
        await peer.checked()
        await until(lambda: peer.withheld)
        records = [bytes([0x16, number]) for number in range(MAX_EARLY_RECORDS + 1)]
        for record in records:
            peer.transport.sendto(record, peer.target)
        await until(lambda: viewer.session._early)
        await peer.checked()
        assert viewer.arrived == [] and viewer.paths == []
        peer.answers = True
        peer.answer(*peer.withheld[-1])
        await until(lambda: viewer.paths)
        assert viewer.arrived == records[:MAX_EARLY_RECORDS]


async def test_the_better_of_the_nominated_pairs_stays_until_it_is_silent(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bare(viewer, 3) as (middle, worse, better):
        names = [f"udp {HOST}:{peer.port}" for peer in (middle, worse, better)]
        await middle.checked(HOST_PRIORITY - 1)
        await until(lambda: viewer.paths == names[:1])
        connection = viewer.session._connection
        await worse.checked(HOST_PRIORITY - 2)
        await until(lambda: all(pair.state.name == "SUCCEEDED" for pair in connection._check_list))
        await worse.checked(HOST_PRIORITY - 2)
        assert viewer.paths == names[:1]
        await better.checked(HOST_PRIORITY)
        await until(lambda: viewer.paths == [names[0], names[2]])
        monkeypatch.setattr(ice_full, "SELECTED_SILENCE_S", 0.0)
        await worse.checked(HOST_PRIORITY - 2)
        await until(lambda: viewer.paths == [names[0], names[2], names[1]])


async def test_the_viewers_first_check_triggers_ours(viewer: Viewer) -> None:
    async with bare(viewer) as (peer,):
        peer.answers = False
        viewer.session.add_candidates(f"a=candidate:1 1 udp 7 {HOST} {peer.port} typ host\r\n")
        await until(lambda: peer.withheld)
        await peer.checked()
        await until(lambda: len(peer.withheld) > 1)
        # A new one, no repetition of the first, which comes half a second later.
        assert peer.withheld[0][0].transaction_id != peer.withheld[1][0].transaction_id


async def test_a_pair_given_up_for_another_is_checked_again(viewer: Viewer) -> None:
    async with bare(viewer, 2) as (first, later):
        later.answers = False
        await later.checked(HOST_PRIORITY, nominate=False)
        await until(lambda: later.withheld)
        await first.checked(HOST_PRIORITY - 1)
        await until(lambda: viewer.paths)
        pair = viewer.session._connection._pair(
            next(iter(viewer.session._connection._protocols)), (HOST, later.port)
        )
        assert pair is not None and pair.task is not None
        await until(pair.task.done)
        later.answers = True
        await later.checked(HOST_PRIORITY)
        await until(lambda: viewer.paths[1:] == [f"udp {HOST}:{later.port}"])


async def test_addresses_that_change_for_ever(viewer: Viewer) -> None:
    connection = viewer.session._connection
    async with bare(viewer, 2 * MAX_REMOTE_CANDIDATES) as peers:
        for peer in peers:
            await peer.checked(nominate=peer is peers[0])
        await until(lambda: viewer.paths)
        assert len(connection.remote_candidates) == len(connection._check_list) == MAX_REMOTE_CANDIDATES
        peers[0].transport.sendto(RECORD, peers[0].target)
        await until(lambda: viewer.arrived)
        rejected = viewer.session.agent.rejected
        peers[1].transport.sendto(RECORD, peers[1].target)
        await until(lambda: viewer.session.agent.rejected > rejected)


async def test_a_viewer_that_claims_a_conflict_of_roles_for_ever(viewer: Viewer) -> None:
    async with bare(viewer) as (peer,):
        peer.conflict = True
        await peer.checked()
        await until(lambda: viewer.session.closed)
    assert viewer.paths == []
