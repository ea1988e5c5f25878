"""`python -m common.keeper`: keeps the configuration of the system that runs in CCTV3_RUN."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from common import config, supervision
from common.bus import ipc_endpoint
from common.config import Config
from common.errors import ConfigError, LocalError
from common.keeper.service import Keeper
from common.lifecycle import run, run_folder
from common.resolved import load_system, load_whole

log = logging.getLogger(__name__)


def in_force(folder: Path, path: Path, workers: int) -> Config:
    """What the resolved files say, or where they cannot be read the configuration file; raises LocalError."""
    try:
        return load_whole(folder, workers)
    except LocalError as exc:
        log.error("! %s; %s counts instead", exc, path)
    try:
        whole = replace(config.load(path), workers=workers)
    except ConfigError as exc:
        # Not EXIT_CONFIG: the keeper is to be started again until the file is mended.
        raise LocalError(str(exc)) from exc
    with contextlib.suppress(LocalError):
        system = load_system(folder)
        whole = replace(whole, http_host=system.http_host, http_port=system.http_port)
    return whole


async def main() -> None:
    """Runs until cancelled; raises LocalError."""
    folder = run_folder()
    path = os.environ.get("CCTV3_CONFIG")
    if not path:
        raise LocalError("CCTV3_CONFIG is not set; start with `make run`, which sets it")
    started = in_force(folder, Path(path), int(os.environ.get("CCTV3_WORKERS") or 1))
    keeper = Keeper(
        ipc_endpoint(folder, "control"),
        folder,
        Path(path),
        started,
        supervision.simulated_port(folder),
        supervision.Supervisor(folder),
    )
    tasks = set[asyncio.Task[object]]()

    def reload() -> None:
        log.info("= asked to read %s again", path)
        task: asyncio.Task[object] = asyncio.ensure_future(keeper.reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    try:
        await keeper.run()
    finally:
        keeper.close()


if __name__ == "__main__":
    sys.exit(run("keeper", main))
