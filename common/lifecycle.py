"""A process's life: one asyncio main, ended by SIGTERM or SIGINT, its failures said in one line."""

import asyncio
import ctypes
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from common.errors import CctvError, ConfigError, LocalError
from common.log import configure

log = logging.getLogger(__name__)

EXIT_FAILED = 1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h: restarting does not help


def run_folder() -> Path:
    """The folder of sockets and resolved configuration, from CCTV3_RUN; raises LocalError without it."""
    folder = os.environ.get("CCTV3_RUN")
    if not folder:
        raise LocalError("CCTV3_RUN is not set; start with `make run`, which sets it")
    return Path(folder)


def _end_with_supervisord() -> None:
    """Has the kernel send SIGTERM when supervisord is gone, however it went (prctl(2))."""
    if os.environ.get("SUPERVISOR_ENABLED") != "1":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        raise SystemExit(EXIT_FAILED)  # it was gone before


async def _until_signal(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        log.info("= stopped by signal")


def run(name: str, main: Callable[[], Coroutine[Any, Any, None]], **about: str) -> int:
    """Runs `main` until it ends or a signal cancels it; gives the exit status.

    `about`: see `log.configure`.
    """
    configure(name, about)
    _end_with_supervisord()
    try:
        asyncio.run(_until_signal(main))
    except ConfigError as exc:
        log.error("! configuration: %s", exc)
        return EXIT_CONFIG
    except CctvError as exc:
        log.error("! %s", exc)
        return EXIT_FAILED
    except Exception:  # in one line, as Python by itself would not say it
        log.exception("! a fault ends it")
        return EXIT_FAILED
    return 0
