"""`python -m signaling` as a process: its start, its failures, its end."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import aiohttp

from common.config import CameraConfig, Config
from common.resolved import store_resolved


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def start(folder: Path, port: int) -> asyncio.subprocess.Process:
    cameras = (CameraConfig("front", "rtsp://user:secret@127.0.0.1/live"),)
    store_resolved(Config(cameras, http_port=port), folder)
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
