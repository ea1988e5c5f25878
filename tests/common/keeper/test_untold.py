"""What a keeper leaves for the one after it."""

from pathlib import Path

from common.keeper.untold import FILE, Untold


def test_it_outlives_the_keeper_until_it_is_told(tmp_path: Path) -> None:
    untold = Untold(tmp_path)
    assert untold.cameras is None
    untold.add(("door",))
    untold.add(("yard", "door"))
    again = Untold(tmp_path)
    assert again.cameras == untold.cameras == {"door", "yard"}
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    again.clear()
    assert again.cameras is None and Untold(tmp_path).cameras is None


def test_cameras_may_have_come_or_gone_though_none_was_changed(tmp_path: Path) -> None:
    Untold(tmp_path).add(())
    assert Untold(tmp_path).cameras == frozenset()
