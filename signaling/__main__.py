"""`python -m signaling`: the one thin process between browsers and workers."""

import asyncio
import logging
import sys

from common.bus import ipc_endpoint
from common.clock import SystemClock
from common.errors import CctvError
from common.lifecycle import run, run_folder
from common.messages import SettingsState
from common.resolved import load_signaling, load_system
from signaling.access.authority import Authority
from signaling.app import create_app, listen
from signaling.broker import Broker
from signaling.tls import Certificates

log = logging.getLogger(__name__)


async def main() -> None:
    """Serves until cancelled; raises LocalError when the bus or the port cannot be had."""
    folder = run_folder()
    system, config = load_system(folder), load_signaling(folder)
    clock = SystemClock()
    state = folder / "state"
    authority = Authority(clock, state, config, system.media_loopback)
    certificates = Certificates(state, clock)
    certificates.configure(config.tls)
    broker = Broker(system.cameras, ipc_endpoint(folder, "control"), clock, authority)
    watching = asyncio.ensure_future(certificates.watch())
    try:
        app = create_app(broker, authority, clock, folder, system.ice_urls)
        socket = folder / "api.sock"
        server = await listen(app, system.http_host, system.http_port, certificates.current, socket)
        server.trust(authority.is_proxy)

        def changed(_state: SettingsState) -> None:
            now = load_signaling(folder)
            authority.configure(now)
            try:
                certificates.configure(now.tls)
            except CctvError as exc:
                log.error("! TLS stays as it was: %s", exc)

        broker.on_settings = changed
        host = f"[{system.http_host}]" if ":" in system.http_host else system.http_host
        log.info("= %s://%s:%d", "https" if config.tls else "http", host, system.http_port)
        try:
            await broker.run()
        finally:
            await asyncio.shield(server.cleanup())
            socket.unlink(missing_ok=True)
    finally:
        watching.cancel()
        await broker.close()
        authority.close()


if __name__ == "__main__":
    sys.exit(run("signaling", main))
