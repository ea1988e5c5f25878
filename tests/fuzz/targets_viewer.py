"""A viewer that may do what only a viewer can: commands, DTLS and SRTCP, checks and candidates of full ICE.

What a case meets may have met others before: an association and an agent serve many, as they cost more to
make than to fuzz.
"""

import asyncio
import contextlib
import functools
import json
from collections.abc import Callable, Sequence
from unittest import mock

import pylibsrtp
from OpenSSL import SSL

from common.errors import ViewerError
from common.rtp import RtpError, parse_rtcp
from fanout.dtls import Certificate, DtlsServer
from fanout.ice.candidates import MAX_REMOTE_CANDIDATES
from fanout.ice.full import MAX_EARLY_RECORDS, FullAgent, FullSession
from fanout.ice.paths import Path
from fanout.ice.session import RemoteIce
from signaling import commands
from signaling.problems import Problem
from tests.fuzz import corpus_media as corpus
from tests.fuzz.corpus import unframed
from tests.fuzz.engine import Target
from tests.fuzz.loop import run
from tests.support.viewer_dtls import DtlsClient, fingerprint

CASES_PER_SESSION = 500
MAX_RTCP_SENDERS = 32


class _Association:
    """A DTLS server behind its handshake, and its client."""

    def __init__(self, certificate: Certificate) -> None:
        self._cases = 0
        self._sent: list[bytes] = []
        self.closed = False
        self.server = DtlsServer(certificate, self._sent.append, self._on_closed)
        self.client = DtlsClient((("sha-256", certificate.sha256),))
        run(self._connect())

    def _on_closed(self) -> None:
        self.closed = True

    async def _connect(self) -> None:
        handshake = asyncio.create_task(self.server.handshake((("sha-256", fingerprint()),)))
        self.client.start()
        while not handshake.done():
            if data := self.client.data_to_send():
                self.server.feed(data)
            await asyncio.sleep(0)
            self._answer()
        await handshake
        self._answer()

    def _answer(self) -> None:
        for datagram in self._sent:
            self.client.feed(datagram)
        self._sent.clear()

    def usable(self) -> bool:
        self._cases += 1
        return not self.closed and self._cases < CASES_PER_SESSION

    async def play(self, inputs: Sequence[bytes]) -> None:
        for data in filter(None, inputs):
            self._take(data[0], data[1:])
            for _ in range(2):
                await asyncio.sleep(0)
            # What is answered after the handshake are alerts, and a last flight that is asked for again.
            assert len(self._sent) <= 8
            self._sent.clear()
            assert len(self.server._rtcp_senders) <= MAX_RTCP_SENDERS
            with_nothing_left = self.closed or _has_nothing(self.server)
            assert with_nothing_left, "decrypted data waits for a reader that does not exist"

    def _take(self, how: int, data: bytes) -> None:
        before = self.closed
        connection, srtp = self.client._ssl, self.client.srtp
        assert srtp is not None
        match how & 3:
            case 0:
                self.server.feed(data)
            case 1 if data:
                connection.send(data[:1000])
                self.server.feed(connection.bio_read(2000) + data)
            case 2:
                _refused(lambda: self.server.unprotect_rtcp(data))
            case 3:
                try:
                    protected = srtp.outbound.protect_rtcp(corpus.RTCP[0][:8] + data[:1000])
                except pylibsrtp.Error:
                    return
                _refused(lambda: parse_rtcp(self.server.unprotect_rtcp(protected)))
            case _:
                pass
        assert before == self.closed


def _refused(function: Callable[[], object]) -> None:
    with contextlib.suppress(ViewerError, RtpError):
        function()


def _has_nothing(server: DtlsServer) -> bool:
    assert server._ssl is not None
    try:
        server._ssl.recv(1)
    except SSL.Error:
        return True
    return False


_certificate = functools.cache(Certificate.generateCertificate)
_associations: list[_Association] = []


def _dtls(pieces: Sequence[bytes]) -> None:
    if not _associations or not _associations[0].usable():
        for old in _associations:
            run(old.server.stop())
        _associations[:] = [_Association(_certificate())]
    run(_associations[0].play(unframed(b"".join(pieces))))


def _handshake(pieces: Sequence[bytes]) -> None:
    run(_shake(unframed(b"".join(pieces))))


async def _shake(datagrams: Sequence[bytes]) -> None:
    sent: list[bytes] = []
    server = DtlsServer(_certificate(), sent.append, lambda: None)
    handshake = asyncio.create_task(server.handshake((("sha-256", "AB:" * 31 + "AB"),)))
    await asyncio.sleep(0)
    for datagram in filter(None, datagrams):
        sent.clear()
        server.feed(datagram)
        await asyncio.sleep(0)
        assert sum(map(len, sent)) < 8000, "an amplifier"
    for _ in range(2):
        await asyncio.sleep(0)
    while not handshake.done():
        # wait_for of Python 3.11 forgets that it was cancelled where a record came in the same turn.
        handshake.cancel()
        await asyncio.sleep(0)
    await server.stop()
    outcome = (await asyncio.gather(handshake, return_exceptions=True))[0]
    if not isinstance(outcome, ViewerError | asyncio.CancelledError):
        raise AssertionError(f"a handshake that nobody finished gave {outcome!r}")


class _Silent:
    """In the place of a socket's transport: nothing leaves this process."""

    def __init__(self, transport: asyncio.DatagramTransport) -> None:
        self.close = transport.close

    def sendto(self, data: bytes, address: object) -> None:
        assert len(data) <= 200


class _Receiver:
    """A viewer behind full ICE."""

    def on_record(self, record: bytes) -> None:
        assert 20 <= record[0] < 64

    def on_rtcp(self, data: bytes) -> None:
        assert 128 <= data[0] < 192

    def on_path(self, path: Path) -> None:
        assert path is not None


class _Full:
    """A session of full ICE on loopback, whose random names are fixed."""

    def __init__(self) -> None:
        self.cases = 0
        self.session = run(self._open())

    async def _open(self) -> FullSession:
        self.agent = FullAgent((), ("127.0.0.1",))
        self.agent._failed = True  # aioice's parser raises more than it says; the log need not tell again
        names = {4: corpus.LOCAL_UFRAG, 16: corpus.PASSWORD}
        with mock.patch("fanout.ice.full.secrets.token_hex", names.__getitem__):
            session = await self.agent.open(RemoteIce(corpus.REMOTE_UFRAG, corpus.PASSWORD), _Receiver())
        for end in session._connection._protocols:
            end.transport = _Silent(end.transport)  # type: ignore[assignment]
        return session

    async def play(self, datagrams: Sequence[bytes]) -> None:
        connection = self.session._connection
        (end,) = connection._protocols
        for datagram in filter(None, datagrams):
            data = corpus.sealed(datagram[1:]) if datagram[0] & corpus.SEAL else datagram[1:]
            end.datagram_received(data, ("192.0.2.1", 1000 + (datagram[0] & 0x1F)))
            await asyncio.sleep(0)
        self._bounded()

    async def trickle(self, fragment: str) -> None:
        self.session.add_candidates(fragment)
        for _ in range(3):
            await asyncio.sleep(0)
        self._bounded()

    def _bounded(self) -> None:
        connection = self.session._connection
        assert len(connection.remote_candidates) <= 2 * MAX_REMOTE_CANDIDATES
        assert len(connection._check_list) <= 2 * MAX_REMOTE_CANDIDATES
        assert len(connection._protocols[0].heard) <= MAX_REMOTE_CANDIDATES  # type: ignore[attr-defined]
        assert len(self.session._early) <= MAX_EARLY_RECORDS


_full: list[_Full] = []


def _session() -> _Full:
    if _full and (_full[0].cases > CASES_PER_SESSION or _full[0].session.closed):
        run(_full.pop().agent.close())
    if not _full:
        _full.append(_Full())
    _full[0].cases += 1
    return _full[0]


async def _no_name(self: object, host: str) -> None:
    """Multicast DNS would ask the network."""


async def _mdns(subscriber: object) -> object:
    return mock.Mock(resolve=functools.partial(_no_name, None))


def _full_port(pieces: Sequence[bytes]) -> None:
    run(_session().play(unframed(b"".join(pieces))))


def _trickle(pieces: Sequence[bytes]) -> None:
    text = b"".join(pieces).decode("utf-8", "replace")
    with mock.patch("aioice.ice.get_or_create_mdns_protocol", _mdns):
        run(_session().trickle(text))


def _command(pieces: Sequence[bytes]) -> None:
    content = commands.parse_object(b"".join(pieces).decode("utf-8", "replace"))
    about = commands.envelope(content)
    assert len(json.dumps(about.id)) <= 6 * commands.MAX_ID_CHARS + 2
    command = commands.parse(content)
    assert isinstance(command, commands.Command)


_SAID: tuple[dict[str, object], ...] = (
    {"type": "offer", "id": 1, "camera": "front", "sdp": "v=0\r\n", "replaces": "s", "quality": "sub"},
    {"type": "attach", "id": "a", "session": "s"},
    {"type": "candidate", "session": "s", "candidate": corpus.FRAGMENT.decode()},
    {
        "type": "candidate",
        "session": "s",
        "candidate": {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0"},
    },
    {"type": "select", "id": 2, "session": "s", "quality": "keyframes"},
    {"type": "diagnose", "id": 3, "session": "s"},
    {"type": "diagnose", "id": 4, "camera": "front"},
    {"type": "time", "id": 5},
    {"type": "close", "id": 6, "session": "s"},
)
_COMMANDS = tuple(json.dumps(said).encode() for said in _SAID)
_ASSOCIATION = (
    corpus.framed([b"\0" + records for records in corpus.RECORDS]),
    corpus.framed([b"\1" + b"data" * 20, b"\1" + corpus.RECORDS[1], b"\0" + corpus.RECORDS[3]]),
    corpus.framed([b"\2" + packet for packet in corpus.RTCP[:3]]),
    corpus.framed([b"\3" + packet[8:] for packet in corpus.RTCP[:5]]),
)
_FLIGHTS = (
    corpus.framed([corpus.HELLO]),
    corpus.framed([corpus.HELLO, corpus.HELLO, *corpus.RECORDS[1:3]]),
    corpus.framed(corpus.RECORDS[1:]),
)
TARGETS = (
    Target("commands", _COMMANDS, _command, (Problem,), streams=False),
    Target("dtls", _ASSOCIATION, _dtls, (), streams=False),
    Target("dtls-handshake", _FLIGHTS, _handshake, (), streams=False),
    Target("full-port", corpus.PORT, _full_port, (), streams=False),
    Target("trickle", (corpus.FRAGMENT, corpus.MANY), _trickle, (ViewerError,), streams=False),
)
