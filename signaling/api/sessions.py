"""Sessions: who watches what and how well it arrives; to be ended by an operator."""

import dataclasses

from aiohttp import web

from signaling.access.authority import Authority
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.broker import Broker
from signaling.sessions import SHOWN_OF_ID, Session


class Sessions:
    """The handlers."""

    def __init__(self, broker: Broker, authority: Authority) -> None:
        self._broker = broker
        self._authority = authority

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [
            web.get("/api/v1/sessions", self._list),
            web.delete("/api/v1/sessions/{session}", self._kick),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        """Every session as its worker sees it (messages.SessionReport), and the workers that do not say."""
        principal = request[PRINCIPAL]
        reports = await self._broker.session_reports()
        known = {session.id: session for session in self._broker.sessions.all()}
        sessions = [
            dataclasses.asdict(session)
            | {"session": f"{session.session[:SHOWN_OF_ID]}…", "worker": worker}
            | self._known_members(known.get(session.session))
            for worker, said in reports.items()
            for session in said or ()
            if principal.may_see(session.camera)
        ]
        silent = [worker for worker, said in reports.items() if said is None]
        return web.json_response({"sessions": sessions, "silent": silent})

    def _known_members(self, session: Session | None) -> dict[str, str | float | None]:
        """What signaling knows of a session; nothing of one that ended a moment ago."""
        if session is None:
            return dict.fromkeys(("viewer", "kind", "address", "age", "reason"))
        age_s = self._broker.age_s(session)
        return {
            "viewer": session.watcher.name,
            "kind": session.watcher.kind,
            "address": session.watcher.address,
            "age": round(age_s, 1) if age_s is not None else None,
            "reason": session.change.reason if session.change is not None else None,
        }

    async def _kick(self, request: web.Request) -> web.Response:
        principal = request[PRINCIPAL]
        ended = await self._broker.kick(request.match_info["session"], principal)
        self._authority.audit.record(
            "kick",
            principal,
            request[ADDRESS],
            camera=ended.camera,
            session=ended.label,
            viewer=ended.watcher.name,
        )
        return web.Response(status=204)
