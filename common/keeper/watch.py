"""Notices that the configuration file has been changed, whoever did it and however."""

from pathlib import Path
from typing import NamedTuple

POLL_S = 0.5
"Looking at a file costs a microsecond; inotify says nothing on network file systems and bind mounts."


class _Look(NamedTuple):
    device: int
    inode: int
    octets: int
    changed_ns: int


class Watch:
    """Looks at one file; `look` is to be called every POLL_S."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._settled = self._last = self._now()

    def _now(self) -> _Look | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return _Look(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def look(self) -> bool:
        """True once for each change, when the file has been the same twice: an editor may be at it."""
        before, self._last = self._last, self._now()
        if self._last != before or self._last == self._settled:
            return False
        self._settled = self._last
        return True

    def taken(self) -> None:
        """The file as it is now is known."""
        self._settled = self._last = self._now()
