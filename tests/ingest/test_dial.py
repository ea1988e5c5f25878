"""Reaching a camera by TCP, TLS and HTTP, and what is said when that fails."""

import asyncio
import base64
import contextlib
import socket
import ssl
import threading

import pytest

from common.clock import SystemClock
from common.errors import CameraError, CameraRefusal
from common.urls import CameraUrl, parse_camera_url
from ingest import dial as module
from ingest import tcp
from ingest.dial import Unreachable, connect, tls_context
from ingest.rtsp.messages import TransportRefused
from tests.support.certificates import self_signed
from tests.support.faulty_camera import Close, Hang, Send, faulty_camera

from .dialling import connected, failure


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("rtsp://127.0.0.1:{port}/", Unreachable, "camera at 127.0.0.1:{port} refuses connections; check"),
        ("rtsp://[::1]:{port}/", Unreachable, "camera at [::1]:{port} refuses connections; check the port"),
        ("rtsp://no-name.invalid:{port}/", CameraError, "camera at no-name.invalid:{port} cannot be reached"),
    ],
)
async def test_unreachable(url, kind, words):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(CameraError) as caught:
        await connect(parse_camera_url(url.format(port=port)), SystemClock())
    assert words.format(port=port) in str(caught.value)
    assert type(caught.value) is kind


def dialled(host):
    return CameraUrl("rtsp", host, 554, f"rtsp://{host}/")


@pytest.mark.parametrize("name", ["a..b", "a" * 64 + ".local"])
async def test_what_is_no_host_name(name):
    for over_http in (False, True):
        with pytest.raises(CameraRefusal, match=f"'{name[:9]}.*is no host name"):
            await connect(dialled(name), SystemClock(), over_http=over_http)


async def test_name_servers_that_do_not_answer(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_DEADLINE_S", 0.1)
    monkeypatch.setattr(tcp.socket, "getaddrinfo", lambda *args, **options: threading.Event().wait())
    with pytest.raises(
        CameraError, match=r"cam\.example is not resolved within 0\.1 s; check the name servers"
    ):
        await connect(dialled("cam.example"), SystemClock())


async def test_a_camera_without_power(monkeypatch):
    async def connect_first(addresses):
        await asyncio.sleep(60)

    monkeypatch.setattr(module, "CONNECT_DEADLINE_S", 0.1)
    monkeypatch.setattr(module, "connect_first", connect_first)
    with pytest.raises(Unreachable, match=r"192\.0\.2\.1:554 does not answer within 0\.1 s; .*power"):
        await connect(dialled("192.0.2.1"), SystemClock())


@contextlib.asynccontextmanager
async def listening(serve, **options):
    """A server on a free port; gives the port, and cleans up behind its handlers."""
    tasks = set()

    async def handle(reader, writer):
        tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks)


# TLS


class TlsCamera:
    """Answers the first request and keeps the connection; `names` are those of SNI."""

    def __init__(self):
        self.names = []
        self.port = 0

    async def serve(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0\r\n")
        await reader.read()


@contextlib.asynccontextmanager
async def tls_camera(files, maximum=ssl.TLSVersion.TLSv1_3, ciphers="DEFAULT:@SECLEVEL=0"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers)
    context.maximum_version = maximum
    context.load_cert_chain(files.certificate, files.key)
    camera = TlsCamera()
    context.sni_callback = lambda _socket, name, _context: camera.names.append(name)
    async with listening(camera.serve, ssl=context) as camera.port:
        yield camera


async def answer_over_tls(camera, context, host="127.0.0.1"):
    async with connected(f"rtsps://{host}:{camera.port}/c", tls=context) as connection:
        assert "SSH-2.0" in str(await failure(connection))


async def test_a_trusted_certificate(tmp_path):
    files = self_signed(tmp_path)
    context = tls_context(verify=True)
    context.load_verify_locations(files.certificate)
    async with tls_camera(files) as camera:
        await answer_over_tls(camera, context)
        # An address is not for SNI (RFC 6066 section 3).
        assert camera.names == [None]


@pytest.mark.parametrize("days", [1, -1])
async def test_a_certificate_that_cannot_be_trusted(tmp_path, days):
    async with tls_camera(self_signed(tmp_path, days=days)) as camera:
        with pytest.raises(CameraRefusal, match=r"cannot be trusted .*verify_tls: false"):
            await answer_over_tls(camera, tls_context(verify=True))
        await answer_over_tls(camera, tls_context(verify=False))
        await answer_over_tls(camera, tls_context(verify=False), "localhost")
        assert camera.names[-1] == "localhost"


async def test_a_certificate_of_another_host(tmp_path):
    files = self_signed(tmp_path, address="192.0.2.9")
    context = tls_context(verify=True)
    context.load_verify_locations(files.certificate)
    async with tls_camera(files) as camera:
        with pytest.raises(CameraRefusal, match="IP address mismatch"):
            await answer_over_tls(camera, context)


async def test_old_ciphers_do_without_verification(tmp_path):
    files = self_signed(tmp_path)
    old = {"maximum": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"}
    async with tls_camera(files, **old) as camera:
        await answer_over_tls(camera, tls_context(verify=False))


async def test_tls_1_1_is_too_old():
    alert = bytes.fromhex("15 0302 0002 02 46")  # fatal, protocol_version (RFC 5246 section 7.2)
    async with faulty_camera([Send(alert), Hang()]) as camera:
        with pytest.raises(CameraRefusal, match=r"protocol version.*must speak TLS 1\.2 or newer"):
            async with connected(camera.url.replace("rtsp", "rtsps", 1), tls=tls_context(verify=False)):
                pass


async def test_plain_rtsp_where_tls_is_expected():
    async with faulty_camera([Send(b"RTSP/1.0 400 Bad Request\r\n\r\n"), Hang()]) as camera:
        with pytest.raises(CameraRefusal, match="use rtsp://"):
            async with connected(camera.url.replace("rtsp", "rtsps", 1), tls=tls_context(verify=False)):
                pass
    async with faulty_camera([Close()]) as camera:
        with pytest.raises(CameraError, match="closes the connection at once") as caught:
            async with connected(camera.url.replace("rtsp", "rtsps", 1), tls=tls_context(verify=False)):
                pass
        assert not isinstance(caught.value, CameraRefusal)


async def test_tls_that_is_not_answered(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_DEADLINE_S", 0.2)
    words = r"takes connections but starts no TLS within 0\.2 s; it may not speak TLS on that port"
    async with faulty_camera([Hang()]) as camera:
        with pytest.raises(Unreachable, match=words):
            async with connected(camera.url.replace("rtsp", "rtsps", 1), tls=tls_context(verify=False)):
                pass


# HTTP


UNAUTHORIZED = b'HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\n\r\n'


class HttpCamera:
    """The two halves of a tunnel: what POST brings is kept, `answer` goes out by GET."""

    def __init__(self, reply):
        self.reply = reply
        self.wants_login = False
        self.heads = []
        self.said = b""
        self.heard = asyncio.Event()
        self.get = self.post = None
        self.port = 0

    async def serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode())
        if head.startswith(b"GET"):
            self.get = writer
            wants_login = self.wants_login and b"Authorization" not in head
            writer.write(UNAUTHORIZED if wants_login else self.reply)
            await reader.read()
        else:
            self.post = writer
            while data := await reader.read(4096):
                self.said += base64.b64decode(data)
                self.heard.set()


@contextlib.asynccontextmanager
async def http_camera(reply=b"HTTP/1.0 200 OK\r\n\r\n"):
    camera = HttpCamera(reply)
    async with listening(camera.serve) as camera.port:
        yield camera


async def test_rtsp_over_http():
    async with (
        http_camera() as camera,
        connected(f"rtsp://127.0.0.1:{camera.port}/c?x=1", over_http=True) as connection,
    ):
        await asyncio.wait_for(camera.heard.wait(), 5)
        assert camera.said.startswith(b"OPTIONS rtsp://127.0.0.1:")
        get, post = camera.heads
        assert get.startswith(f"GET /c?x=1 HTTP/1.0\r\nHost: 127.0.0.1:{camera.port}\r\n")
        assert post.startswith("POST /c?x=1 HTTP/1.0\r\n")
        cookies = [line for head in camera.heads for line in head.split("\r\n") if "cookie" in line]
        assert cookies[0] == cookies[1]
        camera.heard.clear()
        camera.get.write(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE\r\n\r\n")
        await asyncio.wait_for(camera.heard.wait(), 5)
        assert b"DESCRIBE rtsp://" in camera.said
        camera.post.transport.abort()
        assert "closed the connection" in str(await failure(connection))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"HTTP/1.0 404 Not Found\r\n\r\n", TransportRefused, "404"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07", TransportRefused, "answers HTTP with"),
        (UNAUTHORIZED, CameraRefusal, "refuses the user name or password"),
        (UNAUTHORIZED.replace(b'"n"', b'"n", stale=true'), CameraRefusal, "refuses the user name"),
        (b"RTSP/1.0 400 Bad Request\r\n\r\n", TransportRefused, "RTSP/1.0 400"),
    ],
)
async def test_http_refused(answer, kind, words):
    async with http_camera(answer) as camera:
        with pytest.raises(kind, match=words):
            await connect(
                parse_camera_url(f"rtsp://u:p@127.0.0.1:{camera.port}/"), SystemClock(), over_http=True
            )


async def test_http_wants_the_login_too():
    async with http_camera() as camera:
        camera.wants_login = True
        async with connected(f"rtsp://u:p@127.0.0.1:{camera.port}/c", over_http=True):
            await asyncio.wait_for(camera.heard.wait(), 5)
        first, *signed = camera.heads
        assert "Authorization" not in first
        for head, method in zip(signed, ("GET", "POST"), strict=True):
            assert head.startswith(method)
            assert 'Authorization: Digest username="u"' in head
            assert 'uri="/c"' in head
        with pytest.raises(CameraRefusal, match="wants a user name and password"):
            await connect(parse_camera_url(f"rtsp://127.0.0.1:{camera.port}/"), SystemClock(), over_http=True)


async def test_http_closed_at_once():
    async with faulty_camera([Close()]) as camera:
        with pytest.raises(TransportRefused, match="unanswered"):
            await connect(parse_camera_url(camera.url), SystemClock(), over_http=True)


async def test_http_unanswered(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_DEADLINE_S", 0.1)
    async with http_camera(b"") as camera:
        with pytest.raises(TransportRefused, match=r"leaves RTSP over HTTP unanswered for 0\.1 s"):
            await connect(parse_camera_url(f"rtsp://127.0.0.1:{camera.port}/"), SystemClock(), over_http=True)


@pytest.mark.parametrize(("scheme", "port"), [("rtsp", 80), ("rtsps", 443)])
async def test_http_has_its_own_ports(monkeypatch, scheme, port):
    asked = []

    async def resolve(host, port):
        asked.append(port)
        raise ConnectionRefusedError

    monkeypatch.setattr(module, "resolve", resolve)
    for text in (f"{scheme}://h/", f"{scheme}://h:8554/"):
        with pytest.raises(Unreachable):
            await connect(parse_camera_url(text), SystemClock(), over_http=True)
    assert asked == [port, 8554]
