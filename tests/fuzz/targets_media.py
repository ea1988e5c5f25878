"""The parsers of what viewers send, without state: STUN, TCP frames, the port's demultiplexing, RTCP, SDP."""

import functools
from collections.abc import Sequence
from unittest import mock

from common.errors import ViewerError
from common.rtp import Nack, ReceiverEstimate, RtpError, TransportFeedback, parse_rtcp
from fanout.ice import stun
from fanout.ice.candidates import MAX_REMOTE_CANDIDATES, parse_candidate, parse_fragment
from fanout.ice.lite import MAX_PATHS, LiteAgent
from fanout.ice.media_sockets import Ancillary, SocketAddress
from fanout.ice.paths import Destination, Path
from fanout.ice.session import RemoteIce
from fanout.ice.tcp import MAX_FRAME_BYTES, Deframer, TcpConnection
from fanout.sdp.answer import answer
from fanout.sdp.offer import BadOffer, NotAcceptable, parse_offer
from fanout.sdp.reader import read
from tests.fanout.offers import LITE, OPUS, PCMA, camera, h264, h265
from tests.fuzz import corpus_media as corpus
from tests.fuzz.corpus import unframed
from tests.fuzz.engine import Target
from tests.fuzz.loop import run

CHECK_INTERVAL_S = 0.7
# An answer holds our address, or the numbers of at most 32 attributes that were not understood.
MAX_ANSWER_BYTES = 200
_AUTHENTIC = tuple(message[4:-8] for message in corpus.MESSAGES[: len(corpus.CHECKS)])
CAMERAS = (
    camera(h264("4d001f"), h264("42e01f"), audio=PCMA),
    camera(h265(), h264("4d001f"), audio=OPUS),
    camera(None),
)


def _stun(pieces: Sequence[bytes]) -> None:
    data = b"".join(pieces)
    try:
        _binding_request(data)
    except stun.StunError:
        _binding_request(corpus.mended(data))


def _binding_request(data: bytes) -> None:
    asked = stun.local_ufrag(data)
    request = stun.parse_binding_request(data)
    # Who looks first must see what who parses sees.
    assert asked == request.local_ufrag
    assert len(request.unknown) <= 32 and len(request.covered) < len(data)
    stun.verify(request, b"p" * 24)
    for host in ("192.0.2.7", "2001:db8::7"):
        assert len(stun.success_response(request, host, 5000, b"key")) <= MAX_ANSWER_BYTES
    assert len(stun.error_response(request, 420, "Unknown Attribute", b"key")) <= MAX_ANSWER_BYTES


def _frames(pieces: Sequence[bytes]) -> None:
    deframer = Deframer()
    found = []
    for piece in pieces:
        found += deframer.feed(piece)
        assert len(deframer._rest) < 2 + MAX_FRAME_BYTES
    assert found == Deframer().feed(b"".join(pieces))


class _Way:
    """A UDP path that sends nothing."""

    def __init__(self, port: "_Port", source: SocketAddress) -> None:
        self.destination = Destination(source[0], source[1], "127.0.0.1")
        self._port = port

    def send_datagram(self, data: bytes) -> None:
        self._port.answered(data)


class _Connection(TcpConnection):
    """An accepted connection without a socket."""

    def __init__(self, port: "_Port", number: int) -> None:
        self.source = ("192.0.2.1", 1 + number)
        self.local = "127.0.0.1"
        self.destination = None
        self.admitted = False
        self.closed = False
        self._port = port

    def send_datagram(self, data: bytes) -> None:
        self._port.answered(data)

    def close(self) -> None:
        self.closed = True


class _Sockets:
    """In the place of the port's UDP sockets and of its listener."""

    egress = None
    has_ipv6 = True

    def __init__(self, *_: object) -> None:
        self.port: _Port | None = None

    def path(self, source: SocketAddress, ancillary: Ancillary) -> _Way | None:
        assert self.port is not None
        return None if len(source) == 4 and source[3] else _Way(self.port, source)

    def admit(self, connection: _Connection) -> None:
        connection.admitted = True

    def close(self) -> None:
        """Nothing is open."""


class _Viewer:
    """Believes only what came from where an authentic check came from."""

    def __init__(self, port: "_Port") -> None:
        self._port = port

    def on_record(self, record: bytes) -> None:
        assert 20 <= record[0] < 64 and self._port.owner() is self

    def on_rtcp(self, data: bytes) -> None:
        assert 128 <= data[0] < 192 and self._port.owner() is self

    def on_path(self, path: Path) -> None:
        assert path is not None


class _Port:
    """A lite agent with two viewers, whose random names are fixed."""

    def __init__(self) -> None:
        with mock.patch.multiple("fanout.ice.lite", MediaSockets=_Sockets, IceTcp=_Sockets):
            self.agent = run(self._open())
        self.agent._sockets.port = self  # type: ignore[attr-defined]
        self.now = 0.0
        self.agent.now = lambda: self.now
        self.answers = 0
        self.authentic = False
        self.source: SocketAddress | _Connection = ("", 0)

    async def _open(self) -> LiteAgent:
        return LiteAgent(8189, ("127.0.0.1", "::1"))

    def answered(self, data: bytes) -> None:
        assert self.authentic and len(data) <= MAX_ANSWER_BYTES
        self.answers += 1

    def owner(self) -> object:
        session = self.agent._owners.get(self.source)
        return session.receiver if session is not None else None

    def play(self, datagrams: Sequence[bytes]) -> None:
        names = iter((corpus.LOCAL_UFRAG, corpus.PASSWORD, "another1", "q" * 24))
        with mock.patch("fanout.ice.lite._random_text", lambda _: next(names)):
            sessions = [
                run(self.agent.open(RemoteIce(corpus.REMOTE_UFRAG, ""), _Viewer(self))) for _ in range(2)
            ]
        connections: dict[int, _Connection] = {}
        for datagram in filter(None, datagrams):
            self._take(datagram[0], datagram[1:], connections)
            assert not self.agent._failed, "a datagram got further than the parsers"
            for session in sessions:
                assert len(session._pairs) <= MAX_PATHS
                assert (session.path is None) == (not session._pairs)
            assert len(self.agent._owners) <= len(sessions) * MAX_PATHS
        for session in sessions:
            session.close()
        assert not self.agent._owners and not self.agent._sessions

    def _take(self, how: int, data: bytes, connections: dict[int, _Connection]) -> None:
        number = how & 0x1F
        if how & corpus.SEAL:
            data = corpus.sealed(data)
        # Neither the length nor what follows MESSAGE-INTEGRITY is protected.
        self.authentic = bool(how & corpus.SEAL) or data[4:].startswith(_AUTHENTIC)
        self.now += CHECK_INTERVAL_S
        self.answers = 0
        if how & corpus.TCP:
            connection = connections.setdefault(number, _Connection(self, number))
            self.source = connection
            if data and not connection.closed:
                self.agent._on_frame(connection, data)
        elif how & corpus.END:
            if number in connections and not connections[number].closed:
                connections[number].close()
                self.agent._on_lost(connections.pop(number), "the end")
        else:
            hosts: tuple[SocketAddress, ...] = (
                ("192.0.2.1", 1000 + number),
                ("2001:db8::1", number, 0, 0),  # port 0 for number 0
                ("fe80::1", 1000 + number, 0, 2),
            )
            self.source = hosts[0] if number < 20 else hosts[number % 3]
            self.agent._on_datagram(data, self.source, [])
        assert self.answers <= 1


_port = functools.cache(_Port)


def _media_port(pieces: Sequence[bytes]) -> None:
    _port().play(unframed(b"".join(pieces)))


def _rtcp(pieces: Sequence[bytes]) -> None:
    data = b"".join(pieces)
    for packet in parse_rtcp(data):
        match packet:
            case Nack(sequences=sequences):
                assert 4 * len(sequences) <= 17 * len(data)
            case TransportFeedback():
                assert len(packet.received) <= len(data)
                assert len(packet.received) + packet.lost == packet.span <= 0xFFFF
            case ReceiverEstimate():
                assert 0 <= packet.bitrate < 1 << 63 and 4 * len(packet.ssrcs) <= len(data)
            case _:
                pass


def _sdp(pieces: Sequence[bytes]) -> None:
    description = read(b"".join(pieces).decode("utf-8", "replace"))
    assert len(description.media) <= 16


def _offer(pieces: Sequence[bytes]) -> None:
    text = b"".join(pieces).decode("utf-8", "replace")
    for renditions in CAMERAS:
        try:
            offer = parse_offer(text, renditions)
        except NotAcceptable:
            continue
        lines = answer(offer, LITE, 1).split("\r\n")
        assert lines.pop() == ""
        # Whatever is repeated of the offer is not a line of its own, and not for terminals.
        assert all(line[1] == "=" and line.isascii() and line.isprintable() for line in lines)
        assert "a=ice-lite" in lines and len(lines) < 1000


def _candidates(pieces: Sequence[bytes]) -> None:
    text = b"".join(pieces).decode("utf-8", "replace")
    assert len(parse_fragment(text, corpus.REMOTE_UFRAG)) <= MAX_REMOTE_CANDIDATES
    for line in text.split("\r\n"):
        candidate = parse_candidate(line.removeprefix("a="))
        assert candidate is None or 0 < candidate.port < 1 << 16


TARGETS = (
    Target("stun", corpus.MESSAGES, _stun, (stun.StunError,), streams=False),
    Target("tcp-frames", corpus.FRAMES, _frames, (ViewerError,)),
    Target("media-port", corpus.PORT, _media_port, (), streams=False),
    Target("viewer-rtcp", corpus.RTCP, _rtcp, (RtpError,), streams=False),
    Target("viewer-sdp", corpus.OFFERS, _sdp, (BadOffer,), streams=False),
    Target("offer", corpus.OFFERS, _offer, (BadOffer,), streams=False),
    Target("candidates", (corpus.FRAGMENT, corpus.MANY), _candidates, (ViewerError,), streams=False),
)
