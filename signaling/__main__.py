"""`python -m signaling`: the one thin process between browsers and workers."""

import asyncio
import logging
import sys

from common.bus import ipc_endpoint
from common.clock import SystemClock
from common.config import load_system
from common.lifecycle import run, run_folder
from signaling.app import create_app, listen
from signaling.broker import Broker

log = logging.getLogger(__name__)


async def main() -> None:
    """Serves until cancelled; raises LocalError when the bus or the port cannot be had."""
    folder = run_folder()
    system = load_system(folder)
    clock = SystemClock()
    broker = Broker(system.cameras, ipc_endpoint(folder, "control"), clock)
    try:
        app = create_app(broker, clock, system.ice_urls)
        runner = await listen(app, system.http_host, system.http_port)
        host = f"[{system.http_host}]" if ":" in system.http_host else system.http_host
        log.info("= http://%s:%d", host, system.http_port)
        try:
            await broker.run()
        finally:
            await asyncio.shield(runner.cleanup())
    finally:
        await broker.close()


if __name__ == "__main__":
    sys.exit(run("signaling", main))
