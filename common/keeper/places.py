"""Where keys and values stand in the text of a configuration file, by the YAML parser. [P]"""

from dataclasses import dataclass
from typing import Any

Pair = tuple[Any, Any]
"The nodes of a key and of its value."


class CannotEdit(Exception):
    """The text has a form that is better changed by hand; the message says which."""


@dataclass(frozen=True, slots=True)
class Splice:
    """What is to stand instead of a part of the text."""

    start: int
    end: int
    text: str


def newline_of(text: str) -> str:
    """How its lines end."""
    return "\r\n" if "\r\n" in text else "\n"


class Places:
    """A text and the nodes in it; raises CannotEdit when it is not keys and values on lines."""

    def __init__(self, text: str) -> None:
        import yaml

        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode) or root.flow_style:
            raise CannotEdit("the file is not a list of keys, each on a line of its own")
        self.root: Any = root
        self.text = text
        self.newline = newline_of(text)
        self._mapping = yaml.MappingNode
        self._scalar = yaml.ScalarNode

    def is_mapping(self, node: Any) -> bool:
        """Keys and values, on lines or in braces."""
        return isinstance(node, self._mapping)

    def find(self, mapping: Any, key: str) -> Pair | None:
        """The pair of that key."""
        for key_node, value_node in mapping.value:
            if key_node.value == key:
                return key_node, value_node
        return None

    def is_alias(self, pair: Pair) -> bool:
        """An alias stands for a node that was written before."""
        return bool(pair[1].start_mark.index < pair[0].end_mark.index)

    def refuse_alias(self, pair: Pair) -> None:
        """Raises CannotEdit for a value that stands elsewhere."""
        if self.is_alias(pair):
            raise CannotEdit(f"{pair[0].value} is an alias of another part of the file")

    def colon(self, key: Any) -> int:
        """Where the colon behind a key ends."""
        return self.text.index(":", key.end_mark.index) + 1

    def line_end(self, at: int) -> int:
        """Where the next line begins."""
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end + 1

    def line_start(self, at: int) -> int:
        """Where the line begins."""
        return self.text.rfind("\n", 0, at) + 1

    def end(self, pair: Pair) -> int:
        """Where the value's last character stands, without the comments and blank lines behind it."""
        key, value = pair
        if self.is_alias(pair):
            colon = self.colon(key)
            rest = self.text[colon : self.line_end(colon)]
            return colon + len(rest.partition("#")[0].rstrip())
        if isinstance(value, self._scalar) or value.flow_style:
            end: int = max(value.end_mark.index, self.colon(key))
            while self.text[end - 1] in "\r\n":
                end -= 1
            return end
        last = value.value[-1]
        if self.is_mapping(value):
            return self.end(last)
        return self._item_end(last)

    def _item_end(self, item: Any) -> int:
        if isinstance(item, self._scalar) or item.flow_style:
            end: int = item.end_mark.index
            return end
        raise CannotEdit("a list holds more than single values")

    def lines(self, pair: Pair) -> tuple[int, int]:
        """Where the lines of a key and its value begin and end."""
        return self.line_start(pair[0].start_mark.index), self.line_end(self.end(pair))

    def spliced(self, splices: list[Splice]) -> str:
        """The text with these parts replaced, none of which overlap."""
        text = self.text
        for splice in sorted(splices, key=lambda each: each.start, reverse=True):
            text = text[: splice.start] + splice.text + text[splice.end :]
        return text
