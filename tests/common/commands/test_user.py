"""`cctv3 user` on a real file."""

import io
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from common import config
from common.access_config import UserConfig
from common.commands import user
from common.lifecycle import EXIT_CONFIG

START = """\
cameras: {}
auth:
  users:
    anna: {role: admin, password: HASH}
    wall:
      role: operator  # at the gate
      cameras: ["front*", yard]
      password: HASH
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(START.replace("HASH", repr(user.hash_password("the old one"))))
    return path


@pytest.fixture(autouse=True)
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("another one\n"))


def add(path: Path, *arguments: str) -> dict[str, UserConfig]:
    assert user.main(["add", *arguments, "--password-stdin", "--config", str(path)]) == 0
    return {each.name: each for each in config.load(path).access.auth.users}


def opens(known: UserConfig, password: str) -> bool:
    assert known.password is not None
    return PasswordHasher().verify(known.password, password)


def test_another_password_changes_no_rights(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wall = add(path, "wall")["wall"]
    assert (wall.role, wall.cameras) == ("operator", ("front*", "yard")) and opens(wall, "another one")
    assert "wall may log in as operator" in capsys.readouterr().out


def test_an_admin_stays_one(path: Path) -> None:
    assert add(path, "anna")["anna"].role == "admin"


def test_what_is_said_is_changed_alone(path: Path) -> None:
    wall = add(path, "wall", "--role", "viewer")["wall"]
    assert (wall.role, wall.cameras) == ("viewer", ("front*", "yard"))


def test_cameras_are_replaced_when_said(path: Path) -> None:
    wall = add(path, "wall", "--camera", "door", "--camera", "gate*")["wall"]
    assert (wall.role, wall.cameras) == ("operator", ("door", "gate*"))


def test_a_new_user_is_a_viewer_of_all(path: Path) -> None:
    users = add(path, "vera")
    assert (users["vera"].role, users["vera"].cameras) == ("viewer", ("*",)) and len(users) == 3


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["add", "vera", "--password-stdin", "--config", str(tmp_path / "none.yaml")]
    assert user.main(arguments) == EXIT_CONFIG
    assert "there is no such file" in capsys.readouterr().err


def test_removed(path: Path) -> None:
    assert user.main(["remove", "wall", "--config", str(path)]) == 0
    assert [each.name for each in config.load(path).access.auth.users] == ["anna"]
    assert user.main(["remove", "wall", "--config", str(path)]) == EXIT_CONFIG
