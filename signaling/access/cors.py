"""Pages of the origins of `http.embed` may play by WHEP: the CORS protocol of the Fetch standard.

With a token alone: credentials are never allowed, so browsers keep their cookies to themselves.
"""

from http import HTTPStatus

from aiohttp import web

from signaling.access.authority import Authority

ROUTES = frozenset({"/whep/{camera}", "/whep/{camera}/{session}"})
PREFLIGHT = {
    "Access-Control-Allow-Methods": "POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Max-Age": "600",
}
EXPOSED = "ETag, Link, Location, Retry-After"


class Cors:
    """Tells browsers which answers they may hand to a page."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks beforehand, without a token; the same for every camera's name."""
        wanted = request.headers.get("Access-Control-Request-Method")
        if request.method != "OPTIONS" or wanted is None or self._origin(request) is None:
            return None
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=PREFLIGHT)

    async def add(self, request: web.Request, response: web.StreamResponse) -> None:
        """Names the origin that may read the answer, refusals too; meant for `on_response_prepare`."""
        origin = self._origin(request)
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
            response.headers["Vary"] = "Origin"

    def _origin(self, request: web.Request) -> str | None:
        """The origin of the page that asks, if it may."""
        resource = request.match_info.route.resource
        if resource is None or resource.canonical not in ROUTES:
            return None
        origin = request.headers.get("Origin")
        return origin if origin in self._authority.embed else None
