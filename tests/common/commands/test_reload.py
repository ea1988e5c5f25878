"""`cctv3 reload` against a real server that answers as the API would."""

from pathlib import Path

import pytest

from common.commands import reload
from common.commands.overview import Settings
from tests.common.commands.local_server import CONFIGURATION, LocalServer

RELOAD = "POST /api/v1/configuration/reload"
BEFORE = Settings(3, ("front", "yard"), None, ())


@pytest.mark.parametrize(
    ("after", "lines"),
    [
        (BEFORE, ["= nothing changed"]),
        (Settings(4, ("front", "gate"), None, ()), ["+ camera gate", "- camera yard"]),
        (
            Settings(4, ("front", "yard"), None, ()),
            ["= the same cameras; something of theirs, of users or access changed"],
        ),
        (
            Settings(3, ("front", "yard"), None, ("http.listen",)),
            ["= nothing changed", "! http.listen takes effect at the next start"],
        ),
    ],
)
def test_changes(after: Settings, lines: list[str]) -> None:
    assert reload.changes(BEFORE, after) == lines


def test_in_force(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers[RELOAD] = (200, {**CONFIGURATION, "revision": 4, "cameras": ["front", "y\x1b[2J"]})
    assert reload.main([]) == 0
    assert capsys.readouterr() == ("+ camera y\\u001b[2J\n", "")


@pytest.mark.parametrize(
    "answer",
    [(200, {**CONFIGURATION, "error": "line 4: no"}), (422, {"detail": "line 4: no"})],
)
def test_refused(
    server: LocalServer, capsys: pytest.CaptureFixture[str], answer: tuple[int, dict[str, object]]
) -> None:
    server.answers[RELOAD] = answer
    assert reload.main([]) == 78
    assert capsys.readouterr() == ("", "line 4: no\nThe configuration before stays in force.\n")


def test_the_keeper_is_away(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers[RELOAD] = (503, {"detail": "the keeper is not heard"})
    assert reload.main([]) == 1
    assert capsys.readouterr().err == "the keeper is not heard\n"


def test_nothing_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reload.main([]) == 2
    assert "no system runs in" in capsys.readouterr().err
