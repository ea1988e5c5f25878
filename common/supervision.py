"""Supervision: the launcher, and the only file that knows supervisor (supervisord.conf is its other half).

    python -m common.supervision [--config PATH]

checks the configuration, prepares the run folder and becomes supervisord in the foreground. Without a file
it shows one simulated camera.
"""

import argparse
import contextlib
import fcntl
import os
import re
import socket
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

from common import config
from common.bus import ipc_endpoint
from common.config import CameraConfig, Config
from common.errors import CctvError, ConfigError, LocalError
from common.lifecycle import EXIT_CONFIG, EXIT_FAILED
from common.resolved import store_resolved

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_CONFIG = Path("config.yaml")
SIMULATED = "simulated"
PROBE_DEADLINE_S = 2.0
STOP_DEADLINE_S = 8.0
"Programs are killed after 5 s."
STOP_POLL_S = 0.02
_DOWN = ("STOPPED", "EXITED", "FATAL")

# Cameras stop after those who watch them (supervisord.conf has the rest); the simulated one is last, so
# that its ingest can take leave.
_CAMERA_PRIORITY = 10
_SIMULATED_PRIORITY = 5
_SIMULATED_FILE = "simulated-camera.conf"


def _program(name: str, arguments: str, priority: int) -> str:
    """A supervisor program section like those of supervisord.conf, where the values are explained."""
    return f"""\
[program:{name}]
command="%(ENV_CCTV3_PYTHON)s" -m {arguments}
directory={str(PROJECT).replace("%", "%%")}
priority={priority}
startsecs=3
startretries=1000000
autorestart=unexpected
exitcodes=78
stopwaitsecs=5
redirect_stderr=true
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
"""


def programs(checked: Config, simulated_port: int | None) -> dict[str, str]:
    """File name to content of every program that depends on the configuration; no URL is in them."""
    files = {
        f"{_program_of(camera.name)}.conf": _program(
            _program_of(camera.name), f"ingest {camera.name}", _CAMERA_PRIORITY
        )
        for camera in checked.cameras
    }
    if simulated_port is not None:
        files[_SIMULATED_FILE] = _program(
            "simulated-camera",
            f"ingest.simulated_camera --port {simulated_port} --audio opus",
            _SIMULATED_PRIORITY,
        )
    return files


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def choose(path: Path | None) -> tuple[Config, int | None]:
    """The configuration to run, and the simulated camera's port where it is the built-in one.

    Raises ConfigError.
    """
    if path is not None:
        return config.load(path), None
    if DEFAULT_CONFIG.exists():
        return config.load(DEFAULT_CONFIG), None
    port = _free_port()
    url = f"rtsp://127.0.0.1:{port}/simulated"
    camera = CameraConfig(name=SIMULATED, url=url, sub=f"{url}-sub")
    return replace(Config(cameras=(camera,)), workers=config.default_workers()), port


def control_socket(folder: Path) -> Path:
    """Where supervisord of this run folder takes commands."""
    return folder / "supervisor.sock"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_DEADLINE_S)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError as exc:
            raise LocalError(f"{path}: {exc.strerror or exc}; remove it if nothing runs") from exc
        return True


def prepare(folder: Path, checked: Config, simulated_port: int | None) -> None:
    """Makes the run folder (mode 0700) hold this run's files and none of an earlier one.

    Raises LocalError when a system runs in it already, or when it is not private or not usable.
    """
    # supervisord binds its socket under a name with its pid in it first; a pid has up to 7 digits.
    for name in ("supervisor.sock.4194304", *(f"camera-{camera.name}" for camera in checked.cameras)):
        ipc_endpoint(folder, name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise LocalError(
                f"{folder} holds camera passwords but others may enter it; "
                "chmod 700 it as its owner, or set CCTV3_RUN to another folder"
            )
        if _answers(control_socket(folder)):
            raise LocalError(
                f"a system runs in {folder} already; stop it first, or set CCTV3_RUN to another folder"
            )
        for stale in ("*.sock", "*.sock.*", "supervisord.pid", "*.json", "cameras/*", "programs/*.conf"):
            for path in folder.glob(stale):
                path.unlink()
        store_resolved(checked, folder)
        (folder / "programs").mkdir(mode=0o700, exist_ok=True)
        for name, content in programs(checked, simulated_port).items():
            (folder / "programs" / name).write_text(content)
    except OSError as exc:
        raise LocalError(f"{exc.filename or folder}: {exc.strerror}; the run folder is not usable") from exc


def _become_supervisord(folder: Path, path: Path, workers: int) -> None:
    # supervisord opens its stdout again for the programs' lines; in a file, both have to append.
    if stat.S_ISREG(os.fstat(1).st_mode):
        fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_APPEND)
    environment: Mapping[str, str] = {
        **os.environ,
        "CCTV3_RUN": str(folder),
        "CCTV3_CONFIG": str(path.absolute()),
        "CCTV3_WORKERS": str(workers),
        "CCTV3_PYTHON": sys.executable,
    }
    command = [sys.executable, "-m", "common.supervisord", "-n", "-c", str(PROJECT / "supervisord.conf")]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)


@dataclass(frozen=True, slots=True)
class Program:
    """What supervisor says of one process."""

    name: str
    state: str
    "RUNNING, BACKOFF, … (supervisor's process states)."
    pid: int
    "0 while it does not run."


@contextlib.contextmanager
def _calls(folder: Path) -> Iterator[Any]:
    """supervisord's XML-RPC interface; raises LocalError when it does not answer or refuses."""
    from xmlrpc.client import Fault, ServerProxy

    from supervisor.xmlrpc import SupervisorTransport

    transport = SupervisorTransport(None, None, f"unix://{control_socket(folder)}")
    try:
        with ServerProxy("http://localhost", transport=transport) as server:
            yield server.supervisor
    except (OSError, Fault, HTTPException) as exc:
        raise LocalError(f"no system answers in {folder}: {exc}") from exc


def status(folder: Path) -> list[Program]:
    """Every program of the system that runs in `folder`; raises LocalError when none does."""
    with _calls(folder) as supervisor:
        answer = supervisor.getAllProcessInfo()
    assert isinstance(answer, list)
    return [Program(str(entry["name"]), str(entry["statename"]), int(entry["pid"])) for entry in answer]


class Supervisor:
    """Changes the programs of the system that runs in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def apply(self, wanted: Config, changed: tuple[str, ...]) -> None:
        """Makes the programs those of `wanted`, starts those of `changed` cameras anew; raises LocalError.

        No other program is touched. What an earlier call left undone is done by the next.
        """
        files = programs(wanted, None)
        place = self._folder / "programs"
        for path in place.glob("*.conf"):
            if path.name not in files:
                path.unlink()
        for name, content in files.items():
            (place / name).write_text(content)
        with _calls(self._folder) as supervisor:
            ((added, altered, removed),) = supervisor.reloadConfig()
            again = [_program_of(name) for name in changed if _program_of(name) not in added]
            _stop(supervisor, [*removed, *altered, *again])
            for name in (*removed, *altered):
                supervisor.removeProcessGroup(name)
            for name in (*added, *altered):
                supervisor.addProcessGroup(name)
            down = [
                str(entry["group"])
                for entry in supervisor.getAllProcessInfo()
                if entry["statename"] == "STOPPED" and f"{entry['group']}.conf" in files
            ]
            for name in dict.fromkeys([*again, *down]):
                supervisor.startProcessGroup(name, False)


def _stop(supervisor: Any, names: Sequence[str]) -> None:
    """All at once. supervisord answers a call that waits for the end up to a second late, so it is asked."""
    for name in names:
        supervisor.stopProcessGroup(name, False)
    until = time.monotonic() + STOP_DEADLINE_S
    for name in names:
        while supervisor.getProcessInfo(f"{name}:{name}")["statename"] not in _DOWN:
            if time.monotonic() > until:
                raise LocalError(f"{name} did not stop within {STOP_DEADLINE_S:g} s")
            time.sleep(STOP_POLL_S)


def _program_of(camera: str) -> str:
    return f"ingest-{camera}"


def simulated_port(folder: Path) -> int | None:
    """The port of the built-in simulated camera, where the system in `folder` has it."""
    try:
        text = (folder / "programs" / _SIMULATED_FILE).read_text()
    except OSError:
        return None
    match = re.search(r"--port (\d+)", text)
    return int(match[1]) if match else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Becomes supervisord; comes back only with the exit status of a failure."""
    parser = argparse.ArgumentParser(
        prog="python -m common.supervision", description="Checks the configuration and starts everything."
    )
    parser.add_argument("--config", type=Path, help="a YAML file; default: config.yaml where there is one")
    options = parser.parse_args(arguments)
    folder = Path(os.environ.get("CCTV3_RUN") or PROJECT / "run").absolute()
    try:
        checked, simulated_port = choose(options.config)
        prepare(folder, checked, simulated_port)
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return EXIT_CONFIG
    except CctvError as exc:
        print(exc, file=sys.stderr)
        return EXIT_FAILED
    _become_supervisord(folder, options.config or DEFAULT_CONFIG, checked.workers)
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
