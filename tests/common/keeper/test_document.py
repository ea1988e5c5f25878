"""Edits of the configuration's text: the entry changes, and no other octet."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from common.keeper.document import CannotEdit, edit

EXAMPLE = (Path(__file__).resolve().parents[3] / "deploy" / "config.example.yaml").read_text()

TEXT = """\
# top
cameras:   # all of them
  door:
    url: rtsp://u:p@cam/a   # the old one
    # about sound
    audio: false

  # about the yard
  yard: {url: 'rtsp://cam/b', on_demand: true}  # braces
  roof:
    transport:
    - udp
    - tcp
    url: "rtsp://cam/c"
# the web
http:
  listen: 127.0.0.1:8080
"""


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that are only in one of them; what is in both must be in the same order."""
    old, new = before.splitlines(), after.splitlines()
    gone, come = [line for line in old if line not in new], [line for line in new if line not in old]
    assert [line for line in old if line in new] == [line for line in new if line in old]
    return gone, come


def test_a_value_changes_in_its_place() -> None:
    after = edit(TEXT, ["cameras"], "door", {"url": "rtsp://u:p@cam/new", "audio": False})
    assert changed_lines(TEXT, after) == (
        ["    url: rtsp://u:p@cam/a   # the old one"],
        ['    url: "rtsp://u:p@cam/new"   # the old one'],
    )


def test_keys_come_and_go() -> None:
    after = edit(TEXT, ["cameras"], "door", {"url": "rtsp://u:p@cam/a", "on_demand": True})
    assert changed_lines(TEXT, after) == (["    audio: false"], ["    on_demand: true"])
    assert edit(TEXT, ["cameras"], "door", {"url": "rtsp://u:p@cam/a"}, {"audio": False}) == TEXT


def test_a_list_over_lines_and_braces() -> None:
    after = edit(TEXT, ["cameras"], "roof", {"url": "rtsp://cam/c", "transport": ["tcp"]})
    assert '    transport: ["tcp"]\n    url: "rtsp://cam/c"\n# the web\n' in after
    after = edit(TEXT, ["cameras"], "yard", {"url": "rtsp://cam/b"})
    assert '  yard:\n    url: "rtsp://cam/b"  # braces\n' in after
    assert yaml.safe_load(after)["cameras"]["yard"] == {"url": "rtsp://cam/b"}


def test_entries_come_and_go() -> None:
    after = edit(TEXT, ["cameras"], "gate", {"url": "rtsp://cam/d"})
    assert changed_lines(TEXT, after) == ([], ["  gate:", '    url: "rtsp://cam/d"'])
    assert edit(after, ["cameras"], "gate", None) == TEXT
    for name in ("roof", "door", "yard"):
        after = edit(after, ["cameras"], name, None)
    assert "# about the yard" in after and "# the web" in after
    after = edit(after, ["cameras"], "gate", None)
    assert yaml.safe_load(after)["cameras"] == {}
    assert "cameras: {}   # all of them" in after
    after = edit(after, ["cameras"], "again", {"url": "x"})
    assert yaml.safe_load(after)["cameras"] == {"again": {"url": "x"}}
    with pytest.raises(KeyError):
        edit(TEXT, ["cameras"], "nobody", None)


def test_sections_that_are_missing_are_written() -> None:
    after = edit(TEXT, ["auth", "users"], "anna", {"role": "admin"})
    assert after == TEXT + 'auth:\n  users:\n    anna:\n      role: "admin"\n'
    after = edit(TEXT + "auth: none  # for now", ["auth", "users"], "anna", {"role": "admin"})
    assert yaml.safe_load(after)["auth"] == {"users": {"anna": {"role": "admin"}}}
    after = edit(TEXT + "auth:\n  jwt: {a: b}", ["auth", "users"], "anna", {"role": "admin"})
    assert yaml.safe_load(after)["auth"] == {"jwt": {"a": "b"}, "users": {"anna": {"role": "admin"}}}
    after = edit("cameras: {a: {url: x}, b: {url: y}}\nhttp: {}", ["cameras"], "b", {"url": "z"})
    assert yaml.safe_load(after) == {"cameras": {"a": {"url": "x"}, "b": {"url": "z"}}, "http": {}}


def test_lines_end_as_they_did() -> None:
    windows = TEXT.replace("\n", "\r\n")
    after = edit(windows, ["cameras"], "gate", {"url": "rtsp://cam/d"})
    assert after.count("\n") == after.count("\r\n")
    without = TEXT.rstrip("\n")
    assert edit(without, ["auth", "users"], "a", {}) == TEXT + "auth:\n  users:\n    a: {}\n"


@pytest.mark.parametrize(
    "text",
    [
        "{cameras: {a: {url: x}}}",
        "[]",
        "base: &b {a: {url: x}}\ncameras: *b\n",
        "cameras: {a: {url: x}, # said\n  b: {url: y}}\n",
    ],
)
def test_what_is_left_to_people(text: str) -> None:
    with pytest.raises(CannotEdit):
        edit(text, ["cameras"], "a", {"url": "z"})


def test_an_alias_does_not_change_what_it_stands_for() -> None:
    text = "cameras:\n  a: &a\n    url: x\n  b: *a  # the same\n"
    after = edit(text, ["cameras"], "b", {"url": "z"})
    assert yaml.safe_load(after)["cameras"] == {"a": {"url": "x"}, "b": {"url": "z"}}
    assert edit(text, ["cameras"], "b", None) == "cameras:\n  a: &a\n    url: x\n"


VALUES = st.booleans() | st.text(max_size=20) | st.integers() | st.lists(st.text(max_size=8), min_size=1)
ENTRIES = st.dictionaries(st.sampled_from(["url", "audio", "transport", "sub", "more"]), VALUES)


@settings(max_examples=200)
@given(st.sampled_from([TEXT, EXAMPLE]), st.data(), ENTRIES)
def test_any_entry_is_read_back_and_nothing_else_changes(
    text: str, data: st.DataObject, entry: dict[str, object]
) -> None:
    before = yaml.safe_load(text)["cameras"]
    name = data.draw(st.sampled_from([*before, "new-one"]))
    after = edit(text, ["cameras"], name, entry)
    whole = yaml.safe_load(after)
    assert whole == {**yaml.safe_load(text), "cameras": {**before, name: entry}}
    comments = [line for line in text.splitlines() if line.strip().startswith("#")]
    assert [line for line in after.splitlines() if line in comments] == comments
