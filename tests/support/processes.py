"""Programs that a test starts: wait until they are ready, stop them by their own process id."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.netns import Namespace

PROJECT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that has Debian's `gi`
READY = b"READY "
START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 10.0


class Running:
    """A started program; `ready` is what followed READY on its first such line."""

    def __init__(self, process: asyncio.subprocess.Process, ready: str) -> None:
        self._process = process
        self.ready = ready

    @property
    def pid(self) -> int:
        return self._process.pid

    async def stop(self) -> int:
        """SIGTERM, then SIGKILL where that does not help; gives the exit status."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_DEADLINE_S):
                    await self._process.wait()
        return await self.kill()

    async def kill(self) -> int:
        """SIGKILL; gives the exit status."""
        if self._process.returncode is None:
            self._process.kill()
        return await self._process.wait()


async def _ready_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(START_DEADLINE_S):
        async for line in process.stdout:
            if line.startswith(READY):
                return line.removeprefix(READY).decode().strip()
    raise AssertionError(f"program ended with {await process.wait()} before it was ready")


def command_line(options: Mapping[str, object]) -> list[str]:
    """`tls_cert=path` as `--tls-cert=path`."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]


@contextlib.asynccontextmanager
async def started(*command: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """Runs a program that prints a READY line, from the project's folder, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, **(env or {})},
    )
    running = Running(process, "")
    try:
        running.ready = await _ready_line(process)
        yield running
    finally:
        await running.stop()


@contextlib.asynccontextmanager
async def gst_camera(inside: Namespace | None = None, **options: object) -> AsyncIterator[Running]:
    """GStreamer's RTSP server (gst_rtsp_server.py has the options); `ready` is its URL without login."""
    within = inside.command if inside else ()
    arguments = command_line(options)
    program = str(PROJECT / "tests" / "support" / "gst_rtsp_server.py")
    async with started(*within, SYSTEM_PYTHON, program, *arguments) as camera:
        yield camera


@contextlib.asynccontextmanager
async def simulated_camera(port: int, **options: object) -> AsyncIterator[str]:
    """The project's own simulated camera on a port; gives its URL once it accepts connections."""
    arguments = [f"--port={port}", *command_line(options)]
    async with until_listening(port, sys.executable, "-m", "ingest.simulated_camera", *arguments):
        yield f"{'rtsps' if 'tls_cert' in options else 'rtsp'}://127.0.0.1:{port}/simulated"


@contextlib.asynccontextmanager
async def until_listening(
    port: int, *command: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Runs a program that accepts connections on a port of 127.0.0.1 when it is ready."""
    process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT, env={**os.environ, **(env or {})})
    running = Running(process, "")
    try:
        async with asyncio.timeout(START_DEADLINE_S):
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    break
                assert process.returncode is None, f"{command[0]} ended with {process.returncode}"
                await asyncio.sleep(0.05)
        yield running
    finally:
        await running.stop()


async def until_described(url: str) -> None:
    """Asks until the answer is 200: servers listen before they know what they serve."""
    parts = urlsplit(url)
    request = f"DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()
    async with asyncio.timeout(START_DEADLINE_S):
        while True:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(request)
                if b" 200 " in await reader.readline():
                    return
            finally:
                writer.close()
            await asyncio.sleep(0.05)
