"""`python -m common.keeper`: keeps the configuration of the system that runs in CCTV3_RUN."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from common import supervision
from common.bus import ipc_endpoint
from common.errors import LocalError
from common.keeper.service import Keeper
from common.lifecycle import run, run_folder
from common.resolved import load_whole

log = logging.getLogger(__name__)


async def main() -> None:
    """Runs until cancelled; raises LocalError."""
    folder = run_folder()
    path = os.environ.get("CCTV3_CONFIG")
    if not path:
        raise LocalError("CCTV3_CONFIG is not set; start with `make run`, which sets it")
    started = load_whole(folder, int(os.environ.get("CCTV3_WORKERS") or 1))
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
