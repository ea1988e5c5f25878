"""The resolved files while they are written: somebody may be killed at it, and others read them meanwhile."""

from pathlib import Path
from typing import Any

import pytest

from common import resolved
from common.config import CameraConfig, Config

DOOR, YARD = CameraConfig("door", "rtsp://cam/a"), CameraConfig("yard", "rtsp://cam/b")
NEW = CameraConfig("new", "rtsp://cam/c")


class Killed(BaseException):
    """Whatever is in the middle of something."""


@pytest.mark.parametrize("writes", range(6))
def test_they_can_be_read_whenever_the_writer_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    before, after = Config((DOOR, YARD)), Config((NEW, YARD), http_port=81)
    resolved.store_resolved(before, tmp_path)
    left, write = iter(range(writes)), resolved.write_private

    def written(path: Path, content: dict[str, Any]) -> None:
        if next(left, None) is None:
            raise Killed
        write(path, content)

    monkeypatch.setattr(resolved, "write_private", written)
    try:
        resolved.store_resolved(after, tmp_path)
    except Killed:
        assert resolved.load_whole(tmp_path, 1) == before
    else:
        assert writes == 5 and resolved.load_whole(tmp_path, 1) == after
