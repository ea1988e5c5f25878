"""The sockets that the application is served on: the TCP port, and one in the run folder for its owner."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from common.errors import LocalError
from signaling.listener import OPTIONS, SHUTDOWN_S, Listener, Tls

WANTED_DESCRIPTORS = 16_384
"Connections, and as many again for what they do."


def plain() -> Tls | None:
    """No TLS."""
    return None


def raise_descriptors() -> int:
    """Has as many files open as connections may need, as far as the system allows; gives the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(WANTED_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return WANTED_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


class Server:
    """An application and its sockets."""

    def __init__(self, runner: web.AppRunner, listener: Listener) -> None:
        self._runner = runner
        self._listener = listener

    @property
    def addresses(self) -> list[Any]:
        """Where it listens on TCP."""
        return self._listener.addresses

    def trust(self, is_proxy: Callable[[str], bool]) -> None:
        """Says which addresses stand for many clients."""
        self._listener.connections.unlimited = is_proxy

    async def cleanup(self) -> None:
        """Takes no more, ends what is open."""
        await self._listener.close()
        await self._runner.cleanup()


async def listen(
    app: web.Application,
    host: str,
    port: int,
    tls: Callable[[], Tls | None] = plain,
    unix_socket: Path | None = None,
) -> Server:
    """Serves `app`; raises LocalError when an address cannot be had. `tls` is asked at each connection."""
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN_S, **OPTIONS)
    await runner.setup()
    listener = Listener(runner, tls, raise_descriptors())
    try:
        await listener.open(host, port)
        if unix_socket is not None:
            await web.SockSite(runner, _bound(unix_socket)).start()
    except BaseException:
        await listener.close()
        await asyncio.shield(runner.cleanup())
        raise
    return Server(runner, listener)


def _bound(path: Path) -> socket.socket:
    """A socket that only the owner may connect to; the folder is the owner's, too."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # of a run that was killed
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o600)
    except OSError as exc:
        bound.close()
        raise LocalError(f"{path} cannot be made: {exc.strerror or exc}") from exc
    return bound
