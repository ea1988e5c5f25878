"""A run folder of the test's own, and a server in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.common.commands.local_server import LocalServer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCTV3_RUN", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[LocalServer]:
    with LocalServer(folder) as server:
        yield server
