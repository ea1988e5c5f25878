"""Another order of the entries in the text of a configuration file; lines move, and none is written anew. [P]

With an entry go the comments directly above it, and those below it that are indented deeper than its name.
All other comments and blank lines stay where they are.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from common.keeper.places import CannotEdit, Pair, Places, Splice, newline_of

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_COMMENT = re.compile(r"([ \t]*)#")


class _Lines(NamedTuple):
    start: int
    end: int


def reorder(text: str, path: Sequence[str], names: Sequence[str]) -> str:
    """The text with the entries of the mapping at `path` in the order of `names`, which are all of them.

    Raises CannotEdit, and KeyError for a mapping that is not there.
    """
    newline = "" if text.endswith("\n") else newline_of(text)
    places = Places(text + newline)  # any entry may become the last
    own = dict(_own_lines(places, _entries(places, path)))
    moved = [
        Splice(start, end, places.text[slice(*own[name])])
        for (start, end), name in zip(own.values(), names, strict=True)
    ]
    return places.spliced(moved).removesuffix(newline)


def _entries(places: Places, path: Sequence[str]) -> Sequence[Pair]:
    holder = places.root
    for key in path:
        pair = places.find(holder, key)
        if pair is None:
            raise KeyError(key)
        places.refuse_alias(pair)
        holder = pair[1]
        if not places.is_mapping(holder) or holder.flow_style:
            raise CannotEdit(f"{key} does not have each entry on lines of its own, without braces around all")
    entries: Sequence[Pair] = holder.value
    return entries


def _own_lines(places: Places, pairs: Sequence[Pair]) -> Iterator[tuple[str, _Lines]]:
    """By name, the lines of each entry with the comments that go with it."""
    column = pairs[0][0].start_mark.column
    written = [_Lines(*places.lines(pair)) for pair in pairs]
    before = 0
    for (key, _), own, following in zip(pairs, written, [*written[1:], None], strict=True):
        below = _LINE.findall(places.text[own.end : following.start if following else None])
        strange = following and any(line.strip() and _indent(line) is None for line in below)
        if strange or not before <= own.start < own.end:
            raise CannotEdit(f"{key.value} does not stand on lines of its own")
        above = _LINE.findall(places.text[before : own.start])
        before = own.end + _length_below(below, column)
        yield key.value, _Lines(own.start - _length_above(above, column), before)


def _indent(line: str) -> int | None:
    """Of a comment; None for any other line."""
    found = _COMMENT.match(line)
    return len(found[1]) if found else None


def _length_above(lines: Sequence[str], column: int) -> int:
    """Of the comments that `lines` end with, from the first on that is no deeper than `column`."""
    length = own = 0
    for line in reversed(lines):
        indent = _indent(line)
        if indent is None:
            break
        length += len(line)
        if indent <= column:
            own = length
    return own


def _length_below(lines: Sequence[str], column: int) -> int:
    """Of what `lines` begin with, up to the last comment deeper than `column` before anything else."""
    length = own = 0
    for line in lines:
        indent = _indent(line)
        if line.strip() and (indent is None or indent <= column):
            break
        length += len(line)
        if indent is not None:
            own = length
    return own
