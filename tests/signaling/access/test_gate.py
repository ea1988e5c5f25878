"""The gate: what is not listed, what is no request, and what other sites make a browser ask."""

import asyncio
import time
from pathlib import Path

import jwt as pyjwt
import pytest

from access.support import EVERYBODY, Client, authority, configured, log_in, serving
from common.access_config import AuthConfig, JwtConfig, SignalingConfig
from signaling.access.gate import wanted

SECRET = "x" * 40
JWT = JwtConfig(("HS256",), "cctv3", key=SECRET)


def bearer(**claims: object) -> dict[str, str]:
    content = {"sub": "t", "aud": "cctv3", "exp": int(time.time()) + 60, "cameras": ["front"], **claims}
    return {"Authorization": f"Bearer {pyjwt.encode(content, SECRET, 'HS256')}"}


async def test_what_nobody_has_listed_is_not_there(tmp_path: Path) -> None:
    own = authority(tmp_path, SignalingConfig())
    async with serving(own) as client:
        for method, path in (("POST", "/forgotten"), ("GET", "/nowhere"), ("GET", "/../etc/passwd")):
            async with client.request(method, path) as response:
                assert response.status == 404, path
        async with client.get("/") as response:
            assert response.status == 200
    assert wanted("HEAD", "/api/v1/me") == wanted("GET", "/api/v1/me") is not None
    assert wanted("PATCH", "/api/v1/me") is None


async def test_a_page_shows_its_token_with_a_websocket(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY, jwt=JWT))
    token = bearer()["Authorization"].removeprefix("Bearer ")
    async with serving(own) as client:
        for protocols, status in (
            (f"cctv3, bearer.{token}", 200),
            (f"cctv3,bearer.{token.replace('.', '%2E')}", 200),
            (f"cctv3, bearer.{token}x", 401),
            (f"bearer.{token}", 401),  # it would be logged as a protocol that nobody speaks
            (f"other, bearer.{token}", 401),
            ("cctv3", 401),
            ("cctv3, bearer.", 401),
        ):
            async with client.get("/ws", headers={"Sec-WebSocket-Protocol": protocols}) as response:
                assert response.status == status, protocols
                if status == 200:
                    assert (await response.json())["name"] == "t"


async def check_sites(client: Client, headers: dict[str, str]) -> None:
    path = "/api/v1/configuration/reload"
    host = f"{client.host}:{client.port}"
    for sent, status in (
        ({}, 200),
        ({"Origin": f"http://{host}"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": f"http://{host}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ):
        async with client.post(path, headers={**headers, **sent}) as response:
            assert response.status == status, sent


async def test_other_sites_change_nothing_by_a_cookie(tmp_path: Path) -> None:
    own = authority(tmp_path, configured(*EVERYBODY, jwt=JWT))
    async with serving(own) as client:
        assert await log_in(client, "anna") == 204
        await check_sites(client, {})
        # A token is nothing that a browser adds by itself.
        client.session.cookie_jar.clear()
        async with client.post(
            "/api/v1/configuration/reload",
            headers={**bearer(role="admin"), "Origin": "http://evil.example"},
        ) as response:
            assert response.status == 200


async def test_other_sites_change_nothing_where_nobody_logs_in(tmp_path: Path) -> None:
    own = authority(tmp_path, SignalingConfig())
    async with serving(own) as client:
        await check_sites(client, {})
        # A name of theirs that resolves to this machine does not help.
        for host, status in (
            ("evil.example", 403),
            ("localhost:1", 200),
            ("[::1]:80", 200),
            ("127.1.2.3", 200),
        ):
            async with client.get("/api/v1/cameras", headers={"Host": host}) as response:
                assert response.status == status, host


async def test_without_login_beyond_loopback_nothing_is_configured(tmp_path: Path) -> None:
    own = authority(tmp_path, SignalingConfig(auth=AuthConfig("none")), loopback=False)
    async with serving(own) as client:
        for method, path, status in (
            ("GET", "/api/v1/sessions", 200),
            ("PUT", "/api/v1/cameras/front", 403),
            ("GET", "/api/v1/links", 403),
        ):
            async with client.request(method, path, headers={"Host": "cams.example"}) as response:
                assert response.status == status
                if status == 403:
                    assert "cctv3 user add" in (await response.json(content_type=None))["detail"]


async def test_without_login_only_this_machine_itself_configures(tmp_path: Path) -> None:
    own = authority(tmp_path, SignalingConfig(auth=AuthConfig("none")))
    async with serving(own) as client:
        for headers, status in (
            ({}, 200),
            ({"Host": "localhost:8080"}, 200),
            ({"Host": "[::1]:8080", "Origin": "http://[::1]:8080"}, 200),
            # A name of somebody else's that resolves to this machine (DNS rebinding).
            ({"Host": "evil.example:8080", "Origin": "http://evil.example:8080"}, 403),
            ({"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
            # A reverse proxy on this machine, whoever is behind it.
            ({"X-Forwarded-For": "192.0.2.7"}, 403),
            ({"x-forwarded-proto": "https"}, 403),
            ({"X-Forwarded-Anything": ""}, 403),
            ({"Forwarded": "for=192.0.2.7"}, 403),
        ):
            async with client.put("/api/v1/cameras/front", headers=headers) as response:
                assert response.status == status, headers
            # To watch is everybody's all the same.
            async with client.get("/api/v1/sessions", headers=headers) as response:
                assert response.status == 200, headers


async def test_beyond_loopback_nobody_may_anything_where_nothing_is_configured(tmp_path: Path) -> None:
    own = authority(tmp_path, SignalingConfig(), loopback=False)
    async with serving(own) as client:
        for path in ("/api/v1/cameras", "/api/v1/me", "/api/v1/links", "/ws"):
            async with client.get(path, headers={"Host": "localhost"}) as response:
                assert response.status == 403
                assert "nobody may do anything" in (await response.json(content_type=None))["detail"]


@pytest.mark.parametrize("cookie", ["", "x", "view-", "view-x", "a" * 5000, "ü"])
async def test_forged_cookies(tmp_path: Path, cookie: str) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    async with serving(own) as client:
        headers = {"Cookie": f"cctv3={cookie}"}
        async with client.get("/api/v1/me", headers=headers) as response:
            assert response.status == 401


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"Cookie: cctv3=\xff", 401),
        (b"Authorization: Bearer view-\xff", 401),
        (b"Authorization: Bearer a.\xff.b", 401),
        (b"Authorization: Basic YTpi", 401),
        (b"Host: [", 400),
        (b"Host: [::::]", 400),
        (b"Host: a/b", 400),
        (b"Host: a@b", 400),
        (b"X-Forwarded-Host: [", 401),
    ],
)
async def test_headers_that_are_no_text(tmp_path: Path, line: bytes, status: int) -> None:
    own = authority(tmp_path, configured(*EVERYBODY, jwt=JWT))
    async with serving(own) as client:
        host = b"" if line.startswith(b"Host") else b"Host: localhost\r\n"
        assert await asked(client, b"GET /api/v1/me", host + line) == status


@pytest.mark.parametrize("origin", [b"http://[", b"\xff", b"null", b"http://localhost@evil.example", b"//"])
async def test_origins_that_are_none(tmp_path: Path, origin: bytes) -> None:
    own = authority(tmp_path, configured(*EVERYBODY))
    async with serving(own) as client:
        lines = b"Host: localhost\r\nOrigin: " + origin
        assert await asked(client, b"POST /api/v1/logout", lines) == 403


async def asked(client: Client, request: bytes, lines: bytes) -> int:
    """The status of a request with header lines that no client library sends."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(request + b" HTTP/1.1\r\n" + lines + b"\r\nConnection: close\r\n\r\n")
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status
