"""Supervision: the launcher, and the only file that knows supervisor (supervisord.conf is its other half).

    python -m common.supervision [--config PATH]

checks the configuration, prepares the run folder and becomes supervisord in the foreground. Without a file
it shows one simulated camera.
"""

import argparse
import fcntl
import os
import socket
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common import config
from common.bus import ipc_endpoint
from common.config import CameraConfig, Config
from common.errors import CctvError, ConfigError, LocalError
from common.lifecycle import EXIT_CONFIG, EXIT_FAILED

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_CONFIG = Path("config.yaml")
SIMULATED = "simulated"
PROBE_DEADLINE_S = 2.0

# Cameras stop after those who watch them (supervisord.conf has the rest); the simulated one is last, so
# that its ingest can take leave.
_CAMERA_PRIORITY = 10
_SIMULATED_PRIORITY = 5


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
        f"ingest-{camera.name}.conf": _program(
            f"ingest-{camera.name}", f"ingest {camera.name}", _CAMERA_PRIORITY
        )
        for camera in checked.cameras
    }
    if simulated_port is not None:
        files["simulated-camera.conf"] = _program(
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
        config.store_resolved(checked, folder)
        (folder / "programs").mkdir(mode=0o700, exist_ok=True)
        for name, content in programs(checked, simulated_port).items():
            (folder / "programs" / name).write_text(content)
    except OSError as exc:
        raise LocalError(f"{exc.filename or folder}: {exc.strerror}; the run folder is not usable") from exc


def _become_supervisord(folder: Path, workers: int) -> None:
    # supervisord opens its stdout again for the programs' lines; in a file, both have to append.
    if stat.S_ISREG(os.fstat(1).st_mode):
        fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_APPEND)
    environment: Mapping[str, str] = {
        **os.environ,
        "CCTV3_RUN": str(folder),
        "CCTV3_WORKERS": str(workers),
        "CCTV3_PYTHON": sys.executable,
    }
    command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(PROJECT / "supervisord.conf")]
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


def status(folder: Path) -> list[Program]:
    """Every program of the system that runs in `folder`; raises LocalError when none does."""
    from xmlrpc.client import Fault, ServerProxy

    from supervisor.xmlrpc import SupervisorTransport

    transport = SupervisorTransport(None, None, f"unix://{control_socket(folder)}")
    try:
        with ServerProxy("http://localhost", transport=transport) as server:
            answer = server.supervisor.getAllProcessInfo()
    except (OSError, Fault) as exc:
        raise LocalError(f"no system answers in {folder}: {exc}") from exc
    assert isinstance(answer, list)
    return [Program(str(entry["name"]), str(entry["statename"]), int(entry["pid"])) for entry in answer]


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
    _become_supervisord(folder, checked.workers)
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
