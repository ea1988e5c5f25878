"""Puts the HTTP side together: the rooms' routes, and what every answer has."""

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from common.clock import Clock
from signaling import security_headers
from signaling.access.authority import Authority
from signaling.access.cors import Cors
from signaling.access.gate import Gate
from signaling.access.routes import AccessRoutes
from signaling.api import Api
from signaling.broker import Broker
from signaling.fragment import MAX_SDP_BYTES
from signaling.health import Health
from signaling.http_body import problems
from signaling.listener import is_strict, watched
from signaling.metrics import Metrics
from signaling.pages import Pages
from signaling.server import listen
from signaling.websocket import WebSockets
from signaling.whep import Whep

__all__ = ["create_app", "listen"]


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    security_headers.add(response.headers, is_strict(request))
    response.headers.pop("Server", None)


def create_app(
    broker: Broker, authority: Authority, clock: Clock, folder: Path, ice_urls: Sequence[str] = ()
) -> web.Application:
    """The whole HTTP side on top of `broker`, behind the gate.

    `folder` is CCTV3_RUN, `ice_urls` are the STUN servers that browsers are told of.
    """
    metrics = Metrics(broker)
    app = web.Application(
        middlewares=[watched, metrics.middleware, problems, Gate(authority).middleware],
        client_max_size=MAX_SDP_BYTES,
    )
    app.on_response_prepare.append(_add_headers)
    app.on_response_prepare.append(Cors(authority).add)
    sockets = WebSockets(broker, authority, clock)
    app.on_shutdown.append(sockets.close)
    api = Api(broker, authority, folder, ice_urls)
    app.on_shutdown.append(api.close)
    whep = Whep(broker, authority, ice_urls)
    for room in (whep, sockets, api, AccessRoutes(authority), metrics, Health(broker), Pages(authority)):
        app.add_routes(room.routes())
    return app
