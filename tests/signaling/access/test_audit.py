"""The audit log: one object a line, for the owner alone, bounded."""

import json
from pathlib import Path

import pytest

from common.messages import ANYBODY
from signaling.access import audit
from signaling.access.audit import Audit
from signaling.access.authority import LOCAL
from tests.support.fake_clock import FakeClock


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    own = Audit(path, FakeClock())
    own.record("open", ANYBODY, "::1", camera="front", session="a1B2c3…", worker="fanout-0")
    own.record("login", None, "10.0.0.1", result="refused", name="evil\n{}rtsp://u:s3cret@cam/x")
    own.record("kick", LOCAL, "local", seconds=1.5)
    first, second, third = (json.loads(line) for line in path.read_text().splitlines())
    assert first == {
        "time": "2027-01-15T08:00:00.000Z",
        "action": "open",
        "result": "ok",
        "user": "anonymous",
        "kind": "anonymous",
        "address": "::1",
        "camera": "front",
        "session": "a1B2c3…",
        "worker": "fanout-0",
    }
    assert second["result"] == "refused" and "user" not in second
    assert third["user"] == "local" and third["seconds"] == 1.5
    assert "s3cret" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    own.close()


def test_a_full_file_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_BYTES", 400)
    monkeypatch.setattr(audit, "KEPT", 3)
    own = Audit(tmp_path / "audit.log", FakeClock())
    for number in range(100):
        own.record("open", LOCAL, "local", session=str(number))
    own.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert set(names) <= {"audit.log", "audit.log.1", "audit.log.2"} and len(names) >= 2
    newest = (tmp_path / "audit.log.1").read_text().splitlines()
    assert len(newest) >= 2 and all(json.loads(line)["action"] == "open" for line in newest)


def test_a_disk_that_is_full_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = Audit(tmp_path / "gone" / "audit.log", FakeClock())
    for _ in range(3):
        own.record("open", LOCAL, "local")
    assert caplog.text.count("cannot be written") == 1


def test_a_disk_that_is_full_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "audit.log"
    path.symlink_to("/dev/full")
    own = Audit(path, FakeClock())
    for _ in range(3):
        own.record("open", LOCAL, "local")
    assert caplog.text.count("No space left on device") == 1
    path.unlink()
    own.record("end", LOCAL, "local")
    own.close()
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["action"] == "end"
