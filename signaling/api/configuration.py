"""The configuration as a whole: what is in force, and the wish to read the file now."""

from typing import Any

from aiohttp import web

from common.messages import SettingsState
from signaling.access.authority import Authority
from signaling.access.principal import Principal
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.broker import Broker
from signaling.events import REFUSED
from signaling.problems import RETRY_SOON_S, Problem


class Configuration:
    """The handlers."""

    def __init__(self, broker: Broker, authority: Authority) -> None:
        self._broker = broker
        self._authority = authority

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [
            web.get("/api/v1/configuration", self._get),
            web.post("/api/v1/configuration/reload", self._reload),
        ]

    async def _get(self, request: web.Request) -> web.Response:
        state = self._broker.settings
        if state is None:
            raise Problem(503, "the keeper of the configuration is not heard", RETRY_SOON_S)
        return web.json_response(_members(state, request[PRINCIPAL]))

    async def _reload(self, request: web.Request) -> web.Response:
        principal = request[PRINCIPAL]
        state = await self._broker.reload(principal.name)
        self._authority.audit.record("reload", principal, request[ADDRESS], error=state.error)
        if state.error is not None:
            raise Problem(422, state.error)
        return web.json_response(_members(state, principal))


def _members(state: SettingsState, principal: Principal) -> dict[str, Any]:
    told = state.error is None or principal.may("admin")
    return {
        "revision": state.revision,
        "cameras": [name for name in state.cameras if principal.may_see(name)],
        "writable": state.writable,
        "error": state.error if told else REFUSED,
        "restart_needed": list(state.restart_needed),
    }
