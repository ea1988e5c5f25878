"""The whole system under supervisord, started as its users start it, on free ports.

async with running_system({"door": {"url": camera.ready}}, workers=2) as system:
    await system.until_live("door")
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml

from common import supervision
from common.errors import LocalError
from tests.support.ports import free_media_ports, free_tcp_port
from tests.support.processes import PROJECT

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 30.0
POLL_S = 0.1


class System:
    """A running system: where it answers, its processes, its log."""

    def __init__(
        self, process: asyncio.subprocess.Process, folder: Path, http_port: int, media_port: int
    ) -> None:
        self._process = process
        self._stopped = False
        self._folder = folder
        self.run_folder = folder / "run"
        self.url = f"http://127.0.0.1:{http_port}"
        self.media_port = media_port
        "UDP port of worker 0."

    def log_text(self) -> str:
        """Everything that supervisord and the programs have written."""
        return (self._folder / "log").read_text()

    def pid(self, program: str) -> int:
        """Process id of `signaling`, `fanout-N` or `ingest-CAMERA`; raises KeyError when it is down."""
        return self.pids()[program]

    def pids(self) -> dict[str, int]:
        """Process id of every program that runs."""
        return {program.name: program.pid for program in supervision.status(self.run_folder) if program.pid}

    def kill(self, program: str) -> int:
        """`kill -9` of one program; gives the process id that it had."""
        pid = self.pid(program)
        os.kill(pid, signal.SIGKILL)
        return pid

    async def get(self, path: str) -> Any:
        """The JSON at a path of the HTTP server; raises aiohttp.ClientError."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as response:
            response.raise_for_status()
            return await response.json()

    async def command(self, *arguments: str) -> tuple[int | None, str]:
        """Exit status of `cctv3 …` for this system, and what it said."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "common.command", *arguments),
            cwd=PROJECT,
            env={**os.environ, "CCTV3_RUN": str(self.run_folder)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    async def camera(self, name: str) -> dict[str, Any]:
        """One entry of /api/v1/cameras; raises KeyError when it is not there."""
        listed = await self.get("/api/v1/cameras")
        cameras = listed["cameras"] if isinstance(listed, dict) else listed
        for camera in cameras:
            if camera["name"] == name:
                return dict(camera)
        raise KeyError(name)

    async def session(self, session: str) -> dict[str, Any]:
        """One entry of /api/v1/sessions, by the session's whole id; raises KeyError when it is not there."""
        listed = (await self.get("/api/v1/sessions"))["sessions"]
        for entry in listed:
            if session.startswith(entry["session"].removesuffix("…")):
                return entry
        raise KeyError(session)

    async def until(self, reached: Callable[[], Any], deadline_s: float = 20.0) -> Any:
        """Calls `reached`, awaiting what it gives, until that is true; fails with the end of the log."""
        last: object = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while True:
                    try:
                        last = reached()
                        if asyncio.iscoroutine(last):
                            last = await last
                        if last:
                            return last
                    except (aiohttp.ClientError, LocalError, KeyError, StopIteration) as exc:
                        last = exc
                    assert self._process.returncode is None, self._failure("supervisord ended")
                    await asyncio.sleep(POLL_S)
        raise AssertionError(self._failure(f"not reached within {deadline_s:g} s, last: {last!r}"))

    async def until_live(self, camera: str, deadline_s: float = 20.0) -> None:
        """Waits for a camera's state to be `live`."""

        async def live() -> bool:
            return (await self.camera(camera))["state"] == "live"

        await self.until(live, deadline_s)

    async def until_up(self) -> None:
        """Waits for /healthz."""

        async def healthy() -> bool:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/healthz") as response:
                return response.status == 200

        await self.until(healthy, START_DEADLINE_S)

    def _failure(self, what: str) -> str:
        return f"{what}; the log ends:\n{self.log_text()[-4000:]}"

    async def stop(self) -> None:
        """Ctrl-C; asserts that no process and no socket file is left. A second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        if self._process.returncode is not None:
            raise AssertionError(self._failure(f"supervisord ended by itself: {self._process.returncode}"))
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise AssertionError(self._failure("ctrl-C did not stop it")) from None
        finally:
            left = [child for child in family if child.is_running() and child.status() != "zombie"]
            names = [" ".join(child.cmdline()) for child in left]
            for child in left:
                child.kill()
        assert not names, f"left over: {names}"
        sockets = [path.name for path in self.run_folder.iterdir() if path.is_socket()]
        assert not sockets, f"left over: {sockets}"


def write_config(
    path: Path,
    cameras: Mapping[str, Mapping[str, object]],
    listen: str,
    http_port: int,
    media_port: int,
    workers: int,
    media: Mapping[str, object],
    more: Mapping[str, object],
) -> None:
    """A configuration file with these cameras and ports, offering loopback only unless `media` says else."""
    content = {
        "cameras": {name: dict(camera) for name, camera in cameras.items()},
        "http": {"listen": f"{listen}:{http_port}"},
        "media": {"port": media_port, "advertise": ["127.0.0.1"], **media},
        "fanout": {"workers": workers},
        **more,
    }
    path.write_text(yaml.safe_dump(content))


@contextlib.asynccontextmanager
async def running_system(
    cameras: Mapping[str, Mapping[str, object]],
    workers: int = 1,
    media: Mapping[str, object] | None = None,
    more: Mapping[str, object] | None = None,
    listen: str = "127.0.0.1",
) -> AsyncIterator[System]:
    """Starts everything, waits for /healthz, and stops it with ctrl-C at the end of the block.

    `media` goes into that part of the configuration, `more` are whole parts; `listen`: 127.0.0.1 or 0.0.0.0.
    """
    # Short, as the kernel bounds the paths of sockets.
    folder = Path(tempfile.mkdtemp(prefix="cctv3-"))
    http_port, media_port = free_tcp_port(), free_media_ports(workers)
    write_config(
        folder / "config.yaml", cameras, listen, http_port, media_port, workers, media or {}, more or {}
    )
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "common.supervision", "--config", str(folder / "config.yaml")),
            cwd=PROJECT,
            env={**os.environ, "CCTV3_RUN": str(folder / "run")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
        )
    system = System(process, folder, http_port, media_port)
    try:
        await system.until_up()
        yield system
    finally:
        try:
            await system.stop()
        finally:
            shutil.rmtree(folder)
