"""Logins: kept over restarts, bounded, never the token itself."""

from pathlib import Path

import pytest

from signaling.access.logins import IDLE_S, LONGEST_S, MAX_OF_USER, Logins
from tests.support.fake_clock import FakeClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logins.json"


def test_kept_without_the_token(path: Path) -> None:
    clock = FakeClock()
    token, login = Logins(path, clock).begin("anna", "mark")
    assert token not in path.read_text() and len(token) >= 43
    again = Logins(path, clock)
    assert again.find(token) == login and again.get(login.id) == login
    assert again.find(token[:-1]) is None and again.find("") is None and again.find(login.id) is None
    again.end(login.id)
    assert again.find(token) is None and Logins(path, clock).find(token) is None


async def test_expiry(path: Path) -> None:
    clock = FakeClock()
    logins = Logins(path, clock)
    idle, _ = logins.begin("anna", "mark")
    used, _ = logins.begin("anna", "mark")
    for _ in range(int(LONGEST_S / IDLE_S * 2)):
        await clock.advance(IDLE_S * 0.45)
        assert logins.find(used) is not None
    assert logins.find(idle) is None
    await clock.advance(IDLE_S)
    assert logins.find(used) is None
    logins.begin("olga", "mark")
    assert "anna" not in path.read_text()


def test_a_user_has_so_many(path: Path) -> None:
    logins = Logins(path, FakeClock())
    tokens = [logins.begin("anna", "mark")[0] for _ in range(MAX_OF_USER + 2)]
    other, _ = logins.begin("olga", "mark")
    held = [logins.find(token) is not None for token in tokens]
    assert held == [False] * 2 + [True] * MAX_OF_USER
    logins.end_where(lambda login: login.user == "anna")
    assert logins.find(tokens[-1]) is None and logins.find(other) is not None


def test_entries_of_another_shape_are_left_out(path: Path) -> None:
    path.write_text('[{"id": "x"}, {"id": 7, "user": [], "role": "root"}]')
    assert Logins(path, FakeClock())._logins == {}
