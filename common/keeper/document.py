"""Changes of one entry in the text of a configuration file; every other octet stays as it is. [P]

The YAML parser says where keys and values stand, and only those places are replaced: comments, order, quotes
and blank lines are the operator's. What the result means is for the caller to check.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from common.keeper.places import CannotEdit, Pair, Places, Splice

Entry = Mapping[str, Any]
"An entry's keys; values are text, numbers, true, false, or lists of those."

_STEP = 2


def edit(
    text: str, path: Sequence[str], name: str, entry: Entry | None, defaults: Entry | None = None
) -> str:
    """The text with the entry `name` of the mapping at `path` replaced, added, or with None removed.

    A key that has its value of `defaults` is not written, and left alone where it is. Raises CannotEdit, and
    KeyError for the removal of what is not there.
    """
    defaults = defaults or {}
    if entry is not None:
        entry = {key: each for key, each in entry.items() if key not in defaults or each != defaults[key]}
    return _Editor(text, defaults).edit(list(path), name, entry)


def _escaped(character: str) -> str:
    # YAML 1.2 section 5.7; JSON's surrogate pairs mean something else there.
    return f"\\U{ord(character):08x}"


class _Editor(Places):
    def __init__(self, text: str, defaults: Entry) -> None:
        super().__init__(text)
        self._defaults = defaults

    def edit(self, path: list[str], name: str, entry: Entry | None) -> str:
        holder, pair = self.root, None
        for depth, key in enumerate(path):
            pair = self.find(holder, key)
            if pair is None:
                return self._with_section(holder, path[depth:], name, entry)
            if not self.is_mapping(pair[1]) or not pair[1].value:
                return self._with_section_filled(pair, path[depth + 1 :], name, entry)
            if pair[1].flow_style:
                return self._rewritten(pair, path[depth + 1 :], name, entry)
            self.refuse_alias(pair)
            holder = pair[1]
        assert pair is not None
        found = self.find(holder, name)
        if found is None:
            if entry is None:
                raise KeyError(name)
            indent = holder.value[0][0].start_mark.column
            return self.spliced([self._after(holder, self._block(name, entry, indent))])
        if entry is None:
            if len(holder.value) > 1:
                return self.spliced([self._without(found)])
            end = self.colon(pair[0])
            return self.spliced([Splice(end, end, " {}"), self._without(found)])
        return self.spliced(self._changed(found, entry))

    # What is written.

    def _value(self, value: Any) -> str:
        written = json.dumps(value, ensure_ascii=False)
        return "".join(each if each.isprintable() else _escaped(each) for each in written)

    def _block(self, name: str, entry: Entry, indent: int) -> str:
        lines = [f"{' ' * indent}{name}:" + ("" if entry else " {}")]
        lines += [f"{' ' * (indent + _STEP)}{key}: {self._value(value)}" for key, value in entry.items()]
        return "".join(line + self.newline for line in lines)

    def _after(self, mapping: Any, block: str) -> Splice:
        """`block` on the lines behind the mapping's last entry."""
        end = self.line_end(self.end(mapping.value[-1]))
        if end and self.text[end - 1] != "\n":
            block = self.newline + block
        return Splice(end, end, block)

    def _without(self, pair: Pair) -> Splice:
        """Takes the lines of an entry away."""
        return Splice(*self.lines(pair), "")

    def _changed(self, pair: Pair, entry: Entry) -> list[Splice]:
        """Replaces the values that differ, each in its place."""
        key, value = pair
        indent = key.start_mark.column
        block = self.is_mapping(value) and not value.flow_style and value.value
        if self.is_alias(pair) or not block:
            end = self.end(pair)
            return [Splice(self.colon(key), end, self._inner(entry, indent + _STEP))]
        splices = []
        known = set()
        for each in value.value:
            name = each[0].value
            known.add(name)
            if name not in entry:
                if name not in self._defaults or self._read(each[1]) != self._defaults[name]:
                    splices.append(self._without(each))
            elif self.is_alias(each) or self._read(each[1]) != entry[name]:
                splices.append(Splice(self.colon(each[0]), self.end(each), f" {self._value(entry[name])}"))
        new = [name for name in entry if name not in known]
        if not entry and len(splices) == len(known):
            colon = self.colon(key)
            splices.append(Splice(colon, colon, " {}"))
        if new:
            margin = " " * value.value[0][0].start_mark.column
            lines = "".join(f"{margin}{name}: {self._value(entry[name])}{self.newline}" for name in new)
            splices.append(self._after(value, lines))
        return splices

    def _inner(self, entry: Entry, indent: int) -> str:
        if not entry:
            return " {}"
        margin = self.newline + " " * indent
        return "".join(f"{margin}{key}: {self._value(value)}" for key, value in entry.items())

    def _read(self, node: Any) -> Any:
        import yaml

        loader = yaml.SafeLoader("")
        return loader.construct_object(node, deep=True)

    def _with_section(self, holder: Any, path: list[str], name: str, entry: Entry | None) -> str:
        """Writes the mappings that are missing behind the last key of `holder`."""
        if entry is None:
            raise KeyError(name)
        indent = holder.value[0][0].start_mark.column if holder.value else 0
        lines = ""
        for key in path:
            lines += " " * indent + f"{key}:{self.newline}"
            indent += _STEP
        return self.spliced([self._after(holder, lines + self._block(name, entry, indent))])

    def _with_section_filled(self, pair: Pair, path: list[str], name: str, entry: Entry | None) -> str:
        """The value is empty, or a word like `none`: a mapping takes its place."""
        if entry is None:
            raise KeyError(name)
        self.refuse_alias(pair)
        indent = pair[0].start_mark.column + _STEP
        lines = ""
        for key in path:
            lines += self.newline + " " * indent + f"{key}:"
            indent += _STEP
        lines += self.newline + self._block(name, entry, indent).rstrip("\r\n")
        return self.spliced([Splice(self.colon(pair[0]), self.end(pair), lines)])

    def _rewritten(self, pair: Pair, path: list[str], name: str, entry: Entry | None) -> str:
        """A mapping in braces is written anew, over lines of its own."""
        self.refuse_alias(pair)
        if "#" in self.text[pair[1].start_mark.index : pair[1].end_mark.index]:
            raise CannotEdit(f"{pair[0].value} is written in braces and may hold comments")
        content = self._read(pair[1])
        inner = content
        for key in path:
            inner = inner.setdefault(key, {}) or {}
            content[key] = inner
        if entry is None:
            del inner[name]
        else:
            inner[name] = dict(entry)
        indent = pair[0].start_mark.column + _STEP
        return self.spliced([Splice(self.colon(pair[0]), self.end(pair), self._nested(content, indent))])

    def _nested(self, content: Mapping[str, Any], indent: int) -> str:
        if not content:
            return " {}"
        written = ""
        for key, value in content.items():
            written += self.newline + " " * indent + f"{key}:"
            if isinstance(value, Mapping):
                written += self._nested(value, indent + _STEP)
            else:
                written += f" {self._value(value)}"
        return written
