"""One event loop for the targets that need one running."""

import asyncio
import atexit
import functools
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def _end(loop: asyncio.AbstractEventLoop) -> None:
    for task in (tasks := asyncio.all_tasks(loop)):
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))
    loop.close()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(_end, loop)
    return loop


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of `work`; what it left behind goes on with the next call."""
    return _loop().run_until_complete(work)
