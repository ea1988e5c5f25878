"""The API of the system that runs on this machine, through the socket in its run folder (docs/operations.md).

Whoever may enter the folder may do everything: it holds the cameras' passwords.
"""

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from common.errors import LocalError
from common.log import printable
from common.supervision import PROJECT

SOCKET = "api.sock"
TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 32 << 20


class NotRunning(LocalError):
    """Nobody listens in the run folder."""


class ApiRefused(LocalError):
    """The system answered that it will not do it; the text is its own."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def run_folder() -> Path:
    """Where the launcher of this environment runs its system."""
    return Path(os.environ.get("CCTV3_RUN") or PROJECT / "run").absolute()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class LocalApi:
    """Requests to one system, a connection for each: the system may be another one by the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, path: str) -> Any:
        """What `/api/v1/PATH` holds; raises LocalError."""
        return self.request("GET", path)

    def request(self, method: str, path: str) -> Any:
        """The JSON of the answer, None where it is empty; raises NotRunning, ApiRefused and LocalError."""
        connection = _UnixConnection(self.folder / SOCKET)
        try:
            connection.request(method, f"/api/v1/{path}", headers={"Accept": "application/json"})
            response = connection.getresponse()
            body = response.read(MAX_ANSWER_BYTES)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"no system runs in {self.folder}; start it with `make run`") from None
        except PermissionError:
            raise LocalError(f"{self.folder} is somebody else's; run this as its owner") from None
        except TimeoutError:
            raise LocalError(f"the system in {self.folder} did not answer within {TIMEOUT_S:g} s") from None
        except (OSError, http.client.HTTPException) as exc:
            raise LocalError(f"the system in {self.folder} broke off: {printable(str(exc))}") from exc
        finally:
            connection.close()
        return _content(response.status, body)


def _content(status: int, body: bytes) -> Any:
    try:
        content = json.loads(body) if body else None
    except ValueError as exc:
        raise LocalError(f"the system's answer ({status}) is not JSON: {exc}") from exc
    if status >= 400:
        detail = content.get("detail") if isinstance(content, dict) else None
        raise ApiRefused(status, printable(str(detail or f"status {status}")))
    return content
