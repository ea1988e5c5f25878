"""The gate before all handlers: nothing passes that `permissions.ROUTES` does not let pass."""

from aiohttp import web
from aiohttp.typedefs import Handler

from signaling.access import permissions
from signaling.access.authority import Authority, Identified
from signaling.access.cors import Cors
from signaling.access.networks import is_host, names_loopback
from signaling.access.permissions import Wanted
from signaling.access.request_keys import ADDRESS, PRINCIPAL
from signaling.pages import PAGES_PUBLIC
from signaling.problems import Problem

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"They change nothing (RFC 9110 section 9.2.1)."


def wanted(method: str, canonical: str) -> Wanted | None:
    """What a route wants; None for one that nobody has listed."""
    if canonical in PAGES_PUBLIC:
        return permissions.PUBLIC
    return permissions.ROUTES.get(("GET" if method == "HEAD" else method, canonical))


class Gate:
    """Lets requests pass, and notes who asks and from where (`request_keys`)."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._cors = Cors(authority)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """For the application."""
        if not is_host(request.host):
            raise Problem(
                400, "Host is not a name or address, with or without a port"
            )  # RFC 9112 section 3.2
        request[ADDRESS] = self._authority.address(request)
        route = request.match_info.route
        if request.match_info.http_exception is not None or route.resource is None:
            return await handler(request)  # 404 or 405
        wants = wanted(request.method, route.resource.canonical)
        if wants is None:
            raise Problem(404, "nothing is served under this path")
        if wants.need == "public":
            self._check_site(request, ambient=True)
            return await handler(request)
        preflight = self._cors.preflight(request)
        if preflight is not None:
            return preflight
        identified = await self._authority.identified(request)
        self._check_site(request, identified.ambient)
        self._check(identified, wants, request)
        request[PRINCIPAL] = identified.principal
        return await handler(request)

    def _check(self, identified: Identified, wants: Wanted, request: web.Request) -> None:
        principal = identified.principal
        if not principal.may(wants.need):
            detail = f"this wants the role {wants.need}; {principal.name} has {principal.role}"
            if not principal.configures:
                detail = (
                    "nobody may change the configuration over the network while nobody has to log in; "
                    "configure a user (`cctv3 user add`), or do it on the server itself"
                )
            raise Problem(403, detail)
        if wants.camera:
            camera = request.match_info["camera"]
            if not principal.may_see(camera):
                raise no_camera(camera)

    def _check_site(self, request: web.Request, ambient: bool) -> None:
        """Raises Problem 403 for what a page of another site makes a browser ask (CSRF)."""
        if not ambient:
            return
        if self._authority.loopback_names_only and not names_loopback(request.host):
            raise Problem(
                403,
                "no users are configured, so that this server is for this machine alone, under its name "
                "localhost; to reach it by another name configure a user (`cctv3 user add`)",
            )
        if request.method in SAFE_METHODS:
            return
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get("Origin")
        if site is not None:
            foreign = site not in ("same-origin", "none")
        else:
            foreign = origin is not None and origin.partition("://")[2] != self._host(request)
        if foreign:
            raise Problem(403, "the request comes from a page of another site; use a token instead")

    def _host(self, request: web.Request) -> str:
        return self._authority.client(request).host or request.host


def no_camera(camera: str) -> Problem:
    """The same for a camera that does not exist and for one that the principal may not see."""
    return Problem(404, f"there is no camera {camera[:60]!r}; GET api/v1/cameras lists them")
