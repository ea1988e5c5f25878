"""What a keeper takes for in force when it starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from common import config
from common.errors import LocalError
from common.keeper.__main__ import in_force
from common.resolved import store_resolved

TEXT = "cameras: {door: {url: 'rtsp://cam/a'}, yard: {url: 'rtsp://cam/b'}}\n"


def stored(folder: Path) -> tuple[Path, config.Config]:
    path = folder / "config.yaml"
    path.write_text(TEXT)
    whole = replace(config.load(path), workers=3, http_host="0.0.0.0", http_port=9999)
    store_resolved(whole, folder)
    return path, whole


def test_the_resolved_files_before_the_configuration_file(tmp_path: Path) -> None:
    path, whole = stored(tmp_path)
    path.write_text("cameras: {}")
    assert in_force(tmp_path, path, 3) == whole


@pytest.mark.parametrize("broken", ["cameras/yard.json", "signaling.json"])
def test_without_them_the_configuration_file(tmp_path: Path, broken: str) -> None:
    path, whole = stored(tmp_path)
    (tmp_path / broken).unlink()
    # What is listened on does not change before the next start.
    assert in_force(tmp_path, path, 3) == whole


def test_without_either_it_is_tried_again(tmp_path: Path) -> None:
    path, whole = stored(tmp_path)
    (tmp_path / "system.json").write_text("{")
    assert in_force(tmp_path, path, 3) == replace(whole, http_host="127.0.0.1", http_port=8080)
    path.write_text("cameras: [")
    with pytest.raises(LocalError, match="is not YAML"):
        in_force(tmp_path, path, 3)
