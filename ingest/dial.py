"""How a camera is reached: TCP, TLS (RTSPS), or two HTTP requests; what fails there, in words."""

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

from common.clock import Clock
from common.errors import CameraError, CameraRefusal
from common.urls import CameraUrl
from ingest.connection import CameraConnection, Upward, reason_of
from ingest.rtsp import tunnel
from ingest.rtsp.auth import Challenge
from ingest.rtsp.login import Login
from ingest.rtsp.messages import Response, TransportRefused, shown
from ingest.rtsp.quirks import Quirks
from ingest.tcp import connect_first, resolve

CONNECT_DEADLINE_S = 5.0
# Receiver reports go out every 5 s: a camera without power is noticed by the missing acknowledgement.
UNACKNOWLEDGED_DEADLINE_MS = 10_000
KEEPALIVE_IDLE_S = 10
KEEPALIVE_INTERVAL_S = 3
KEEPALIVE_PROBES = 3
HTTP_PORT = 80
HTTPS_PORT = 443


class Unreachable(CameraError):
    """Nothing takes connections at this port of the camera; another port may.

    `lasting`: to try it again costs time, as it did not even refuse.
    """

    def __init__(self, message: str, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class _Downward(asyncio.Protocol):
    """The GET of a tunnel until it is answered; then the connection takes its transport over."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._reply = tunnel.TunnelReply()

    def data_received(self, data: bytes) -> None:
        if self.answered.done():
            return
        try:
            if (reply := self._reply.feed(data)) is not None:
                self.answered.set_result(reply)
        except CameraError as exc:
            self.answered.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(TransportRefused("camera closes RTSP over HTTP unanswered"))


def tls_context(verify: bool) -> ssl.SSLContext:
    """TLS 1.2 or newer for RTSPS; without `verify` for cameras that signed their certificate themselves."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # Such cameras have small keys and no forward secrecy either; security level 2 would refuse them.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def port_of(url: CameraUrl, over_http: bool) -> int:
    """Where to connect; RTSP over HTTP has the ports of HTTP unless the URL names one."""
    if over_http and not url.port_given:
        return HTTPS_PORT if url.scheme == "rtsps" else HTTP_PORT
    return url.port


@contextlib.asynccontextmanager
async def _until(deadline: float, overdue: CameraError) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise overdue from None


@dataclass(frozen=True, slots=True)
class _Dialler:
    """Dials one port of the camera, as often as it takes until `deadline`."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    deadline: float
    "By the event loop's clock."

    @property
    def where(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def dial(self, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        within = f"within {CONNECT_DEADLINE_S:g} s"
        unresolved = CameraError(
            f"the host name {self.host} is not resolved {within}; check the name servers of this machine"
        )
        async with _until(self.deadline, unresolved):
            addresses = await resolve(self.host, self.port)
        silent = Unreachable(
            f"camera at {self.where} does not answer {within}; check its address and power", lasting=True
        )
        async with _until(self.deadline, silent):
            sock = await connect_first(addresses)
        # The peer may have left already.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_DEADLINE_MS)
        no_tls = Unreachable(
            f"camera at {self.where} takes connections but starts no TLS {within}; "
            "it may not speak TLS on that port, check the port or use rtsp://",
            lasting=True,
        )
        async with _until(self.deadline, no_tls):
            # For an address, which SNI does not know (RFC 6066 section 3), ssl leaves SNI out itself.
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: protocol, sock=sock, ssl=self.tls, server_hostname=self.host if self.tls else None
            )
        return transport


async def connect(
    url: CameraUrl,
    clock: Clock,
    tls: ssl.SSLContext | None = None,
    over_http: bool = False,
) -> CameraConnection:
    """Opens a connection, to be started.

    Raises CameraRefusal for a certificate, TLS or host name that does not do, TransportRefused when there is
    no RTSP over HTTP, Unreachable when the port cannot be reached within 5 s, else CameraError.
    """
    deadline = asyncio.get_running_loop().time() + CONNECT_DEADLINE_S
    dialler = _Dialler(url.host, port_of(url, over_http), tls, deadline)
    where = dialler.where
    try:
        connection = CameraConnection(clock)
        if over_http:
            await _open_tunnel(connection, url, dialler)
        else:
            await dialler.dial(connection)
        return connection
    except UnicodeError:
        raise CameraRefusal(
            f"{shown(url.host)!r} is no host name: its parts have 1 to 63 characters; check the camera's URL"
        ) from None
    except ConnectionRefusedError:
        raise Unreachable(f"camera at {where} refuses connections; check the port") from None
    except ssl.SSLCertVerificationError as exc:
        raise CameraRefusal(
            f"camera at {where} shows a certificate that cannot be trusted ({exc.verify_message}); "
            "install the CA that signed it on this machine, or set verify_tls: false for this camera"
        ) from None
    except (ConnectionResetError, ssl.SSLEOFError):
        raise Unreachable(
            f"camera at {where} closes the connection at once; "
            "it may have too many, or speak something else on that port"
        ) from None
    except ssl.SSLError as exc:
        reason = (exc.reason or "unknown reason").replace("_", " ").lower()
        raise CameraRefusal(
            f"camera at {where} does not come to terms on TLS ({reason}); "
            "it must speak TLS 1.2 or newer there, verify_tls: false also allows its old ciphers, "
            "else use rtsp://"
        ) from None
    except OSError as exc:
        # The other ports of a host without address are no better.
        kind = CameraError if isinstance(exc, socket.gaierror) else Unreachable
        raise kind(f"camera at {where} cannot be reached: {reason_of(exc)}") from None


async def _open_tunnel(connection: CameraConnection, url: CameraUrl, dialler: _Dialler) -> None:
    path = tunnel.request_path(url.path)
    login = Login(url, os.urandom(16), None, Quirks())
    answered: Challenge | None = None
    silent = TransportRefused(
        f"camera at {dialler.where} leaves RTSP over HTTP unanswered for {CONNECT_DEADLINE_S:g} s",
        lasting=True,
    )
    for tried in itertools.count():
        # Some web servers in cameras want the login for HTTP, and then RTSP may want it again.
        way = tunnel.Tunnel(path, dialler.where, os.urandom(11).hex())
        downward, upward = _Downward(), Upward()
        get = await dialler.dial(downward)
        try:
            get.write(tunnel.get_request(way, login.sign("GET", path)))
            async with _until(dialler.deadline, silent):
                reply = await downward.answered
            if reply.status == 401:
                login.refused(reply, answered, renewals=max(0, tried - 1))
                answered = login.challenge
                get.abort()
                continue
            post = await dialler.dial(upward)
        except BaseException:
            get.abort()
            raise
        post.write(tunnel.post_request(way, login.sign("POST", path)))
        get.set_protocol(connection)
        connection.connection_made(get)
        connection.go_through(upward)
        return
