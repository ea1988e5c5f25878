"""Requests through the socket, and what is said where nobody answers well."""

import socket
import threading
from pathlib import Path

import pytest

from common.commands.local_api import SOCKET, ApiRefused, LocalApi, NotRunning, run_folder
from common.errors import LocalError
from common.supervision import PROJECT
from tests.common.commands.local_server import LocalServer


def test_run_folder_is_the_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CCTV3_RUN", raising=False)
    assert run_folder() == PROJECT / "run"
    monkeypatch.setenv("CCTV3_RUN", "elsewhere")
    assert run_folder() == Path("elsewhere").absolute()


def test_answers(server: LocalServer, folder: Path) -> None:
    api = LocalApi(folder)
    server.answers["DELETE /api/v1/x"] = (204, b"")
    assert api.get("workers")[0]["worker"] == "fanout-0"
    assert api.request("DELETE", "x") is None
    assert server.asked == ["GET /api/v1/workers", "DELETE /api/v1/x"]


def test_refused(server: LocalServer, folder: Path) -> None:
    api = LocalApi(folder)
    with pytest.raises(ApiRefused, match="nothing is served") as caught:
        api.get("nothing")
    assert caught.value.status == 404
    server.answers["GET /api/v1/x"] = (500, {"detail": "\x1b[2Jforged\nline"})
    with pytest.raises(ApiRefused) as caught:
        api.get("x")
    assert str(caught.value).isprintable()
    server.answers["GET /api/v1/x"] = (200, b"<html>")
    with pytest.raises(LocalError, match="not JSON"):
        api.get("x")


@pytest.mark.parametrize("left", [False, True])
def test_not_running(folder: Path, left: bool) -> None:
    if left:
        with socket.socket(socket.AF_UNIX) as crashed:
            crashed.bind(str(folder / SOCKET))
    with pytest.raises(NotRunning) as caught:
        LocalApi(folder).get("workers")
    assert str(caught.value) == f"no system runs in {folder}; start it with `make run`"


def test_broken_off(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / SOCKET))
        listener.listen()
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        with pytest.raises(LocalError, match="broke off"):
            LocalApi(folder).get("workers")


def test_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="too long"):
        LocalApi(tmp_path / ("x" * 120)).get("workers")
