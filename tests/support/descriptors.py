"""File descriptors of the test's own process."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator

import psutil

DEADLINE_S = 5.0


@contextlib.asynccontextmanager
async def all_closed() -> AsyncIterator[int]:
    """How many are open; afterwards there must be no more, once the event loop has closed its transports."""
    # What earlier tests have left to the collector would hide what this one leaves.
    gc.collect()
    process = psutil.Process()
    before = process.num_fds()
    yield before
    deadline = time.monotonic() + DEADLINE_S
    while process.num_fds() > before and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert process.num_fds() <= before
