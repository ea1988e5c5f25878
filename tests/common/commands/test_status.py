"""`cctv3 status` as it is called, against a real server; `--watch` on a real terminal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.commands import status
from tests.common.commands.local_server import CAMERA, CONFIGURATION, LocalServer

SCREEN = """\
1 camera, 1 live · 1 worker · 12 viewers · 4.0 Mb/s in

WORKER        VIEWERS    CPU      LAG   PACKETS/S    DROPPED
fanout-0           12    23%     2 ms       9,012          3

CAMERA        STATE        CODEC  SIZE         FPS     BITRATE  VIEWERS     AGE
front         live         H264   1920x1080     25    4.0 Mb/s       12    0.0s
"""


def test_all_is_well(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main([]) == 0
    assert capsys.readouterr() == (SCREEN, "")


def test_attention(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers["GET /api/v1/cameras"] = (200, [{**CAMERA, "state": "failed", "error": "401"}])
    assert status.main([]) == 1
    assert "! 401" in capsys.readouterr().out


def test_without_the_keeper(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers["GET /api/v1/configuration"] = (503, {"detail": "the keeper is not heard"})
    assert status.main([]) == 1
    assert "the keeper of the configuration is not heard" in capsys.readouterr().out


def test_json(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main(["--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["cameras"] == [CAMERA]
    assert content["configuration"] == CONFIGURATION
    assert content["attention"] is False


def test_nothing_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main([]) == 2
    assert capsys.readouterr() == ("", f"no system runs in {folder}; start it with `make run`\n")


def test_watch_wants_a_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        status.main(["--watch"])
    assert "--watch needs a terminal" in capsys.readouterr().err


class Terminal:
    """A command on a pseudo terminal of 24 lines and 80 columns."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "common.command", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", **environment},
        )
        os.close(slave)
        self.text = ""

    def until(self, pattern: str) -> str:
        """What came until `pattern`."""
        until_s = time.monotonic() + 20.0
        while not (found := re.search(pattern, self.text, re.DOTALL)):
            left_s = max(0.0, until_s - time.monotonic())
            assert select.select([self._master], [], [], left_s)[0], f"{pattern!r} is not in {self.text!r}"
            try:
                read = os.read(self._master, 65_536)
            except OSError:  # Linux: EIO when the other side is closed
                read = b""
            assert read, f"{pattern!r} is not in {self.text!r}"
            self.text += read.decode()
        before, self.text = self.text[: found.end()], self.text[found.end() :]
        return before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextmanager
def terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    made = Terminal(*arguments, **environment)
    try:
        yield made
    finally:
        made.close()


def test_colours_are_for_terminals(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    with terminal("status") as shown:
        assert "\x1b[32mlive" in shown.until("0.0s")
    with terminal("status", NO_COLOR="1") as shown:
        assert "\x1b" not in shown.until("0.0s")


def test_watch_outlives_signaling(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    with terminal("status", "--watch") as shown:
        assert shown.until("not heard since").startswith("\x1b[?1049h")
        with LocalServer(folder) as server:
            shown.until("ctrl-C ends.*front.*live")
            server.answers["GET /api/v1/cameras"] = (
                200,
                [{**CAMERA, "name": f"cam{number}"} for number in range(40)],
            )
            shown.until(r"cam14.*… \d+ more lines")
        shown.until("not heard since.*cam14")
        shown.process.send_signal(signal.SIGINT)
        assert "\x1b[?1049l" in shown.until(re.escape("\x1b[?25h\x1b[?1049l"))
        assert shown.process.wait(10) == 0


def test_watch_that_is_terminated_leaves_the_terminal_as_it_was(server: LocalServer) -> None:
    with terminal("status", "--watch") as shown:
        shown.until("front.*live")
        shown.process.terminate()
        shown.until(re.escape("\x1b[?25h\x1b[?1049l"))
        assert shown.process.wait(10) == 128 + signal.SIGTERM
