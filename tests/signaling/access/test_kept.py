"""Files that outlive the process."""

from pathlib import Path

import pytest

from signaling.access import kept


def test_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    assert list(kept.read_entries(path)) == []
    kept.write_entries(path, [{"a": 1}, {"b": "ü"}])
    assert list(kept.read_entries(path)) == [{"a": 1}, {"b": "ü"}]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"7", b'[7, "x", null]'])
def test_a_damaged_file_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    assert list(kept.read_entries(path)) == []


def test_what_cannot_be_written_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept.write_entries(tmp_path / "gone" / "some.json", [])
    assert "cannot be written" in caplog.text
