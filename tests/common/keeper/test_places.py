"""Where things stand in a configuration file's text."""

import pytest

from common.keeper.places import CannotEdit, Places, Splice

TEXT = """\
cameras:
  door:   # the door
    url: &u 'x:y'  # a colon in it
    transport:
    - udp
  yard: {url: *u,
    audio: false}  # braces
  gate: *u   # the same
"""


@pytest.mark.parametrize(
    ("name", "lines", "last"),
    [
        (
            "door",
            "  door:   # the door\n    url: &u 'x:y'  # a colon in it\n    transport:\n    - udp\n",
            "udp",
        ),
        ("yard", "  yard: {url: *u,\n    audio: false}  # braces\n", "false}"),
        ("gate", "  gate: *u   # the same\n", "*u"),
    ],
)
def test_an_entry_and_its_lines(name: str, lines: str, last: str) -> None:
    places = Places(TEXT)
    section = places.find(places.root, "cameras")
    assert section is not None and places.is_mapping(section[1])
    pair = places.find(section[1], name)
    assert pair is not None
    start, end = places.lines(pair)
    assert TEXT[start:end] == lines
    assert TEXT[: places.end(pair)].endswith(last)
    assert TEXT[: places.colon(pair[0])].endswith(f"{name}:")
    assert places.is_alias(pair) == (name == "gate")


def test_what_is_not_there_and_what_stands_elsewhere() -> None:
    places = Places(TEXT)
    assert places.find(places.root, "http") is None
    section = places.find(places.root, "cameras")
    assert section is not None
    gate = places.find(section[1], "gate")
    assert gate is not None
    with pytest.raises(CannotEdit, match="gate is an alias"):
        places.refuse_alias(gate)


def test_parts_are_replaced_in_their_places() -> None:
    assert Places("a: 1\n").spliced([Splice(0, 1, "bc"), Splice(3, 4, "")]) == "bc: \n"


@pytest.mark.parametrize("text", ["{a: 1}", "[]", "word", "# nothing\n"])
def test_files_that_are_no_keys_on_lines(text: str) -> None:
    with pytest.raises(CannotEdit):
        Places(text)
