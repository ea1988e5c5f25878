"""The messages as a whole: none is forgotten, none is named twice, and docs/bus.md knows them all."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import get_args

from common import messages, wire
from common.messages import FanoutHello, SessionEntry, Watcher

BUS = Path(__file__).resolve().parents[2] / "docs" / "bus.md"
KINDS = get_args(messages.Message)


def test_every_message_is_carried() -> None:
    declared = {kind for _, kind in inspect.getmembers(messages, inspect.isclass) if hasattr(kind, "TYPE")}
    assert declared == set(KINDS)
    assert len({kind.TYPE for kind in KINDS}) == len(KINDS)


def test_messages_are_frozen() -> None:
    for kind in KINDS:
        assert dataclasses.is_dataclass(kind)
        assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]


def test_the_document_names_every_message() -> None:
    text = BUS.read_text()
    table = text[text.index("| type |") :]
    assert set(re.findall(r"`([a-z-]+)`", table)) >= {kind.TYPE for kind in KINDS}
    assert f"`[version, type, request id, fields]`, version {messages.PROTOCOL_VERSION}" in text


def test_a_hello_says_the_same_of_many_sessions_once() -> None:
    patterns = tuple(f"a-camera-with-quite-a-long-name-{number:03}-*" for number in range(150))
    watchers = [
        Watcher("wall", "user", "viewer", patterns, f"login:{number}", None, f"192.0.2.{number}")
        for number in range(100)
    ]
    entries = tuple(
        SessionEntry(f"{number:043}", f"camera-{number}", watchers[number % 100]) for number in range(300)
    )
    hello = FanoutHello.of("fanout-0", 1, 2, True, entries)
    assert (len(hello.patterns), len(hello.watchers), hello.draining) == (1, 100, True)
    data = wire.encode_message(hello)
    assert len(data) < wire.MAX_CONTROL_BYTES / 10
    carried, _ = wire.decode_message(data)
    assert isinstance(carried, FanoutHello) and carried.entries() == entries
