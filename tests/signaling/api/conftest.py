"""Signaling with the real keeper; only supervisor is not there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from signaling_support import System, eventually

from common import config
from common.config import Config
from common.keeper.service import Keeper

TEXT = """\
# mine
cameras:
  front:
    url: rtsp://who:s3cret@camera/front
  yard:
    url: rtsp://camera/yard
"""


class NoSupervisor:
    """Programs that nobody starts."""

    def apply(self, wanted: Config, changed: tuple[str, ...]) -> None:
        """See `Programs`."""


@pytest.fixture
async def kept(system: System, tmp_path: Path) -> AsyncIterator[System]:
    """The system of the other tests, and a keeper with its file `config.yaml`."""
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    keeper = Keeper(system.endpoint, tmp_path / "run", path, config.load(path), None, NoSupervisor())
    task = asyncio.ensure_future(keeper.run())
    await eventually(lambda: system.broker.settings is not None)
    yield system
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    keeper.close()
