"""Changes of one entry in the text of a configuration file; every other octet stays as it is. [P]

The YAML parser says where keys and values stand, and only those places are replaced: comments, order, quotes
and blank lines are the operator's. What the result means is for the caller to check.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Entry = Mapping[str, Any]
"An entry's keys; values are text, numbers, true, false, or lists of those."

_STEP = 2


class CannotEdit(Exception):
    """The text has a form that is better changed by hand; the message says which."""


@dataclass(frozen=True, slots=True)
class _Splice:
    start: int
    end: int
    text: str


def edit(
    text: str, path: Sequence[str], name: str, entry: Entry | None, defaults: Entry | None = None
) -> str:
    """The text with the entry `name` of the mapping at `path` replaced, added, or with None removed.

    A key that has its value of `defaults` is not written, and left alone where it is. Raises CannotEdit, and
    KeyError for the removal of what is not there.
    """
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise CannotEdit("the file is not a list of keys, each on a line of its own")
    defaults = defaults or {}
    if entry is not None:
        entry = {key: each for key, each in entry.items() if key not in defaults or each != defaults[key]}
    return _Editor(text, yaml, defaults).edit(root, list(path), name, entry)


def _escaped(character: str) -> str:
    # YAML 1.2 section 5.7; JSON's surrogate pairs mean something else there.
    return f"\\U{ord(character):08x}"


class _Editor:
    def __init__(self, text: str, yaml: Any, defaults: Entry) -> None:
        self._text = text
        self._defaults = defaults
        self._yaml = yaml
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def edit(self, root: Any, path: list[str], name: str, entry: Entry | None) -> str:
        holder, pair = root, None
        for depth, key in enumerate(path):
            pair = self._find(holder, key)
            if pair is None:
                return self._with_section(holder, path[depth:], name, entry)
            if not isinstance(pair[1], self._yaml.MappingNode) or not pair[1].value:
                return self._with_section_filled(pair, path[depth + 1 :], name, entry)
            if pair[1].flow_style:
                return self._rewritten(pair, path[depth + 1 :], name, entry)
            self._refuse_alias(pair)
            holder = pair[1]
        assert pair is not None
        found = self._find(holder, name)
        if found is None:
            if entry is None:
                raise KeyError(name)
            indent = holder.value[0][0].start_mark.column
            return self._apply([self._after(holder, self._block(name, entry, indent))])
        if entry is None:
            if len(holder.value) > 1:
                return self._apply([self._line_of(found)])
            end = self._colon(pair[0])
            return self._apply([_Splice(end, end, " {}"), self._line_of(found)])
        return self._apply(self._changed(found, entry))

    # Where things stand.

    def _find(self, mapping: Any, key: str) -> tuple[Any, Any] | None:
        for key_node, value_node in mapping.value:
            if key_node.value == key:
                return key_node, value_node
        return None

    def _is_alias(self, pair: tuple[Any, Any]) -> bool:
        """An alias stands for a node that was written before."""
        return bool(pair[1].start_mark.index < pair[0].end_mark.index)

    def _refuse_alias(self, pair: tuple[Any, Any]) -> None:
        if self._is_alias(pair):
            raise CannotEdit(f"{pair[0].value} is an alias of another part of the file")

    def _colon(self, key: Any) -> int:
        return self._text.index(":", key.end_mark.index) + 1

    def _line_end(self, at: int) -> int:
        end = self._text.find("\n", at)
        return len(self._text) if end < 0 else end + 1

    def _line_start(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1

    def _end(self, pair: tuple[Any, Any]) -> int:
        """Where the value's last character stands, without the comments and blank lines behind it."""
        key, value = pair
        if self._is_alias(pair):
            colon = self._colon(key)
            rest = self._text[colon : self._line_end(colon)]
            return colon + len(rest.partition("#")[0].rstrip())
        if isinstance(value, self._yaml.ScalarNode) or value.flow_style:
            end: int = max(value.end_mark.index, self._colon(key))
            while self._text[end - 1] in "\r\n":
                end -= 1
            return end
        last = value.value[-1]
        if isinstance(value, self._yaml.MappingNode):
            return self._end(last)
        return self._item_end(last)

    def _item_end(self, item: Any) -> int:
        if isinstance(item, self._yaml.ScalarNode) or item.flow_style:
            end: int = item.end_mark.index
            return end
        raise CannotEdit("a list holds more than single values")

    # What is written.

    def _value(self, value: Any) -> str:
        written = json.dumps(value, ensure_ascii=False)
        return "".join(each if each.isprintable() else _escaped(each) for each in written)

    def _block(self, name: str, entry: Entry, indent: int) -> str:
        lines = [f"{' ' * indent}{name}:" + ("" if entry else " {}")]
        lines += [f"{' ' * (indent + _STEP)}{key}: {self._value(value)}" for key, value in entry.items()]
        return "".join(line + self._newline for line in lines)

    def _after(self, mapping: Any, block: str) -> _Splice:
        """`block` on the lines behind the mapping's last entry."""
        end = self._line_end(self._end(mapping.value[-1]))
        if end and self._text[end - 1] != "\n":
            block = self._newline + block
        return _Splice(end, end, block)

    def _line_of(self, pair: tuple[Any, Any]) -> _Splice:
        """Takes the lines of an entry away."""
        return _Splice(self._line_start(pair[0].start_mark.index), self._line_end(self._end(pair)), "")

    def _changed(self, pair: tuple[Any, Any], entry: Entry) -> list[_Splice]:
        """Replaces the values that differ, each in its place."""
        key, value = pair
        indent = key.start_mark.column
        block = isinstance(value, self._yaml.MappingNode) and not value.flow_style and value.value
        if self._is_alias(pair) or not block:
            end = self._end(pair)
            return [_Splice(self._colon(key), end, self._inner(entry, indent + _STEP))]
        splices = []
        known = set()
        for each in value.value:
            name = each[0].value
            known.add(name)
            if name not in entry:
                if name not in self._defaults or self._read(each[1]) != self._defaults[name]:
                    splices.append(self._line_of(each))
            elif self._is_alias(each) or self._read(each[1]) != entry[name]:
                splices.append(_Splice(self._colon(each[0]), self._end(each), f" {self._value(entry[name])}"))
        new = [name for name in entry if name not in known]
        if not entry and len(splices) == len(known):
            colon = self._colon(key)
            splices.append(_Splice(colon, colon, " {}"))
        if new:
            margin = " " * value.value[0][0].start_mark.column
            lines = "".join(f"{margin}{name}: {self._value(entry[name])}{self._newline}" for name in new)
            splices.append(self._after(value, lines))
        return splices

    def _inner(self, entry: Entry, indent: int) -> str:
        if not entry:
            return " {}"
        margin = self._newline + " " * indent
        return "".join(f"{margin}{key}: {self._value(value)}" for key, value in entry.items())

    def _read(self, node: Any) -> Any:
        loader = self._yaml.SafeLoader("")
        return loader.construct_object(node, deep=True)

    def _with_section(self, holder: Any, path: list[str], name: str, entry: Entry | None) -> str:
        """Writes the mappings that are missing behind the last key of `holder`."""
        if entry is None:
            raise KeyError(name)
        indent = holder.value[0][0].start_mark.column if holder.value else 0
        lines = ""
        for key in path:
            lines += " " * indent + f"{key}:{self._newline}"
            indent += _STEP
        return self._apply([self._after(holder, lines + self._block(name, entry, indent))])

    def _with_section_filled(
        self, pair: tuple[Any, Any], path: list[str], name: str, entry: Entry | None
    ) -> str:
        """The value is empty, or a word like `none`: a mapping takes its place."""
        if entry is None:
            raise KeyError(name)
        if self._is_alias(pair):
            raise CannotEdit(f"{pair[0].value} is an alias of another part of the file")
        indent = pair[0].start_mark.column + _STEP
        lines = ""
        for key in path:
            lines += self._newline + " " * indent + f"{key}:"
            indent += _STEP
        lines += self._newline + self._block(name, entry, indent).rstrip("\r\n")
        return self._apply([_Splice(self._colon(pair[0]), self._end(pair), lines)])

    def _rewritten(self, pair: tuple[Any, Any], path: list[str], name: str, entry: Entry | None) -> str:
        """A mapping in braces is written anew, over lines of its own."""
        self._refuse_alias(pair)
        if "#" in self._text[pair[1].start_mark.index : pair[1].end_mark.index]:
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
        return self._apply([_Splice(self._colon(pair[0]), self._end(pair), self._nested(content, indent))])

    def _nested(self, content: Mapping[str, Any], indent: int) -> str:
        if not content:
            return " {}"
        written = ""
        for key, value in content.items():
            written += self._newline + " " * indent + f"{key}:"
            if isinstance(value, Mapping):
                written += self._nested(value, indent + _STEP)
            else:
                written += f" {self._value(value)}"
        return written

    def _apply(self, splices: list[_Splice]) -> str:
        text = self._text
        for splice in sorted(splices, key=lambda each: each.start, reverse=True):
            text = text[: splice.start] + splice.text + text[splice.end :]
        return text
