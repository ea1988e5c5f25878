"""A YAML mapping that is read key by key; each mistake is named with its place and what is allowed."""

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from common.errors import ConfigError
from common.urls import redact

T = TypeVar("T")


class Section:
    """A YAML mapping that hands out each key once and then refuses what is left over."""

    def __init__(self, source: str, node: Any, path: str) -> None:
        import yaml  # only the launcher reads YAML; the processes stay small

        self._source = source
        self._path = path
        self._node = node
        self._keys: dict[str, tuple[Any, Any]] = {}
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, path, f"is {_shown(node)}", "a mapping of keys to values")
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key, str):
                self.fail(key_node, path, "has a key that is not plain text", "plain keys")
            if key in self._keys:
                self.fail(key_node, self._below(key), "is written twice", "each key once")
            self._keys[key] = (key_node, value_node)

    def _below(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def fail(self, node: Any, path: str, problem: str, allowed: str) -> NoReturn:
        """Raises ConfigError about a node."""
        line = node.start_mark.line + 1
        # A key may be anything: a URL with a password, lines of text.
        where = "".join(character if character.isprintable() else "?" for character in redact(path)[:120])
        raise ConfigError(f"{self._source}:{line}: {where or 'the file'} {problem}; allowed: {allowed}")

    def names(self) -> list[tuple[str, Any]]:
        """The keys that are left, each with its node for errors."""
        return [(key, key_node) for key, (key_node, _) in self._keys.items()]

    def has(self, key: str) -> bool:
        """True while the key has not been handed out."""
        return key in self._keys

    def is_null(self, key: str) -> bool:
        """True when nothing stands under the key."""
        return bool(self._keys[key][1].tag == "tag:yaml.org,2002:null")

    def is_scalar(self, key: str) -> bool:
        """True when there is a single value under the key, and it is not null."""
        import yaml

        node = self._keys[key][1]
        return isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:null"

    def section(self, key: str) -> "Section | None":
        """The mapping under a key."""
        if key not in self._keys:
            return None
        return Section(self._source, self._keys.pop(key)[1], self._below(key))

    def sections(self, key: str, allowed: str) -> "list[Section]":
        """The mappings of a list; nothing of what is no such list is shown, it may hold a password."""
        import yaml

        if key not in self._keys:
            return []
        _, node = self._keys.pop(key)
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, self._below(key), "is not a list", allowed)
        found = []
        for number, item in enumerate(node.value):
            path = f"{self._below(key)}[{number}]"
            if not isinstance(item, yaml.MappingNode):
                self.fail(item, path, "is not a mapping of keys to values", allowed)
            found.append(Section(self._source, item, path))
        return found

    def refuse(self, problem: str, allowed: str) -> NoReturn:
        """Raises ConfigError about the whole mapping."""
        self.fail(self._node, self._path, problem, allowed)

    def value(self, key: str, allowed: str, check: Callable[[Any], T], default: T) -> T:
        """What `check` makes of the value; where it raises ValueError, its text or the value is shown."""
        if key not in self._keys:
            return default
        _, node = self._keys.pop(key)
        try:
            return check(plain(node))
        except ValueError as exc:
            self.fail(node, self._below(key), str(exc) or f"is {_shown(node)}", allowed)

    def required(self, key: str, allowed: str, check: Callable[[Any], T]) -> T:
        """The same for a key that must be there."""
        if key not in self._keys:
            self.fail(self._node, self._below(key), "is missing", allowed)
        _, node = self._keys[key]
        try:
            return check(plain(node))
        except ValueError as exc:
            self.fail(node, self._below(key), str(exc) or f"is {_shown(node)}", allowed)
        finally:
            del self._keys[key]

    def end(self, *known: str) -> None:
        """Raises ConfigError when a key is left over."""
        for key, (key_node, _) in self._keys.items():
            self.fail(key_node, self._below(key), "is not a known key", ", ".join(known))


def plain(node: Any) -> Any:
    """A node as str, int, float, bool, None or list of those; raises ValueError for anything else."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return [_plain_scalar(item) for item in node.value]
    return _plain_scalar(node)


def _plain_scalar(node: Any) -> Any:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise ValueError
    try:
        return yaml.SafeLoader("").construct_object(node)
    except yaml.YAMLError:
        raise ValueError from None


def _shown(node: Any) -> str:
    value = node.value
    return f"{redact(value)[:80]!r}" if isinstance(value, str) else f"a {node.id}"
