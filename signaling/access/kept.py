"""Small files that outlive the process: written whole, in one step, for the owner alone."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

MAX_BYTES = 16 << 20


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a list that `write_entries` wrote; none, and a word in the log, if it cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("is too large")
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as exc:
        log.error("! %s cannot be read, what it held is lost: %s", path, exc)
        return
    if isinstance(content, list):
        yield from (entry for entry in content if isinstance(entry, dict))


def write_entries(path: Path, entries: list[dict[str, Any]]) -> None:
    """Replaces the file; a disk that is full leaves the old one, and is said."""
    draft = path.with_suffix(".new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(entries, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as exc:
        log.error("! %s cannot be written, a restart will forget the last changes: %s", path, exc.strerror)
