"""Logs: one line per event on stderr, where supervisord collects them; URLs lose their credentials.

CCTV3_LOG_FORMAT chooses the form, the same for all processes: `text` for people, `logfmt` or `json` for
programs. What an event is about is given as `extra=`:

    log.info("= session %s ended: %s", label, reason, extra={"session": label, "camera": camera})

Glyphs: `<` in, `>` out, `=` state, `%` keep-alive, `!` fault.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from common.urls import redact

FIELDS = ("session", "camera", "worker", "user", "address")
"What an event may be about; of a session only the beginning of its id, as the whole may end it."

_BARE = re.compile(r"[^\s\"=\\]+")
_MAX_FRAMES = 20
_MAX_CHAIN = 8


def _fields(record: logging.LogRecord, process: str, about: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The event as names and values, without credentials; values may hold any character."""
    at = datetime.fromtimestamp(record.created, UTC)
    yield "time", at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    yield "level", record.levelname
    yield "process", process
    yield "message", redact(record.getMessage())
    for name in FIELDS:
        value = getattr(record, name, about.get(name))
        if value is not None and value != "":
            yield name, redact(str(value))
    if record.exc_info and record.exc_info[1] is not None:
        yield "error", redact(_shown(record.exc_info[1]))


def _shown(error: BaseException) -> str:
    """An exception, where it was raised, innermost first, and what it came from."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < _MAX_CHAIN:
        frames = traceback.extract_tb(seen.__traceback__, limit=-_MAX_FRAMES)
        places = [f"{_place(frame.filename)}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
        said = "".join(traceback.format_exception_only(seen)).rstrip("\n")
        parts.append(f"{said} ({' < '.join(places)})" if places else said)
        if isinstance(seen, BaseExceptionGroup):
            parts.append(f"the first of {len(seen.exceptions)}")
            seen = seen.exceptions[0]
        else:
            seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "; from ".join(parts)


def _place(filename: str) -> str:
    return "/".join(Path(filename).parts[-2:])


def printable(text: str) -> str:
    """The text with an escape for each character that is not shown as itself: it stays within its line."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    # As in JSON (RFC 8259 section 7): \n, or UTF-16 code units.
    return json.dumps(character)[1:-1]


def _quoted(text: str) -> str:
    """A JSON string that is readable: only what is not printable is escaped."""
    return printable(json.dumps(text, ensure_ascii=False))


def text(event: list[tuple[str, str]]) -> str:
    """`time level process: message`, then those fields that process and message do not name."""
    (_, time), (_, level), (_, process), (_, message), *others = event
    named = (process, process.partition("-")[2])  # as in ingest-front
    line = f"{time} {level} {process}: {printable(message)}"
    for name, value in others:
        if name == "error":
            line += f": {printable(value)}"
        elif value not in message and value not in named:
            line += f" {name}={_logfmt_value(value)}"
    return line


def logfmt(event: list[tuple[str, str]]) -> str:
    """`name=value` pairs; a value in quotes is a JSON string."""
    return " ".join(f"{name}={_logfmt_value(value)}" for name, value in event)


def _logfmt_value(value: str) -> str:
    return value if value.isprintable() and _BARE.fullmatch(value) else _quoted(value)


def as_json(event: list[tuple[str, str]]) -> str:
    """One object (RFC 8259)."""
    return "{" + ", ".join(f"{_quoted(name)}: {_quoted(value)}" for name, value in event) + "}"


FORMS: dict[str, Callable[[list[tuple[str, str]]], str]] = {"text": text, "logfmt": logfmt, "json": as_json}


class _Formatter(logging.Formatter):
    def __init__(
        self, process: str, form: Callable[[list[tuple[str, str]]], str], about: Mapping[str, str]
    ) -> None:
        super().__init__()
        self._process = process
        self._form = form
        self._about = about

    def format(self, record: logging.LogRecord) -> str:
        return self._form(list(_fields(record, self._process, self._about)))


def configure(name: str, about: Mapping[str, str] | None = None, stream: TextIO | None = None) -> None:
    """Sends every log line of this process to `stream`, by default stderr, in UTC with milliseconds.

    `about` are those of FIELDS that all of its events are about. CCTV3_LOG is the level; what neither
    variable allows is said, and the default taken.
    """
    level, form = os.environ.get("CCTV3_LOG") or "INFO", os.environ.get("CCTV3_LOG_FORMAT") or "text"
    levels = logging.getLevelNamesMapping()
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(_Formatter(name, FORMS.get(form.lower(), text), about or {}))
    logging.basicConfig(level=levels.get(level.upper(), logging.INFO), handlers=[handler], force=True)
    # Libraries report each connection at INFO; their faults stay visible.
    for library in ("aiohttp.access", "aioice", "aiortc"):
        logging.getLogger(library).setLevel(logging.WARNING)
    log = logging.getLogger(__name__)
    if level.upper() not in levels:
        log.warning("! CCTV3_LOG is %.40r; allowed: DEBUG, INFO, WARNING, ERROR. INFO is taken", level)
    if form.lower() not in FORMS:
        log.warning("! CCTV3_LOG_FORMAT is %.40r; allowed: %s. text is taken", form, ", ".join(FORMS))
