"""Edits of the file itself: checked, whole, and nobody's work lost."""

import stat
from pathlib import Path

import pytest

from common import config
from common.errors import ConfigError
from common.keeper import editing
from common.keeper.editing import NotThere, NotWritable, put_entry

TEXT = "# mine\ncameras:\n  door: {url: 'rtsp://u:s3cret@cam/a'}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def test_put_and_remove(path: Path) -> None:
    after = put_entry(path, "camera", "yard", {"url": "rtsp://cam/b", "transport": "auto"})
    assert [camera.name for camera in after.cameras] == ["door", "yard"]
    assert after == config.load(path)
    assert path.read_text().startswith(TEXT.partition("door")[0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    put_entry(path, "camera", "yard", None)
    with pytest.raises(NotThere, match="'yard'"):
        put_entry(path, "camera", "yard", None)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"url": "ftp://x"}, "url must be a URL"),
        ({"urll": "rtsp://x"}, "url is missing"),
        ({"url": "rtsp://x", "audio": "loud"}, "audio is 'loud'"),
        ({"url": "rtsp://x", "a b": 1}, "a b is not a known key"),
    ],
)
def test_what_is_wrong_is_not_written(path: Path, content: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        put_entry(path, "camera", "new", content)
    assert "s3cret" not in str(raised.value)
    assert path.read_text() == TEXT


def test_a_file_that_is_wrong_already_is_left_alone(path: Path) -> None:
    path.write_text(TEXT + "oops: 1\n")
    with pytest.raises(ConfigError, match="oops"):
        put_entry(path, "camera", "new", {"url": "rtsp://cam/b"})
    assert path.read_text() == TEXT + "oops: 1\n"


def test_an_edit_that_would_reach_further_is_refused(path: Path) -> None:
    shared = "cameras:\n  a:\n    url: &u rtsp://cam/a\n  b:\n    url: *u\n"
    path.write_text(shared)
    with pytest.raises(ConfigError):
        put_entry(path, "camera", "a", None)
    assert path.read_text() == shared


ORDERED = (
    "# mine\ncameras:\n  # the door\n  door: {url: 'rtsp://u:s3cret@cam/a'}\n  yard: {url: 'rtsp://cam/b'}\n"
)


def test_another_order(path: Path) -> None:
    edited, after = editing.reordered(ORDERED, path, ["yard", "door"])
    assert [camera.name for camera in after.cameras] == ["yard", "door"]
    assert after == config.parse(edited, str(path), path.parent)
    assert edited.splitlines()[2:] == [ORDERED.splitlines()[number] for number in (4, 2, 3)]
    assert editing.reordered(ORDERED, path, ["door", "yard"])[0] == ORDERED
    braces = "cameras: {a: {url: 'rtsp://a'}}\n"
    assert editing.reordered(braces, path, ["a"])[0] == braces


@pytest.mark.parametrize(
    ("text", "names", "says"),
    [
        (ORDERED, ["door"], "order: yard is missing; allowed: every camera once"),
        (ORDERED, ["door", "gate", "yard"], "order: there is no camera 'gate'"),
        (ORDERED, ["door", "yard", "door"], "order: door is there twice"),
        (ORDERED + "oops: 1\n", ["yard", "door"], "oops is not a known key"),
        ("cameras: {a: {url: 'rtsp://a'}, b: {url: 'rtsp://b'}}", ["b", "a"], "without braces.*by hand"),
        ("cameras:\n  a: {url: &u 'rtsp://a'}\n  b: {url: *u}\n", ["b", "a"], "a program cannot change"),
    ],
)
def test_orders_that_cannot_be(path: Path, text: str, names: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        editing.reordered(text, path, names)


def test_what_changed_meanwhile_is_not_overwritten(path: Path) -> None:
    before = path.read_text()
    path.write_text("cameras: {}\n")
    with pytest.raises(NotWritable, match="somebody else"):
        editing.write(path, "new", before)
    assert path.read_text() == "cameras: {}\n"


def test_links_are_followed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    put_entry(link, "camera", "yard", {"url": "rtsp://cam/b"})
    assert link.is_symlink() and "yard" in path.read_text()


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(NotWritable):
        put_entry(tmp_path / "gone" / "config.yaml", "camera", "yard", {"url": "rtsp://cam/b"})


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    put_entry(path, "camera", "yard", {"url": "rtsp://cam/b"})
    assert [camera.name for camera in config.load(path).cameras] == ["yard"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and list(tmp_path.iterdir()) == [path]
