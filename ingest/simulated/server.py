"""The simulated camera on the network: RTSP, RTSPS and RTSP over HTTP for several clients."""

import asyncio
import logging
import secrets
import socket
import ssl
from collections.abc import Callable

from common.clock import Clock
from common.errors import LocalError
from ingest.simulated.login import Login
from ingest.simulated.options import CameraOptions
from ingest.simulated.outlets import DatagramOutlet, InterleavedOutlet, MediaSockets, Outlet
from ingest.simulated.rendition import Rendition
from ingest.simulated.replies import Conversation, Ended, OfferedTrack, Playing, Presentation
from ingest.simulated.requests import RequestError
from ingest.simulated.transports import Interleaved, Multicast, Offered, Transport, Unicast
from ingest.simulated.tunnel import GRANTED, Base64Stream, is_http, parse_http

log = logging.getLogger(__name__)

MAIN_PATH = "/simulated"
SUB_PATH = "/simulated-sub"
MAX_CLIENTS = 100
READ_BYTES = 4096
_METHOD_BYTES = 5


class _Client:
    """One RTSP connection, or both halves of a tunnel."""

    def __init__(
        self,
        conversation: Conversation,
        renditions: dict[str, Rendition],
        sockets: MediaSockets | None,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.conversation = conversation
        self._renditions = renditions
        self._sockets = sockets
        self._writer = writer
        self._outlets: dict[int, Outlet] = {}

    async def feed(self, data: bytes) -> None:
        """Answers requests; PLAY joins the rendition. Raises RequestError."""
        before = self.conversation.state
        self._writer.write(self.conversation.feed(data))
        state = self.conversation.state
        if isinstance(state, Playing) and not isinstance(before, Playing):
            self._outlets = {track: self._outlet(item) for track, item in state.transports.items()}
            self._renditions[state.path].join(self, self._outlets)
        await self._writer.drain()
        if isinstance(state, Ended):
            self.leave()
            self._writer.close()

    def leave(self) -> None:
        """Nothing is sent any more."""
        for rendition in self._renditions.values():
            rendition.leave(self)
        dropped = sum(one.dropped for one in self._outlets.values() if isinstance(one, InterleavedOutlet))
        self._outlets = {}
        if dropped:
            log.info("= client left, %d pictures were not sent to it", dropped)

    def _outlet(self, transport: Transport) -> Outlet:
        match transport:
            case Interleaved(rtp, rtcp):
                return InterleavedOutlet(self._writer, rtp, rtcp)
            case Unicast(rtp, rtcp):
                # Only to where the connection comes from, whatever `destination` asks (RFC 2326 section 16).
                host = self._writer.get_extra_info("peername")[0]
            case Multicast(host, rtp, rtcp):
                pass
        assert self._sockets is not None, "UDP is offered only with sockets"
        return DatagramOutlet(self._sockets, host, rtp, rtcp)


class SimulatedCamera:
    """Serves `/simulated` and `/simulated-sub` until cancelled."""

    def __init__(self, clock: Clock, options: CameraOptions) -> None:
        renditions = [
            Rendition(clock, path, video, options.audio, options.faults)
            for path, video in ((MAIN_PATH, options.main), (SUB_PATH, options.sub))
        ]
        self._renditions = {rendition.path: rendition for rendition in renditions}
        self._tls = _tls_context(options)
        self._login = Login(options.login, secrets.token_hex(16)) if options.login else None
        self._presentations: dict[str, Presentation] = {}
        self._sockets: MediaSockets | None = None
        self._clients: set[_Client] = set()
        self._tunnels: dict[str, _Client] = {}

    async def run(self, host: str, port: int) -> None:
        """Listens and encodes; raises LocalError when the port cannot be had."""
        try:
            server = await asyncio.start_server(self._connected, host, port, limit=READ_BYTES, ssl=self._tls)
        except OSError as exc:
            raise LocalError(f"simulated camera cannot listen on {host}:{port}: {exc.strerror}") from exc
        listening = server.sockets[0]
        address, bound = listening.getsockname()[:2]
        if self._tls is None:  # there is no SRTP here
            self._sockets = MediaSockets(listening.family, address)
        self._present(bound, listening.family)
        scheme = "rtsp" if self._tls is None else "rtsps"
        log.info("= simulated camera at %s://%s:%d%s and %s", scheme, host, bound, MAIN_PATH, SUB_PATH)
        try:
            async with asyncio.TaskGroup() as tasks:
                for rendition in self._renditions.values():
                    tasks.create_task(rendition.run())
        finally:
            server.close()
            if self._sockets is not None:
                self._sockets.close()

    def _present(self, port: int, family: socket.AddressFamily) -> None:
        """Says what each path offers; groups and their ports differ from camera to camera by `port`."""
        group = f"239.255.{port >> 8}.{port & 0xFF}"
        group_port = 10_000 + port % 1000 * 8  # 8: RTP and RTCP of two tracks of two renditions
        for rendition in self._renditions.values():
            tracks = []
            for ssrc in rendition.ssrcs:
                multicast = None
                if self._sockets is not None and family == socket.AF_INET:
                    multicast = Multicast(group, group_port, group_port + 1)
                group_port += 2
                ports = self._sockets.ports if self._sockets is not None else None
                tracks.append(OfferedTrack(Offered(ports, multicast), ssrc))
            self._presentations[rendition.path] = Presentation(rendition.describe, tuple(tracks))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            start = await reader.readexactly(_METHOD_BYTES)
            if is_http(start):
                await self._serve_tunnel(start, reader, writer)
            else:
                await self._serve(start, reader, writer)
        except RequestError as exc:
            log.warning("! client: %s; connection closed", exc)
        except asyncio.LimitOverrunError:
            log.warning("! client: HTTP head of more than %d octets; connection closed", READ_BYTES)
        except asyncio.IncompleteReadError:
            pass  # somebody looked whether the port is open
        except OSError as exc:
            log.info("= client gone: %s", exc.strerror or type(exc).__name__)
        finally:
            writer.close()

    def _admit(self, writer: asyncio.StreamWriter) -> _Client:
        if len(self._clients) >= MAX_CLIENTS:
            raise RequestError(f"one more than {MAX_CLIENTS}")
        conversation = Conversation(self._presentations, secrets.token_hex(8), self._login)
        client = _Client(conversation, self._renditions, self._sockets, writer)
        self._clients.add(client)
        return client

    def _dismiss(self, client: _Client) -> None:
        client.leave()
        self._clients.discard(client)

    async def _serve(self, start: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = self._admit(writer)
        try:
            await client.feed(start)
            await _converse(client, reader, bytes)
        finally:
            self._dismiss(client)

    async def _serve_tunnel(
        self, start: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """GET opens a tunnel and lives as long as it; a POST, later perhaps another one, feeds it."""
        request = parse_http(start + (await reader.readuntil(b"\r\n\r\n"))[:-4])
        if request.method == "POST":
            if request.cookie not in self._tunnels:
                raise RequestError("HTTP POST to a tunnel that no GET has opened")
            await _converse(self._tunnels[request.cookie], reader, Base64Stream().feed)
            return
        if request.cookie in self._tunnels:
            raise RequestError("HTTP GET with the cookie of another tunnel")
        client = self._tunnels[request.cookie] = self._admit(writer)
        try:
            writer.write(GRANTED)
            while await reader.read(READ_BYTES):
                pass
        finally:
            del self._tunnels[request.cookie]
            self._dismiss(client)


async def _converse(client: _Client, reader: asyncio.StreamReader, decode: Callable[[bytes], bytes]) -> None:
    """Until TEARDOWN or the end of what the client sends."""
    while not isinstance(client.conversation.state, Ended) and (data := await reader.read(READ_BYTES)):
        await client.feed(decode(data))


def _tls_context(options: CameraOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except (OSError, ssl.SSLError) as exc:
        raise LocalError(f"certificate {options.tls_cert} cannot be used: {exc.strerror}") from exc
    return context
