"""How a process ends, and what it says then."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from common.errors import ConfigError, LocalError
from common.lifecycle import EXIT_CONFIG, EXIT_FAILED, run


@pytest.fixture(autouse=True)
def _restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def raising(error: Exception) -> Callable[[], Coroutine[Any, Any, None]]:
    async def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (ConfigError("cameras: is missing"), EXIT_CONFIG, "! configuration: cameras: is missing"),
        (LocalError("port 1 cannot be had"), EXIT_FAILED, "! port 1 cannot be had"),
        (ValueError("rtsp://u:s3cret@cam"), EXIT_FAILED, "! a fault ends it"),
        (ExceptionGroup("both", [ValueError("one")]), EXIT_FAILED, "! a fault ends it"),
    ],
)
def test_every_failure_is_one_line(
    error: Exception,
    status: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CCTV3_LOG_FORMAT", "json")
    assert run("ingest-door", raising(error), camera="door") == status
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["message"], event["camera"], event["level"]) == (says, "door", "ERROR")
    assert ("error" in event) == (says == "! a fault ends it") and "s3cret" not in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        os.kill(os.getpid(), number)
        await asyncio.sleep(5)

    assert run("x", main) == 0
    assert capsys.readouterr().err.rstrip().endswith("INFO x: = stopped by signal")
