"""The file is watched, however it is changed."""

import os
from pathlib import Path

from common.keeper.watch import Watch


def test_changes_are_told_once_when_they_have_settled(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    watch = Watch(path)
    assert not watch.look()
    path.write_text("a")
    assert [watch.look() for _ in range(3)] == [False, True, False]
    for number in range(5):
        path.write_text("b" * number)
        assert not watch.look()
    assert watch.look()
    draft = tmp_path / "draft"
    draft.write_text("bbbb")
    os.utime(draft, ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns))
    draft.replace(path)
    assert [watch.look() for _ in range(3)] == [False, True, False]
    path.unlink()
    assert [watch.look() for _ in range(3)] == [False, True, False]
    path.write_text("own")
    watch.taken()
    assert [watch.look() for _ in range(3)] == [False, False, False]
