"""What happens, as Server-Sent Events (WHATWG HTML section 9.2), to each as far as they may know it."""

from collections import Counter
from typing import get_args

from aiohttp import web

from signaling import events
from signaling.access.authority import Authority
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.broker import Broker
from signaling.problems import Problem

MAX_OF_ONE = 8
"Streams of one user from one address."


class Events:
    """The handler."""

    def __init__(self, broker: Broker, authority: Authority) -> None:
        self._broker = broker
        self._authority = authority
        self._open: Counter[tuple[str, str]] = Counter()

    def routes(self) -> list[web.RouteDef]:
        """Where the handler belongs."""
        # An answer to HEAD has no body (RFC 9110 section 9.3.2), and this one would never end.
        return [web.get("/api/v1/events", self._get, allow_head=False)]

    async def _get(self, request: web.Request) -> web.StreamResponse:
        kind, camera = request.query.get("kind"), request.query.get("camera")
        if kind is not None and kind not in get_args(events.Kind):
            raise Problem(422, f"kind: one of {', '.join(get_args(events.Kind))}")
        principal = request[PRINCIPAL]
        who = (principal.name, request[ADDRESS])
        if self._open[who] >= MAX_OF_ONE:
            raise Problem(429, f"there are {MAX_OF_ONE} streams of events open already", 10)
        watcher = self._authority.watcher(principal, request[ADDRESS])

        def wanted(event: events.Event) -> bool:
            return (kind is None or event.kind == kind) and (camera is None or event.camera == camera)

        self._open[who] += 1
        try:
            return await events.send(
                self._broker.events, request, lambda: self._authority.renew(watcher), wanted
            )
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]
