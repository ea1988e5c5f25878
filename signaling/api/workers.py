"""Workers: what each has to do and has room for; to be drained by an operator."""

import dataclasses
from typing import Any

from aiohttp import web

from common.messages import WorkerReport
from signaling.access.authority import Authority
from signaling.access.principal import Principal
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.broker import Broker


class Workers:
    """The handlers."""

    def __init__(self, broker: Broker, authority: Authority) -> None:
        self._broker = broker
        self._authority = authority

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [
            web.get("/api/v1/workers", self._list),
            web.post("/api/v1/workers/{worker}/drain", self._drain),
            web.delete("/api/v1/workers/{worker}/drain", self._undrain),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        """The live workers with their last report (messages.WorkerReport); age in s since it was heard."""
        registry, sessions = self._broker.registry, self._broker.sessions.count_by_worker()
        headrooms = self._broker.headrooms()
        return web.json_response(
            [
                {
                    "worker": worker.identity,
                    "state": "draining" if worker.draining else "up",
                    "age": round(registry.silence_s(worker), 3),
                    "sessions": sessions[worker.identity],
                    "headroom": headrooms.get(worker.identity),
                    "report": _members(worker.report, request[PRINCIPAL]) if worker.report else None,
                }
                for worker in registry.workers()
            ]
        )

    async def _drain(self, request: web.Request) -> web.Response:
        return await self._set(request, True)

    async def _undrain(self, request: web.Request) -> web.Response:
        return await self._set(request, False)

    async def _set(self, request: web.Request, draining: bool) -> web.Response:
        worker, principal = request.match_info["worker"], request[PRINCIPAL]
        await self._broker.drain(worker, draining, principal.name)
        action = "drain" if draining else "undrain"
        self._authority.audit.record(action, principal, request[ADDRESS], worker=worker)
        return web.Response(status=204)


def _members(report: WorkerReport, principal: Principal) -> dict[str, Any]:
    cameras = [name for name in report.cameras if principal.may_see(name)]
    return {**dataclasses.asdict(report), "cameras": cameras}
