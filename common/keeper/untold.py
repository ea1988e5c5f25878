"""Cameras whose programs may not play yet what the resolved files say; outlives a keeper that is killed."""

import json
from collections.abc import Iterable
from pathlib import Path

from common.resolved import write_private

FILE = "untold.json"
"In the run folder, while programs are being brought to what is wanted."


class Untold:
    """`cameras` is None when all programs are what the resolved files say."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.cameras: frozenset[str] | None = None
        if self._path.exists():
            self.cameras = frozenset(json.loads(self._path.read_bytes())["cameras"])

    def add(self, cameras: Iterable[str]) -> None:
        """To be called before the resolved files are written; raises OSError."""
        self.cameras = (self.cameras or frozenset()).union(cameras)
        write_private(self._path, {"cameras": sorted(self.cameras)})

    def clear(self) -> None:
        """All programs have been told; raises OSError."""
        self._path.unlink()
        self.cameras = None
