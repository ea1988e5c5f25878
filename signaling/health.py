"""`/healthz` and `/readyz`: for supervisors and load balancers, public, so without any name.

`/healthz` says whether starting this again would help; `/readyz` whether viewers should be sent here.
"""

from aiohttp import web

from signaling.broker import Broker
from signaling.problems import RETRY_SOON_S, Problem


class Health:
    """The handlers of both."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [web.get("/healthz", self._health), web.get("/readyz", self._ready)]

    async def _health(self, request: web.Request) -> web.Response:
        workers = len(self._broker.registry.workers())
        if not workers:
            raise Problem(503, "no media worker is up", RETRY_SOON_S)
        return web.json_response({"status": "ok", "workers": workers})

    async def _ready(self, request: web.Request) -> web.Response:
        if missing := self._missing():
            raise Problem(503, f"not ready: {'; '.join(missing)}", RETRY_SOON_S)
        return web.json_response({"status": "ready"})

    def _missing(self) -> list[str]:
        """What keeps the system from serving a new viewer, in words."""
        workers = self._broker.registry.workers()
        missing = []
        if not workers:
            missing.append("no media worker is up")
        elif all(worker.report is not None and worker.report.draining for worker in workers):
            missing.append("every media worker is draining")
        if self._broker.settings is None:
            missing.append("the keeper of the configuration is not heard")
        if not self._broker.settled:
            missing.append("signaling has just been started and is still learning the sessions")
        return missing
