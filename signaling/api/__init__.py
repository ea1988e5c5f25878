"""The REST API, a file for each kind of thing; `description.py` says what each request is for."""

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from signaling.access.authority import Authority
from signaling.api.cameras import Cameras
from signaling.api.configuration import Configuration
from signaling.api.events import Events
from signaling.api.openapi import OpenApi
from signaling.api.probe import Probe
from signaling.api.sessions import Sessions
from signaling.api.snapshots import Snapshots
from signaling.api.users import Users
from signaling.api.workers import Workers
from signaling.broker import Broker


class Api:
    """The handlers below `/api/v1`, but for those of `access/routes.py`; `folder` is CCTV3_RUN."""

    def __init__(
        self, broker: Broker, authority: Authority, folder: Path, ice_urls: Sequence[str] = ()
    ) -> None:
        self._broker = broker
        self._ice_urls = ice_urls
        self._probe = Probe(authority, folder)
        self._snapshots = Snapshots(broker, folder)
        self._rooms = (
            Cameras(broker, authority),
            self._probe,
            self._snapshots,
            Sessions(broker, authority),
            Workers(broker, authority),
            Users(broker, authority),
            Configuration(broker, authority),
            Events(broker, authority),
            OpenApi(),
        )

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        own = [web.get("/api/v1/ice-servers", self._ice_servers)]
        return [*own, *(route for room in self._rooms for route in room.routes())]

    async def close(self, app: web.Application) -> None:
        """Ends listeners of events, probes and snapshots under way; meant for `on_shutdown`."""
        self._broker.events.close()
        await self._probe.close()
        await self._snapshots.close()

    async def _ice_servers(self, request: web.Request) -> web.Response:
        """What a browser needs before it makes its offer: RTCIceServer dictionaries (W3C webrtc)."""
        return web.json_response([{"urls": url} for url in self._ice_urls])
