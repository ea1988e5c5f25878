"""The audit log: who watched which camera, when, from where; who changed what. One JSON object a line."""

import contextlib
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from common.clock import Clock
from common.messages import Watcher
from common.urls import redact
from signaling.access.principal import Principal

log = logging.getLogger(__name__)

MAX_BYTES = 16 << 20
KEPT = 8
"Files, the one that is written among them: audit.log, audit.log.1 …"


class Audit:
    """Appends to `path`, for the owner alone; a file that is full is set aside, the oldest goes."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._file: TextIO | None = None
        self._failed = False

    def record(
        self,
        action: str,
        who: Principal | Watcher | None,
        address: str,
        *,
        camera: str | None = None,
        session: str | None = None,
        result: str = "ok",
        **details: str | float | None,
    ) -> None:
        """Notes that somebody did something; never raises."""
        at = datetime.fromtimestamp(self._clock.utc_ns() / 1e9, UTC)
        entry: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "action": action,
            "result": result,
            "user": who.name if who is not None else None,
            "kind": who.kind if who is not None else None,
            "address": address,
            "camera": camera,
            "session": session,
            **details,
        }
        shown = {
            name: redact(value) if isinstance(value, str) else value
            for name, value in entry.items()
            if value is not None
        }
        try:
            self._append(json.dumps(shown) + "\n")
            self._failed = False
        except OSError as exc:
            if not self._failed:
                log.error("! %s cannot be written, who does what is not noted: %s", self._path, exc.strerror)
            self._failed = True
            self._close()

    def _append(self, line: str) -> None:
        if self._file is None:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._file = os.fdopen(descriptor, "a", buffering=1)
        self._file.write(line)
        if self._file.tell() > MAX_BYTES:
            self._close()
            for number in range(KEPT - 1, 0, -1):
                older = self._numbered(number - 1)
                if older.exists():
                    older.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with contextlib.suppress(OSError):  # what is left to be written does not fit either
                file.close()

    def close(self) -> None:
        """Lets the file go; the next record opens it again."""
        self._close()
