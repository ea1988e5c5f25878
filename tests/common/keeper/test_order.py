"""Another order of the entries: their lines move, and no other octet."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from common import config
from common.keeper.order import reorder
from common.keeper.places import CannotEdit

EXAMPLE = (Path(__file__).resolve().parents[3] / "deploy" / "config.example.yaml").read_text()

TEXT = """\
# top
cameras:   # all of them
  # The door has
  # two lines.
  door:
    url: rtsp://u:p@cam/a   # the old one
    # about sound
    audio: false
    # on_demand: true

  # Outside
  # -------

  # about the yard
  yard: {url: 'rtsp://cam/b', on_demand: true}  # braces
  roof:
    transport:
    - udp
    - tcp
    url: "rtsp://cam/c"

    # sub: rtsp://cam/c2
# the web
http:
  listen: 127.0.0.1:8080
"""


def test_entries_move_with_their_comments() -> None:
    assert (
        reorder(TEXT, ["cameras"], ["roof", "door", "yard"])
        == """\
# top
cameras:   # all of them
  roof:
    transport:
    - udp
    - tcp
    url: "rtsp://cam/c"

    # sub: rtsp://cam/c2

  # Outside
  # -------

  # The door has
  # two lines.
  door:
    url: rtsp://u:p@cam/a   # the old one
    # about sound
    audio: false
    # on_demand: true
  # about the yard
  yard: {url: 'rtsp://cam/b', on_demand: true}  # braces
# the web
http:
  listen: 127.0.0.1:8080
"""
    )


def test_any_entry_may_become_the_last_of_the_file() -> None:
    text = "cameras:\n  a: {url: x}\n  b:\n    url: y  # the end"
    moved = "cameras:\n  b:\n    url: y  # the end\n  a: {url: x}"
    assert reorder(text, ["cameras"], ["b", "a"]) == moved
    windows = text.replace("\n", "\r\n")
    assert reorder(windows, ["cameras"], ["b", "a"]) == moved.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cameras: {a: {url: x}, b: {url: y}}\n", "cameras does not have each entry on lines"),
        ("cameras: {\n  a: {url: x},\n  b: {url: y}\n}\n", "without braces"),
        ("base: &c\n  a: {url: x}\n  b: {url: y}\ncameras: *c\n", "cameras is an alias"),
        ("cameras:\n  a: {url: x}\r  b: {url: y}\n", "b does not stand on lines of its own"),
        ("cameras:\n  a:\n    url: &x y\n    transport:\n    - *x\n  b: {url: y}\n", "lines of its own"),
        (
            "cameras:\n  a:\n    more:\n    - [1]\n    - {b: 1}\n    - - 2\n  b: {}\n",
            "more than single values",
        ),
        ("cameras:\n", "cameras does not have"),
    ],
)
def test_what_is_left_to_people(text: str, says: str) -> None:
    with pytest.raises(CannotEdit, match=says):
        reorder(text, ["cameras"], ["b", "a"])


def test_a_mapping_that_is_not_there() -> None:
    with pytest.raises(KeyError):
        reorder("http: {}\n", ["cameras"], [])


@dataclass(frozen=True)
class Written:
    """A file and what is in it."""

    text: str
    names: tuple[str, ...]
    own: dict[str, str]
    "By name the entry's lines with its comments."


NUMBERS = st.integers(0, 99)


@st.composite
def entries(draw: st.DrawFn, name: str, margin: str) -> str:
    """An entry with its comments, the last line ended."""
    number = draw(st.integers(0, 3))
    above = "".join(f"{margin}# {name} is {draw(NUMBERS)}\n" for _ in range(number))
    url = draw(st.sampled_from([f"rtsp://u:p%23@cam/{name}", f"rtsp://cam/#{name}?a=b:c"]))
    quote = draw(st.sampled_from(["'", '"']))
    behind = draw(st.sampled_from(["", f"  # of {name}: 'x' {{"]))
    if draw(st.booleans()):
        fold = draw(st.sampled_from([" ", f"\n{margin}    ", f"  # folded\n{margin}  "]))
        return f"{above}{margin}{name}: {{url: {quote}{url}{quote},{fold}on_demand: true}}{behind}\n"
    inner = margin + " " * draw(st.integers(1, 4))
    lines = [
        f"url: {quote}{url}{quote}{behind}",
        *draw(
            st.lists(
                st.sampled_from(
                    [
                        "audio: false",
                        "on_demand: true  # saves",
                        f"transport:\n{inner}- udp\n{inner}# no tcp\n{inner}- http",
                        f"sub: >-\n{inner}  rtsp://cam/#sub",
                    ]
                ),
                unique=True,
            )
        ),
    ]
    body = ""
    for line in draw(st.permutations(lines)):
        body += draw(st.sampled_from(["", f"{inner}# in {name} {draw(NUMBERS)}\n", "\n"]))
        body += f"{inner}{line}\n"
    below = draw(
        st.sampled_from(["", f"{inner}# sub: off {name}\n", f"\n{inner}# off {name}\n\n{inner}# last\n"])
    )
    return f"{above}{margin}{name}:{draw(st.sampled_from(['', '   # ' + name]))}\n{body}{below}"


@st.composite
def files(draw: st.DrawFn) -> Written:
    """A configuration as operators write them."""
    names = tuple(draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True)))
    margin = " " * draw(st.integers(1, 4))
    own = {name: draw(entries(name, margin)) for name in names}
    free = st.sampled_from(
        [
            "",
            "\n",
            "\n\n",
            f"{margin}# free\n\n",
            f"\n# free\n{margin}# free too\n\n",
            f"\n# free\n\n{margin}     # deep\n",
        ]
    )
    text = draw(st.sampled_from(["", "# top\n", "---\n", "http: {listen: '127.0.0.1:1'}\n\n"]))
    text += "cameras:" + draw(st.sampled_from(["", "  # all"])) + "\n"
    text += draw(st.sampled_from(["", "\n", f"{margin}# for all\n\n"]))
    for number, name in enumerate(names):
        text += (draw(free) if number else "") + own[name]
    text += draw(
        st.sampled_from(["", "\n# end\n", "media: {port: 9000}  # after\n", "# web\nfanout:\n  workers: 1\n"])
    )
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    if draw(st.booleans()):
        text, own = text.replace("\n", "\r\n"), {name: own[name].replace("\n", "\r\n") for name in own}
    return Written(text, names, own)


@settings(max_examples=300)
@given(files(), st.randoms(use_true_random=False))
def test_only_the_order_changes(written: Written, random: object) -> None:
    names = list(written.names)
    random.shuffle(names)  # type: ignore[attr-defined]
    after = reorder(written.text, ["cameras"], names)
    before, whole = yaml.safe_load(written.text), yaml.safe_load(after)
    assert whole == before and list(whole) == list(before)
    assert list(whole["cameras"]) == names
    assert [camera.name for camera in config.parse(after, "x").cameras] == names
    # Every line is there as often as before, comments among them, and those of an entry stand together.
    assert sorted(after.splitlines()) == sorted(written.text.splitlines())
    assert len(after) == len(written.text)
    assert all(own.rstrip("\r\n") in after for own in written.own.values())
    # What moved moves back, so nothing came to belong to another entry.
    assert reorder(after, ["cameras"], written.names) == written.text
    assert reorder(written.text, ["cameras"], written.names) == written.text


@pytest.mark.parametrize("text", [TEXT, EXAMPLE])
def test_all_orders_of_files_as_they_are(text: str) -> None:
    before = yaml.safe_load(text)
    for names in itertools.permutations(before["cameras"]):
        after = reorder(text, ["cameras"], names)
        assert yaml.safe_load(after) == before and list(yaml.safe_load(after)["cameras"]) == list(names)
        assert sorted(after.splitlines()) == sorted(text.splitlines())
        assert reorder(after, ["cameras"], list(before["cameras"])) == text
