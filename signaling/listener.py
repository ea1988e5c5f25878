"""The TCP port: accepts connections within limits (connections.py), with TLS (RFC 8446) or not.

aiohttp speaks HTTP on them. It would give a connection that never sends a request, or never ends its
handshake, all the time and descriptors it wants.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler

from common.errors import LocalError
from signaling import security_headers
from signaling.connections import HEAD_S, MAX_CONNECTIONS, Connection, Connections
from signaling.http_body import respond
from signaling.problems import Problem

log = logging.getLogger(__name__)

BACKLOG = 1024
ACCEPTS_AT_ONCE = 64
"Then others on the loop have their turn."
SWEEP_S = 1.0
FULL_PAUSE_S = 0.2
"Nothing is accepted for so long when descriptors ran out."
CLOSE_TLS_S = 2.0
SHUTDOWN_S = 2.0
LINGER_S = 1.0
"How long a refused body is thrown away, so that the client gets to read why."
RESERVED_DESCRIPTORS = 256
"For the bus, files, and everything else of this process."


class _Quiet(logging.Filter):
    """Drops the traceback that aiohttp logs for each request that is not HTTP: anyone can send those."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_http_log = logging.getLogger("signaling.http")
_http_log.addFilter(_Quiet())

Tls = tuple[ssl.SSLContext, bool]
"What new connections are served with, and whether browsers may insist on it: the certificate is trusted."
OPTIONS: dict[str, Any] = {
    "logger": _http_log,
    "access_log": None,
    "lingering_time": LINGER_S,
    "auto_decompress": False,
}


class _Http(web.RequestHandler):
    """HTTP on one TCP connection, which its limits are told of."""

    __slots__ = ("_clock", "connection", "strict")

    def __init__(self, server: web.Server, connection: Connection, strict: bool) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, **OPTIONS)
        self._clock = loop.time
        self.connection = connection
        self.strict = strict
        "Over TLS with a certificate that browsers trust."

    def data_received(self, data: bytes) -> None:
        self.connection.received(self._clock)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.connection.closed()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is not HTTP has no answer of the application's; nothing of it is repeated."""
        if status != 400:
            return super().handle_error(request, status, exc, message)
        response = respond(request, Problem(400, "the request is not HTTP/1.1 as RFC 9112 wants it"))
        security_headers.add(response.headers, self.strict)
        response.headers["Server"] = "cctv3"  # aiohttp would add its version
        response.force_close()
        return response


@web.middleware
async def watched(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The limits of waiting connections do not count while a request is answered."""
    protocol = request.protocol
    if not isinstance(protocol, _Http):
        return await handler(request)
    clock = asyncio.get_running_loop().time
    protocol.connection.requested(clock())
    try:
        return await handler(request)
    finally:
        protocol.connection.answered(clock())


def is_strict(request: web.Request) -> bool:
    """True for a request over TLS with a certificate that browsers trust."""
    return isinstance(request.protocol, _Http) and request.protocol.strict


class Listener:
    """One TCP address with `runner`'s application behind it; `tls` is asked at each connection."""

    def __init__(
        self,
        runner: web.AppRunner,
        tls: Callable[[], Tls | None],
        descriptors: int,
    ) -> None:
        server = runner.server
        assert server is not None  # the runner is set up
        self._server = server
        self._tls = tls
        self.connections = Connections(min(MAX_CONNECTIONS, max(64, descriptors - RESERVED_DESCRIPTORS)))
        self._sockets: list[socket.socket] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def open(self, host: str, port: int) -> None:
        """Listens on every address of `host`, of which `::` means both families; raises LocalError."""
        try:
            found = await self._addresses_of(host, port)
            if any(address[0] == "::" for *_, address in found):
                # A socket of its own: on one for both, clients of IPv4 have addresses of IPv6.
                found += await self._addresses_of("0.0.0.0", port)
            for family, kind, protocol, _, address in dict.fromkeys(found):
                self._sockets.append(_bound(family, kind, protocol, address))
        except OSError as exc:
            await self.close()
            if exc.errno == errno.EADDRINUSE:
                reason = "is used by another program; stop that or choose another port"
            else:
                reason = f"cannot be opened ({exc.strerror or exc}); choose another address"
            raise LocalError(f"port {port} on {host} {reason}: key http.listen in the configuration") from exc
        self._resume()
        self._sweep()

    async def _addresses_of(self, host: str, port: int) -> list[Any]:
        return await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)

    @property
    def addresses(self) -> list[Any]:
        """Where it listens."""
        return [each.getsockname() for each in self._sockets]

    async def close(self) -> None:
        """Accepts no more, and drops handshakes under way."""
        for timer in self._timers.values():
            timer.cancel()
        for each in self._sockets:
            self._loop.remove_reader(each)
            each.close()
        self._sockets.clear()
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)

    def _resume(self) -> None:
        for each in self._sockets:
            self._loop.add_reader(each, self._accept, each)

    def _sweep(self) -> None:
        self.connections.end_overdue(self._loop.time())
        self._timers["sweep"] = self._loop.call_later(SWEEP_S, self._sweep)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                # Descriptors or memory ran out.
                log.warning("! no connection can be accepted: %s", exc.strerror or exc)
                self.connections.make_room()
                for each in self._sockets:
                    self._loop.remove_reader(each)
                self._timers["resume"] = self._loop.call_later(FULL_PAUSE_S, self._resume)
                return
            self._admit(accepted, address[0])

    def _admit(self, accepted: socket.socket, address: str) -> None:
        accepted.setblocking(False)
        tls = self._tls()
        ends: list[Callable[[], object]] = [accepted.close]

        def end() -> None:
            ends[-1]()

        connection = Connection(self.connections, address, end)
        if not self.connections.admit(connection, self._loop.time()):
            accepted.close()
            return
        http = _Http(self._server, connection, strict=tls is not None and tls[1])
        task = self._loop.create_task(self._start(accepted, http, tls[0] if tls else None, ends))
        ends.append(task.cancel)
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        task.add_done_callback(lambda task: accepted.close() if task.cancelled() else None)

    async def _start(
        self,
        accepted: socket.socket,
        http: _Http,
        context: ssl.SSLContext | None,
        ends: list[Callable[[], object]],
    ) -> None:
        over_tls: dict[str, Any] = (
            {"ssl": context, "ssl_handshake_timeout": HEAD_S, "ssl_shutdown_timeout": CLOSE_TLS_S}
            if context
            else {}
        )
        try:
            transport, _ = await self._loop.connect_accepted_socket(lambda: http, accepted, **over_tls)
            ends.append(transport.abort)
        except OSError:
            http.connection.closed()  # hung up, or not TLS: anyone can do that


def _bound(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # The wildcard of IPv4 is listened on beside it.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening
