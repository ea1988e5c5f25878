"""The whole HTTP side: what may be framed, and what a page in a frame does with the token of a view link."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from signaling_support import OFFER, USER, System, started, users

from common.access_config import UserConfig
from signaling.access.permissions import ROUTES

INTRANET = "https://intranet.example"
CONFIG = dataclasses.replace(users(UserConfig("olga", "operator")), embed=(INTRANET,))
NAMES = {"session": "s", "worker": "w", "user": "u", "link": "l"}


@pytest.fixture
async def known(tmp_path: Path) -> AsyncIterator[System]:
    system = await started(tmp_path, CONFIG)
    yield system
    await system.close()


def token(system: System) -> str:
    """Of a link to the camera `front`."""
    made, _ = system.authority.links.create("front", 600, "anna", "")
    return made


async def test_nothing_but_the_page_of_a_camera_may_be_framed(known: System) -> None:
    listed = {path.format(camera="front", **NAMES) for method, path in ROUTES if method == "GET"}
    listed.remove("/api/v1/events")  # goes on for as long as the client stays
    headers = {"Authorization": f"Bearer {token(known)}"}
    for path in ("/", "/index.html", "/login", "/nowhere", "/embed", "/embed/a.b", *sorted(listed)):
        # No picture is that narrow, and none has to be waited for.
        async with known.client.get(f"{known.url}{path}?width=1", headers=headers) as response:
            policy = response.headers["Content-Security-Policy"]
            assert policy.endswith("frame-ancestors 'none'"), path
            assert response.headers["X-Frame-Options"] == "DENY", path
    for path in ("/embed/front", "/embed/missing"):
        async with known.client.get(known.url + path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert response.status == 200 and policy.endswith(f"frame-ancestors 'self' {INTRANET}")
            assert "X-Frame-Options" not in response.headers
            assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("shown", ["in the address", "as a protocol"])
async def test_a_frame_plays_by_its_link_alone(known: System, shown: str) -> None:
    secret, own = token(known), {"Origin": known.url}
    address, protocols = f"{known.url}/ws?token={secret}", ()
    if shown == "as a protocol":
        address, protocols = f"{known.url}/ws", ("cctv3", f"bearer.{secret}")
    async with known.client.ws_connect(address, headers=own, protocols=protocols) as socket:
        assert socket.protocol == (protocols[0] if protocols else None)
        for camera, kind in (("front", "answer"), ("yard", "error")):
            await socket.send_json({"type": "offer", "camera": camera, "sdp": OFFER})
            message = await socket.receive_json()
            while message["type"] == "event":
                message = await socket.receive_json()
            assert message["type"] == kind, message
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await known.client.ws_connect(address, headers={"Origin": INTRANET}, protocols=protocols)
    for path, status in (
        ("me", 200),
        ("cameras", 200),
        ("ice-servers", 200),
        ("cameras/front/report", 200),
        ("cameras/front/snapshot?width=1", 422),  # let in; a picture would need a real camera
        ("cameras/yard/report", 404),
        ("cameras/yard/snapshot?width=1", 404),
        ("sessions", 403),
    ):
        headers = {"Authorization": f"Bearer {secret}"}
        async with known.client.get(f"{known.url}/api/v1/{path}", headers=headers) as response:
            assert response.status == status, path
            if path == "cameras":
                assert [camera["name"] for camera in await response.json()] == ["front"]


async def test_a_token_is_written_nowhere(
    known: System, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(known.broker, "find", None)  # an error of the server's own, which it logs
    secret = token(known)
    bearer = {"Authorization": f"Bearer {secret}"}
    sdp = {"Content-Type": "application/sdp"}
    async with known.client.ws_connect(f"{known.url}/ws", protocols=("cctv3", f"bearer.{secret}")):
        pass
    async with known.client.ws_connect(f"{known.url}/ws?token={secret}") as socket:
        await socket.send_json({"type": "offer", "camera": "front", "sdp": OFFER})
        await socket.receive_json()
        await socket.send_str("no JSON")
        await socket.receive_json()
    for method, path, sent in (
        ("POST", f"/whep/front?token={secret}", sdp),
        ("POST", "/whep/front", {**sdp, **bearer}),
        ("POST", f"/whep/yard?token={secret}", sdp),
        ("DELETE", f"/whep/front/unknown?token={secret}", {}),
        ("GET", "/api/v1/me", bearer),
        ("GET", "/api/v1/sessions", bearer),
        ("GET", f"/view?token={secret}", {}),
        ("GET", f"/nowhere?token={secret}", {}),
        ("GET", f"/{secret}", {}),
        ("GET", f"/ws?token={secret}", {}),
        ("GET", "/ws", {"Sec-WebSocket-Protocol": f"cctv3, bearer.{secret}"}),
        ("GET", f"/api/v1/me?token={secret}x", {}),
    ):
        body = OFFER if method == "POST" else None
        async with known.client.request(
            method, known.url + path, data=body, headers=sent, allow_redirects=False
        ) as response:
            assert (response.status == 500) == (method == "DELETE"), path
    reader, writer = await asyncio.open_connection("127.0.0.1", known.port)
    writer.write(f"GET /ws?token={secret} HTTP/9.9\r\nAuthorization: Bearer {secret}\r\n\r\n".encode())
    await reader.readline()
    writer.close()
    known.authority.links.revoke(known.authority.links.all()[0].id)
    known.authority.changed()
    written = [path.read_text() for path in (known.folder / "state").iterdir()]
    async with known.client.get(f"{known.url}/metrics", headers={USER: "olga"}) as response:
        written += [caplog.text, await response.text()]
    text = "\n".join(written)
    for sign in ('"kind": "link"', "of front on fanout-w0", "Traceback", 'route="/ws"'):
        assert sign in text, sign
    assert secret not in text
