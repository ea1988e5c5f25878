"""The TCP port against clients that do not behave, over real sockets, with a small application behind it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from signaling_support import eventually

from common.access_config import TlsConfig
from common.clock import SystemClock
from common.errors import LocalError
from signaling import connections
from signaling.listener import watched
from signaling.server import Server, listen
from signaling.tls import Certificates
from tests.support.ports import free_tcp_port


async def _hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def _who(request: web.Request) -> web.Response:
    return web.Response(text=request.remote)


async def _wait(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


async def _socket(request: web.Request) -> web.WebSocketResponse:
    response = web.WebSocketResponse()
    await response.prepare(request)
    async for message in response:
        await response.send_str(message.data)
    return response


def app() -> web.Application:
    made = web.Application(middlewares=[watched])
    routes = {"/": _hello, "/who": _who, "/wait": _wait, "/ws": _socket}
    made.add_routes([web.get(path, handler) for path, handler in routes.items()])
    return made


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = await listen(app(), "127.0.0.1", 0)
    yield made
    await made.cleanup()


def table(server: Server) -> connections.Connections:
    return server._listener.connections


def url(server: Server, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.addresses[0][1]}"


async def raw(server: Server, text: bytes) -> bytes:
    """All that is answered to these octets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0][1])
    try:
        writer.write(text)
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: <script>alert(1)</script>\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_answered_400(server: Server, text: bytes) -> None:
    head, _, body = (await raw(server, text)).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 Bad Request", b"HTTP/1.0 400 Bad Request"))
    assert b"application/problem+json" in head and b"Content-Security-Policy" in head
    assert b"aiohttp" not in head and b"Python" not in head
    assert b"script" not in body and b"aaa" not in body


async def test_connections_are_counted_through_their_states(server: Server) -> None:
    async with aiohttp.ClientSession() as client:
        async with client.get(url(server)) as response:
            assert await response.text() == "hello"
        await eventually(lambda: table(server).idle == 1)
        async with client.ws_connect(f"{url(server)}/ws") as viewer:
            assert (table(server).count, table(server).idle) == (1, 0)
            await viewer.send_str("still here")
            assert await viewer.receive_str() == "still here"
            assert (table(server).count, table(server).idle) == (1, 0)
    await eventually(lambda: table(server).count == 0)


async def test_slow_heads_and_silent_ones_are_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    slow, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0][1])
    silent, other = await asyncio.open_connection("127.0.0.1", server.addresses[0][1])

    async def drip() -> None:
        for octet in b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 1000:
            writer.write(bytes([octet]))
            await asyncio.sleep(0.02)

    dripping = asyncio.ensure_future(drip())
    with contextlib.suppress(ConnectionError):
        assert await slow.read() == b""
    with contextlib.suppress(ConnectionError):
        assert await silent.read() == b""
    dripping.cancel()
    for each in (writer, other):
        each.close()
    assert table(server).count == 0


async def test_idle_ones_of_one_client_do_not_lock_it_out(server: Server) -> None:
    many = [
        await asyncio.open_connection("127.0.0.1", server.addresses[0][1])
        for _ in range(3 * connections.MAX_IDLE_OF_ADDRESS)
    ]
    try:
        await eventually(lambda: table(server).idle == connections.MAX_IDLE_OF_ADDRESS)
        async with aiohttp.ClientSession() as client, client.get(url(server)) as response:
            assert response.status == 200
        first, _ = many[0]
        with contextlib.suppress(ConnectionError):
            assert await first.read() == b"", "the oldest goes first"
    finally:
        for _, writer in many:
            writer.close()


async def test_kept_ones_lock_nobody_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_IDLE", 4)
    many = [await asyncio.open_connection("127.0.0.1", server.addresses[0][1]) for _ in range(4)]
    try:
        for _, writer in many:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for reader, _ in many:
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        await eventually(lambda: table(server).idle == 4)
        async with aiohttp.ClientSession() as client, client.get(url(server)) as response:
            assert response.status == 200
        with contextlib.suppress(ConnectionError):
            assert await many[0][0].read() == b"", "the oldest goes"
    finally:
        for _, writer in many:
            writer.close()


async def test_requests_under_way_are_ended_at_the_end(server: Server) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0][1])
    writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    await eventually(lambda: table(server).count == 1 and table(server).idle == 0)
    writer.close()
    await eventually(lambda: table(server).count == 0)


async def test_a_port_that_is_taken_is_said(server: Server) -> None:
    with pytest.raises(
        LocalError, match=r"port \d+ on 127\.0\.0\.1 is used by another program.*http\.listen"
    ):
        await listen(app(), "127.0.0.1", server.addresses[0][1])
    with pytest.raises(LocalError, match=r"cannot be opened"):
        await listen(app(), "192.0.2.1", 0)


async def test_both_families() -> None:
    try:
        server = await listen(app(), "::1", 0)
    except LocalError:
        pytest.skip("no IPv6 here")
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://[::1]:{server.addresses[0][1]}") as response,
        ):
            assert response.status == 200
    finally:
        await server.cleanup()


async def test_the_wildcard_of_ipv6_is_that_of_ipv4_too() -> None:
    """A client of IPv4 is known by its plain address all the same."""
    port = free_tcp_port()
    try:
        server = await listen(app(), "::", port)
    except LocalError:
        pytest.skip("no IPv6 here")
    try:
        async with aiohttp.ClientSession() as client:
            for host, address in (("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")):
                async with client.get(f"http://{host}:{port}/who") as response:
                    assert await response.text() == address
        with pytest.raises(LocalError, match="is used by another program"):
            await listen(app(), "0.0.0.0", port)
    finally:
        await server.cleanup()


async def test_the_wildcard_of_ipv4_is_that_alone() -> None:
    server = await listen(app(), "0.0.0.0", 0)
    assert [address[0] for address in server.addresses] == ["0.0.0.0"]
    await server.cleanup()


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Server]:
    certificates = Certificates(tmp_path, SystemClock())
    certificates.configure(TlsConfig())
    made = await listen(app(), "127.0.0.1", 0, certificates.current)
    yield made
    await made.cleanup()


async def test_over_tls(secure: Server, tmp_path: Path) -> None:
    trusted = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
    async with (
        aiohttp.ClientSession() as client,
        client.get(url(secure, "https"), ssl=trusted) as response,
    ):
        assert response.status == 200
    await eventually(lambda: table(secure).count == 0)


async def test_handshakes_that_never_end(secure: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    silent, one = await asyncio.open_connection("127.0.0.1", secure.addresses[0][1])
    begun, two = await asyncio.open_connection("127.0.0.1", secure.addresses[0][1])
    two.write(hello)
    await eventually(lambda: table(secure).count == 2)
    for reader in (silent, begun):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    assert table(secure).count == 0
    one.close()
    two.close()


async def test_plain_http_on_a_tls_port(secure: Server) -> None:
    with contextlib.suppress(ConnectionError):
        assert b"200" not in await raw(secure, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await eventually(lambda: table(secure).count == 0)


async def test_many_handshakes_at_once(secure: Server) -> None:
    def connect() -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", secure.addresses[0][1]))
        opened.setblocking(False)
        return opened

    many = [await asyncio.to_thread(connect) for _ in range(3 * connections.MAX_IDLE_OF_ADDRESS)]
    await eventually(lambda: table(secure).count == connections.MAX_IDLE_OF_ADDRESS)
    for each in many:
        each.close()
    await eventually(lambda: table(secure).count == 0)


async def test_the_socket_of_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("of a run that was killed")
    server = await listen(app(), "127.0.0.1", 0, unix_socket=path)
    try:
        assert path.stat().st_mode & 0o777 == 0o600
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client,
            client.get("http://localhost/") as response,
        ):
            assert response.status == 200
        assert table(server).count == 0
    finally:
        await server.cleanup()
