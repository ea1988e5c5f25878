"""The worker's port met by aioice, by strangers, by noise, and by viewers that change their network."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import aioice
import pytest
from aioice import stun as reference

from common.errors import LocalError
from fanout.ice import lite as ice_lite
from fanout.ice.addresses import host_candidates
from fanout.ice.lite import CONSENT_S, MAX_PATHS, LiteAgent, LiteSession
from fanout.ice.paths import Path
from fanout.ice.session import RemoteIce
from fanout.ice.tcp import Deframer, frames
from tests.support.ports import free_media_ports

NOMINATE = {"USE-CANDIDATE": None}


def free_port() -> int:
    return free_media_ports(1)


class Viewer:
    """What arrives for one viewer, and its paths as text."""

    session: LiteSession

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.paths: list[str] = []

    def on_record(self, record: bytes) -> None:
        self.records.append(record)

    def on_rtcp(self, data: bytes) -> None:
        self.rtcp.append(data)

    def on_path(self, path: Path) -> None:
        assert self.session.path is path
        self.paths.append(str(path))


class Server:
    """A lite agent whose clock can be put forward."""

    def __init__(self) -> None:
        self.port = free_port()
        self.agent = LiteAgent(self.port, ("127.0.0.1", "::1"))
        self.ahead_s = 0.0
        loop = asyncio.get_running_loop()
        self.agent.now = lambda: loop.time() + self.ahead_s

    async def viewer(self, ufrag: str = "viewer") -> Viewer:
        viewer = Viewer()
        viewer.session = await self.agent.open(RemoteIce(ufrag, "unused by a lite agent"), viewer)
        return viewer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.agent.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def check(
    viewer: Viewer, password: str | None = None, local: str | None = None, **extra: object
) -> tuple[bytes, reference.Message]:
    attributes = {
        "USERNAME": f"{local or viewer.session.ufrag}:{viewer.session.remote_ufrag}",
        "PRIORITY": 1000,
        **extra,
    }
    message = reference.Message(reference.Method.BINDING, reference.Class.REQUEST, attributes=attributes)
    message.add_message_integrity((password or viewer.session.password).encode())
    return bytes(message), message


class Udp:
    """One address of a viewer."""

    def __init__(self, server: Server, own: str = "127.0.0.1", far: str = "127.0.0.1") -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in own else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((own, 0))
        self.sock.setblocking(False)
        self.port: int = self.sock.getsockname()[1]
        self.text = f"udp [{own}]:{self.port}" if ":" in own else f"udp {own}:{self.port}"
        self.far = (far, server.port)

    def send(self, data: bytes) -> None:
        self.sock.sendto(data, self.far)

    async def read(self, timeout_s: float = 5.0) -> tuple[bytes, str]:
        async with asyncio.timeout(timeout_s):
            data, source = await asyncio.get_running_loop().sock_recvfrom(self.sock, 2048)
        return data, source[0]

    async def ask(self, data: bytes) -> reference.Message:
        self.send(data)
        answer, source = await self.read()
        assert source == self.far[0]
        return reference.parse_message(answer)

    async def hears_nothing(self) -> bool:
        try:
            await self.read(0.2)
        except TimeoutError:
            return True
        return False


@pytest.fixture
def udp(server: Server) -> Iterator[Callable[..., Udp]]:
    opened: list[Udp] = []

    def make(own: str = "127.0.0.1", far: str = "127.0.0.1") -> Udp:
        opened.append(Udp(server, own, far))
        return opened[-1]

    yield make
    for one in opened:
        one.sock.close()


class Tcp:
    """A viewer's ICE-TCP connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.text = f"tcp 127.0.0.1:{sock.getsockname()[1]}"
        self._deframer = Deframer()

    @classmethod
    async def dial(cls, server: Server) -> "Tcp":
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
        return cls(sock)

    def send(self, data: bytes) -> None:
        self.sock.send(frames([data]))

    async def read(self) -> bytes:
        """The next frame; b"" when the connection was closed."""
        async with asyncio.timeout(5):
            while True:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 4096)
                if not data:
                    return b""
                for frame in self._deframer.feed(data):
                    return frame

    async def ask(self, data: bytes) -> reference.Message:
        self.send(data)
        return reference.parse_message(await self.read())


# --- a real full agent


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_full_agent_connects_and_data_passes(server: Server, host: str) -> None:
    full = aioice.Connection(
        ice_controlling=True, components=1, use_ipv4=host != "::1", use_ipv6=host == "::1"
    )
    full.remote_is_lite = True
    await full.gather_candidates()
    if not full.local_candidates:
        pytest.skip(f"this machine has no address beside {host}, and aioice does not use that")
    viewer = await server.viewer(full.local_username)
    full.remote_username, full.remote_password = viewer.session.ufrag, viewer.session.password
    # aioice knows no TCP candidates (RFC 6544).
    lines = [line for line in viewer.session.candidates if " udp " in line and f" {host} " in line]
    assert len(lines) == 1
    await full.add_remote_candidate(aioice.Candidate.from_sdp(lines[0].removeprefix("candidate:")))
    await full.add_remote_candidate(None)
    async with asyncio.timeout(10):
        await full.connect()
        await full.send(b"\x16\xfe\xff record")
        await full.send(b"\x80\xc9\x00\x01 rtcp")
        await until(lambda: viewer.records and viewer.rtcp)
        path = viewer.session.path
        assert path is not None and path.destination is not None and path.destination.local == host
        path.send_datagram(b"\x16 answer")
        assert path.send_packets([b"\x80 first", b"\x80 second"])
        assert [await full.recv() for _ in range(3)] == [b"\x16 answer", b"\x80 first", b"\x80 second"]
    assert server.agent.rejected == 0 and viewer.session.has_consent()
    await full.close()


# --- strangers and noise


async def test_wrong_password_user_and_noise_are_counted_and_not_answered(
    server: Server, udp: Callable[..., Udp]
) -> None:
    viewer = await server.viewer()
    near = udp()
    noise = [
        check(viewer, password="wrong" * 6)[0],
        check(viewer, local="nobody")[0],
        check(viewer)[0][:-9],
        b"\0\1\0\x08\x21\x12\xa4\x42" + bytes(12) + b"\0\x24\0\1\0\0\0\0",
        *(os.urandom(1 + n * 13) for n in range(50)),
        b"\x16\xfe\xff DTLS from a stranger",
        b"\x80\xc8 RTCP from a stranger",
        b"",
    ]
    for data in noise:
        near.send(data)
    # The good one after all of them is answered: nothing was disturbed.
    data, sent = check(viewer)
    assert (await near.ask(data)).transaction_id == sent.transaction_id
    assert server.agent.rejected == len(noise)
    assert viewer.records == [] and viewer.rtcp == [] and viewer.paths == [near.text]


async def test_another_viewers_answerer_is_refused(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer("mine")
    near = udp()
    viewer.session.remote_ufrag = "other"
    data, _ = check(viewer)
    viewer.session.remote_ufrag = "mine"
    near.send(data)
    assert await near.hears_nothing()
    assert server.agent.rejected == 1


async def test_a_flood_leaves_checks_answered(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer()
    near, stranger = udp(), udp()
    hello = b"\x16\xfe\xff" + bytes(200)
    nobody = check(viewer, local="nobody")[0]
    answered = 0
    for _ in range(50):
        for _ in range(100):
            stranger.send(hello)
            stranger.send(nobody)
        # Of a full socket buffer the kernel drops even a good one; it is repeated as by any agent.
        for _ in range(20):
            near.send(check(viewer)[0])
            try:
                await near.read(1.0)
            except TimeoutError:
                continue
            answered += 1
            break
    assert answered == 50 and viewer.paths == [near.text]
    assert len(server.agent._owners) == 1


async def test_a_datagram_that_fails_is_said_once_and_stops_nothing(
    server: Server, udp: Callable[..., Udp], caplog: pytest.LogCaptureFixture
) -> None:
    viewer = await server.viewer()
    near, tcp = udp(), await Tcp.dial(server)
    viewer.on_record = lambda record: [][1]  # type: ignore[method-assign]
    await near.ask(check(viewer)[0])
    await tcp.ask(check(viewer)[0])
    for _ in range(3):
        near.send(b"\x16 record")
    tcp.send(b"\x16 record")
    await until(lambda: server.agent.rejected == 4)
    await near.ask(check(viewer)[0])
    await tcp.ask(check(viewer)[0])
    assert sum("failed" in record.getMessage() for record in caplog.records) == 1
    tcp.sock.close()


# --- answers


async def test_the_mapped_address_is_told(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer()
    for near in (udp(), udp("::1", "::1")):
        answer = await near.ask(check(viewer)[0])
        assert answer.check_message_integrity(viewer.session.password.encode())
        assert answer.attributes["XOR-MAPPED-ADDRESS"] == (near.sock.getsockname()[0], near.port)
    tcp = await Tcp.dial(server)
    answer = await tcp.ask(check(viewer)[0])
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == tcp.sock.getsockname()
    tcp.sock.close()


async def test_the_answer_comes_from_the_address_that_was_checked(
    server: Server, udp: Callable[..., Udp]
) -> None:
    viewer = await server.viewer()
    near = udp(far="127.0.0.2")
    await near.ask(check(viewer)[0])
    path = viewer.session.path
    assert path is not None and path.destination is not None and path.destination.local == "127.0.0.2"
    path.send_datagram(b"\x16 record")
    assert await near.read() == (b"\x16 record", "127.0.0.2")


async def test_two_controlled_agents_are_a_role_conflict(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer()
    answer = await udp().ask(check(viewer, **{"ICE-CONTROLLED": 5})[0])
    assert answer.attributes["ERROR-CODE"][0] == 487
    assert viewer.session.path is None


async def test_an_unknown_attribute_is_refused(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer()
    near = udp()
    plain = reference.Message(
        reference.Method.BINDING,
        reference.Class.REQUEST,
        attributes={"USERNAME": f"{viewer.session.ufrag}:viewer", "PRIORITY": 1, "REALM": "not ours"},
    )
    plain.add_message_integrity(viewer.session.password.encode())
    answer = await near.ask(bytes(plain))
    assert answer.attributes["ERROR-CODE"][0] == 420
    assert viewer.session.path is None


# --- which path


async def test_the_nominated_path_replaces_the_first(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer()
    first, second = udp(), udp()
    await first.ask(check(viewer, PRIORITY=100)[0])
    await second.ask(check(viewer, PRIORITY=50)[0])
    assert viewer.paths == [first.text]
    await second.ask(check(viewer, PRIORITY=50, **NOMINATE)[0])
    assert viewer.paths == [first.text, second.text]


async def test_a_viewer_that_chooses_is_followed_at_once(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer()
    wired, mobile = udp(), udp()
    for near, priority in ((wired, 100), (mobile, 10)):
        await near.ask(check(viewer, PRIORITY=priority)[0])
    await wired.ask(check(viewer, PRIORITY=100, **NOMINATE)[0])
    # The cable is pulled: the worse way is nominated while the better one was heard a moment ago.
    await mobile.ask(check(viewer, PRIORITY=10, **NOMINATE)[0])
    assert viewer.paths == [wired.text, mobile.text]
    await wired.ask(check(viewer, PRIORITY=100)[0])
    assert viewer.paths[-1] == mobile.text
    await wired.ask(check(viewer, PRIORITY=100, **NOMINATE)[0])
    assert viewer.paths == [wired.text, mobile.text, wired.text]


async def test_of_one_that_nominates_every_pair_the_best_stays_until_it_falls_silent(
    server: Server, udp: Callable[..., Udp]
) -> None:
    viewer = await server.viewer()
    good, bad = udp(), udp()
    for near, priority in ((bad, 10), (good, 100), (bad, 10), (good, 100), (bad, 10)):
        await near.ask(check(viewer, PRIORITY=priority, **NOMINATE)[0])
    assert viewer.paths == [bad.text, good.text]
    server.ahead_s = ice_lite.SELECTED_SILENCE_S + 1
    await bad.ask(check(viewer, PRIORITY=10, **NOMINATE)[0])
    assert viewer.paths == [bad.text, good.text, bad.text]


@pytest.mark.parametrize("nominates_every_pair", [False, True])
async def test_a_nat_that_gives_another_port_moves_the_path_at_once(
    server: Server, udp: Callable[..., Udp], nominates_every_pair: bool
) -> None:
    viewer = await server.viewer()
    before, after = udp(), udp()
    if not nominates_every_pair:
        await before.ask(check(viewer)[0])
    await before.ask(check(viewer, **NOMINATE)[0])
    await after.ask(check(viewer, **NOMINATE)[0])
    assert viewer.paths == [before.text, after.text]
    after.send(b"\x16 record")
    before.send(b"\x16 late one")  # what was on its way counts
    await until(lambda: len(viewer.records) == 2)


async def test_two_of_our_addresses_checked_from_one_do_not_flap(
    server: Server, udp: Callable[..., Udp]
) -> None:
    viewer = await server.viewer()
    near = udp()
    for _ in range(3):
        for far in ("127.0.0.1", "127.0.0.2"):  # the second is not advertised, as behind a 1:1 NAT
            near.far = (far, server.port)
            await near.ask(check(viewer, **NOMINATE)[0])
    assert viewer.paths == [near.text]
    path = viewer.session.path
    assert path is not None and path.destination is not None and path.destination.local == "127.0.0.1"


async def test_a_selected_path_without_consent_is_left_without_nomination(
    server: Server, udp: Callable[..., Udp]
) -> None:
    viewer = await server.viewer()
    first, second = udp(), udp()
    await first.ask(check(viewer, **NOMINATE)[0])
    await second.ask(check(viewer)[0])
    assert viewer.paths == [first.text]
    server.ahead_s = CONSENT_S + 1
    await second.ask(check(viewer)[0])
    assert viewer.paths == [first.text, second.text]


async def test_an_address_belongs_to_who_checked_it_last(server: Server, udp: Callable[..., Udp]) -> None:
    first, second = await server.viewer("one"), await server.viewer("two")
    near = udp()
    for viewer in (first, second, first):
        await near.ask(check(viewer)[0])
    near.send(b"\x16 record")
    await until(lambda: first.records)
    assert second.records == []
    # Who lost it takes nothing along when it ends.
    second.session.close()
    near.send(b"\x16 another")
    await until(lambda: len(first.records) == 2)


# --- TCP


async def test_a_viewer_over_tcp(server: Server) -> None:
    viewer = await server.viewer()
    tcp = await Tcp.dial(server)
    data, sent = check(viewer, **NOMINATE)
    answer = await tcp.ask(data)
    assert answer.transaction_id == sent.transaction_id
    assert answer.check_message_integrity(viewer.session.password.encode())
    assert viewer.paths == [tcp.text]
    tcp.send(b"\x16 record")
    tcp.send(b"\x80 rtcp")
    await until(lambda: viewer.records == [b"\x16 record"] and viewer.rtcp == [b"\x80 rtcp"])
    path = viewer.session.path
    assert path is not None and path.destination is None
    assert path.send_packets([b"\x80 packet"])
    assert await tcp.read() == b"\x80 packet"
    # The end of the session ends its connection.
    viewer.session.close()
    assert await tcp.read() == b""
    tcp.sock.close()


@pytest.mark.parametrize("first", ["wrong password", "role conflict", "a record", "noise"])
async def test_a_connection_that_proves_no_viewer_is_closed(server: Server, first: str) -> None:
    viewer = await server.viewer()
    tcp = await Tcp.dial(server)
    tcp.send(
        {
            "wrong password": check(viewer, password="wrong" * 6)[0],
            "role conflict": check(viewer, **{"ICE-CONTROLLED": 5})[0],
            "a record": b"\x16 record",
            "noise": b"\x7f" * 99,
        }[first]
    )
    if first == "role conflict":
        assert reference.parse_message(await tcp.read()).attributes["ERROR-CODE"][0] == 487
    else:
        await until(lambda: server.agent.rejected == 1)
    assert await tcp.read() == b""
    assert viewer.session.path is None and viewer.records == []
    tcp.sock.close()


async def test_a_connection_stays_with_its_viewer(server: Server) -> None:
    first, second = await server.viewer("one"), await server.viewer("two")
    tcp = await Tcp.dial(server)
    await tcp.ask(check(first)[0])
    tcp.send(check(second)[0])
    tcp.send(b"\x16 record")
    await until(lambda: first.records)
    assert server.agent.rejected == 1 and second.session.path is None
    tcp.sock.close()


@pytest.mark.parametrize("nominates_every_pair", [False, True])
async def test_udp_is_preferred_to_tcp(
    server: Server, udp: Callable[..., Udp], nominates_every_pair: bool
) -> None:
    viewer = await server.viewer()
    near, tcp = udp(), await Tcp.dial(server)
    ways: list[tuple[Udp | Tcp, int]] = [(tcp, 80 << 24), (near, 110 << 24)]
    for way, priority in ways:
        await way.ask(check(viewer, PRIORITY=priority, **(NOMINATE if nominates_every_pair else {}))[0])
    if nominates_every_pair:
        await tcp.ask(check(viewer, PRIORITY=80 << 24, **NOMINATE)[0])
    else:
        await near.ask(check(viewer, PRIORITY=110 << 24, **NOMINATE)[0])
    assert viewer.paths == [tcp.text, near.text]
    tcp.sock.close()


async def test_when_a_tcp_path_ends_another_takes_its_place(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer()
    plain, near, tcp = udp(), udp(), await Tcp.dial(server)
    await plain.ask(check(viewer, PRIORITY=90)[0])
    await near.ask(check(viewer, PRIORITY=50)[0])
    await tcp.ask(check(viewer, PRIORITY=10, **NOMINATE)[0])
    tcp.sock.close()
    await until(lambda: viewer.paths[-1] != tcp.text)
    assert viewer.paths == [plain.text, tcp.text, plain.text]


async def test_when_the_only_path_ends_there_is_none_until_the_next_check(server: Server) -> None:
    viewer = await server.viewer()
    first = await Tcp.dial(server)
    await first.ask(check(viewer, **NOMINATE)[0])
    dead = viewer.session.path
    first.sock.close()
    await until(lambda: viewer.session.path is None)
    assert dead is not None and not dead.send_packets([b"\x80 packet"])
    assert viewer.session.has_consent()
    again = await Tcp.dial(server)
    await again.ask(check(viewer, **NOMINATE)[0])
    assert viewer.paths == [first.text, again.text]
    again.sock.close()


async def test_a_way_not_in_use_that_ends_changes_nothing(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer()
    near, tcp = udp(), await Tcp.dial(server)
    await near.ask(check(viewer, **NOMINATE)[0])
    await tcp.ask(check(viewer)[0])
    tcp.sock.close()
    await until(lambda: len(server.agent._owners) == 1)
    assert viewer.paths == [near.text]


async def test_a_silent_way_does_not_take_the_place_of_an_ended_one(
    server: Server, udp: Callable[..., Udp]
) -> None:
    viewer = await server.viewer()
    await udp().ask(check(viewer)[0])
    server.ahead_s = CONSENT_S + 1
    tcp = await Tcp.dial(server)
    await tcp.ask(check(viewer, **NOMINATE)[0])
    tcp.sock.close()
    await until(lambda: viewer.session.path is None)


# --- bounds, consent, ends


async def test_paths_are_bounded_and_forgotten(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer()
    selected = udp()
    await selected.ask(check(viewer, **NOMINATE)[0])
    oldest, tcp = udp(), await Tcp.dial(server)
    await oldest.ask(check(viewer)[0])
    await tcp.ask(check(viewer)[0])
    for _ in range(MAX_PATHS):
        latest = udp()
        await latest.ask(check(viewer)[0])
    # The oldest were given up, never the selected one.
    assert await tcp.read() == b""
    rejected = server.agent.rejected
    for near in (oldest, selected, latest):
        near.send(b"\x16 record")
    await until(lambda: len(viewer.records) == 2)
    assert server.agent.rejected == rejected + 1 and len(server.agent._owners) == MAX_PATHS
    viewer.session.close()
    latest.send(check(viewer)[0])
    assert await latest.hears_nothing()
    assert not server.agent._owners and viewer.session.path is None
    tcp.sock.close()


async def test_a_closed_session_hears_nothing_of_what_came_with_its_end(server: Server) -> None:
    viewer = await server.viewer()
    tcp = await Tcp.dial(server)
    await tcp.ask(check(viewer)[0])

    def end(record: bytes) -> None:
        viewer.records.append(record)
        viewer.session.close()

    viewer.on_record = end  # type: ignore[method-assign]
    tcp.sock.send(frames([b"\x16 last", b"\x16 too late"]))
    assert await tcp.read() == b""
    assert viewer.records == [b"\x16 last"]
    tcp.sock.close()


async def test_consent_runs_out_and_checks_keep_it(server: Server, udp: Callable[..., Udp]) -> None:
    viewer = await server.viewer()
    assert viewer.session.has_consent()
    server.ahead_s = CONSENT_S - 1
    assert viewer.session.has_consent()
    near = udp()
    await near.ask(check(viewer)[0])
    server.ahead_s += CONSENT_S - 1
    assert viewer.session.has_consent()
    near.send(check(viewer, password="wrong" * 6)[0])
    near.send(b"\x80 rtcp")
    await until(lambda: viewer.rtcp)
    server.ahead_s += 1
    assert not viewer.session.has_consent()


async def test_trickled_candidates_need_nothing(server: Server) -> None:
    viewer = await server.viewer()
    viewer.session.add_candidates("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n")
    assert viewer.session.path is None


async def test_credentials_are_as_long_as_they_must_be_and_differ(server: Server) -> None:
    first, second = await server.viewer(), await server.viewer()
    assert len(first.session.ufrag) >= 4 and len(first.session.password) >= 22
    assert first.session.ufrag != second.session.ufrag
    assert first.session.password not in repr(first.session)


async def test_candidates_are_those_of_the_addresses(server: Server) -> None:
    viewer = await server.viewer()
    assert server.agent.lite
    assert viewer.session.candidates == host_candidates(("127.0.0.1", "::1"), server.port)


async def test_without_ipv6_its_addresses_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_lite.MediaSockets, "has_ipv6", False)
    port = free_port()
    agent = LiteAgent(port, ("2001:db8::1", "192.0.2.1"))
    assert agent.candidates == host_candidates(("192.0.2.1",), port)
    await agent.close()
    with pytest.raises(LocalError, match=r"media\.advertise"):
        LiteAgent(port, ("2001:db8::1",))
    # Nothing was left open.
    await LiteAgent(port, ("127.0.0.1",)).close()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
async def test_a_port_in_use_names_the_key_and_leaves_nothing_open(kind: socket.SocketKind) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", port))
        with pytest.raises(LocalError, match=rf"{port}.*media\.port"):
            LiteAgent(port, ("127.0.0.1",))
    await LiteAgent(port, ("127.0.0.1",)).close()


async def test_closing_ends_all_sessions(udp: Callable[..., Udp]) -> None:
    server = Server()
    viewer = await server.viewer()
    tcp, stranger = await Tcp.dial(server), await Tcp.dial(server)
    await tcp.ask(check(viewer)[0])
    await server.agent.close()
    assert await tcp.read() == b"" and await stranger.read() == b""
    for one in (tcp, stranger):
        one.sock.close()
