"""Programs that a test starts: wait until they are ready, stop them by their own process id."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

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
async def gst_camera(**options: object) -> AsyncIterator[Running]:
    """GStreamer's RTSP server (gst_rtsp_server.py has the options); `ready` is its URL without login."""
    arguments = [f"--{name}={value}" for name, value in options.items()]
    program = str(PROJECT / "tests" / "support" / "gst_rtsp_server.py")
    async with started(SYSTEM_PYTHON, program, *arguments) as camera:
        yield camera


@contextlib.asynccontextmanager
async def simulated_camera(port: int) -> AsyncIterator[str]:
    """The project's own simulated camera on a port; gives its URL once it accepts connections."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ingest.simulated_camera", "--port", str(port), cwd=PROJECT
    )
    running = Running(process, "")
    try:
        async with asyncio.timeout(START_DEADLINE_S):
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    break
                assert process.returncode is None, f"simulated camera ended with {process.returncode}"
                await asyncio.sleep(0.05)
        yield f"rtsp://127.0.0.1:{port}/simulated"
    finally:
        await running.stop()
