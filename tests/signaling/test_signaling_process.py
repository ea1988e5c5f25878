"""`python -m signaling` as a process: its start, its failures, its end."""

import asyncio
import dataclasses
import os
import signal
import socket
import ssl
import sys
from pathlib import Path

import aiohttp
from access.support import ANNA, PASSWORD, configured

from common.access_config import SignalingConfig, TlsConfig
from common.config import CameraConfig, Config
from common.resolved import store_resolved
from tests.support.certificates import self_signed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def start(folder: Path, port: int, access: SignalingConfig | None = None) -> asyncio.subprocess.Process:
    cameras = (CameraConfig("front", "rtsp://user:secret@127.0.0.1/live"),)
    store_resolved(Config(cameras, http_port=port, access=access or SignalingConfig()), folder)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "signaling",
        env={**os.environ, "CCTV3_RUN": str(folder)},
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = await start(tmp_path, port)
        _, errors = await process.communicate()
    text = errors.decode()
    assert process.returncode == 1
    assert f"port {port} on 127.0.0.1 is used" in text
    assert "http.listen" in text
    assert "Traceback" not in text


async def test_it_stops_clean(tmp_path: Path) -> None:
    port = free_port()
    process = await start(tmp_path, port)
    try:
        assert process.stderr is not None
        line = await process.stderr.readline()
        assert f"http://127.0.0.1:{port}" in line.decode()
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"http://127.0.0.1:{port}/ws") as viewer,
        ):
            assert (tmp_path / "control.sock").exists()
            process.send_signal(signal.SIGINT)
            message = await viewer.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        rest = await process.stderr.read()
        assert await process.wait() == 0
        assert b"Traceback" not in rest
        assert not (tmp_path / "control.sock").exists()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_renewed_certificate_is_shown_and_nobody_is_cut_off(tmp_path: Path) -> None:
    port = free_port()
    files = self_signed(tmp_path)
    tls = TlsConfig(str(files.certificate), str(files.key))
    process = await start(tmp_path, port, dataclasses.replace(configured(ANNA), tls=tls))
    try:
        assert process.stderr is not None
        while f"https://127.0.0.1:{port}" not in (await process.stderr.readline()).decode():
            pass
        trusted = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(files.certificate)))
        async with aiohttp.ClientSession(connector=trusted, cookie_jar=aiohttp.DummyCookieJar()) as client:
            url = f"https://127.0.0.1:{port}"
            credentials = {"user": "anna", "password": PASSWORD}
            async with client.post(f"{url}/api/v1/login", json=credentials) as response:
                cookie = response.headers["Set-Cookie"]
                assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
                assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
            headers = {"Cookie": cookie.partition(";")[0]}
            async with client.ws_connect(f"{url}/ws", headers=headers) as viewer:
                renewed = self_signed(tmp_path).certificate.read_text()
                while renewed != await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port)):
                    await asyncio.sleep(0.2)
                await viewer.send_str("{}")
                assert (await viewer.receive_json())["status"] == 400
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()
