"""Modules that another process runs: real ones."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from signaling.api import child


async def test_what_it_leaves() -> None:
    ended = await child.run("base64", ["-e", "-"], b"abc", 20)
    assert ended == (0, b"YWJj\n", "")
    ended = await child.run("base64", ["-e", "/no/such/file"], b"", 20)
    assert ended.status == 1 and ended.out == b""
    assert ended.said.startswith("FileNotFoundError")


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that says its process id in the file, and does not end."""
    said = tmp_path / "pid"
    (tmp_path / "endless.py").write_text(
        f"import os, time\nopen({str(said)!r}, 'x').write(str(os.getpid()))\ntime.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return said


async def pid_in(path: Path) -> int:
    while not path.exists() or not path.read_text():
        await asyncio.sleep(0.01)
    return int(path.read_text())


async def test_it_does_not_outlive_its_deadline(endless: Path) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await child.run("endless", [], b"", 2)
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(await pid_in(endless), 0)


async def test_it_does_not_outlive_who_asked(endless: Path) -> None:
    task = asyncio.ensure_future(child.run("endless", [], b"", 20))
    pid = await pid_in(endless)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
