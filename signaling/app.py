"""Puts the HTTP side together: routes, security headers, limits, and the listening socket."""

import errno
import logging
from collections.abc import Sequence

from aiohttp import web
from aiohttp.http import HttpProcessingError

from common.clock import Clock
from common.errors import LocalError
from signaling.api import Api
from signaling.broker import Broker
from signaling.fragment import MAX_SDP_BYTES
from signaling.http_body import problems
from signaling.metrics import Metrics
from signaling.pages import Pages
from signaling.websocket import WebSockets
from signaling.whep import Whep

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LINGER_S = 1.0
"How long a refused body is thrown away, so that the client gets to read why."
SHUTDOWN_S = 2.0


class _Quiet(logging.Filter):
    """Drops the traceback that aiohttp logs for each request that is not HTTP: anyone can send those."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_server_log = logging.getLogger("signaling.http")
_server_log.addFilter(_Quiet())


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.pop("Server", None)


def create_app(broker: Broker, clock: Clock, ice_urls: Sequence[str] = ()) -> web.Application:
    """The whole HTTP side on top of `broker`; `ice_urls` are the STUN servers that browsers are told of."""
    app = web.Application(middlewares=[problems], client_max_size=MAX_SDP_BYTES)
    app.on_response_prepare.append(_add_headers)
    sockets = WebSockets(broker, clock)
    app.on_shutdown.append(sockets.close)
    api = Api(broker, ice_urls)
    app.on_shutdown.append(api.close)
    for room in (Whep(broker, ice_urls), sockets, api, Metrics(broker), Pages()):
        app.add_routes(room.routes())
    return app


async def listen(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Serves `app`; clean the runner up to stop. Raises LocalError when the port cannot be had."""
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        logger=_server_log,
        shutdown_timeout=SHUTDOWN_S,
        lingering_time=LINGER_S,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as exc:
        await runner.cleanup()
        if exc.errno == errno.EADDRINUSE:
            reason = "is used by another program; stop that or choose another port"
        else:
            reason = f"cannot be opened ({exc.strerror or exc}); choose another address"
        raise LocalError(f"port {port} on {host} {reason}: key http.listen in the configuration") from exc
    return runner
