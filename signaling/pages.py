"""The pages: a fixed set of files, read once at the start, so that no request ever names a path.

They are public: whoever sees them sees nothing of this system that the API does not give to him. The same
page of a camera is served under every name that a camera may have.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from common.config import CAMERA_NAME
from signaling import security_headers
from signaling.access.authority import Authority

FOLDER = Path(__file__).parent / "web"
EMBED = "/embed/{camera}"
ELEMENT = "/cctv3-camera.js"

# Not from the system's mime.types: a module with the wrong type is not run.
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def _paths() -> Iterator[tuple[str, Path]]:
    """Where each file is served: pages also without their suffix, the page of a camera there alone."""
    for file in sorted(FOLDER.rglob("*")):
        path = f"/{file.relative_to(FOLDER).as_posix()}"
        match path:
            case "/embed.html":
                yield EMBED, file  # what it refers to lies one level above
            case "/index.html":
                yield from (("/", file), (path, file))
            case _ if file.suffix == ".html":
                yield from ((path.removesuffix(".html"), file), (path, file))
            case _ if file.suffix in _TYPES:
                yield path, file


_PATHS = dict(_paths())

PAGES_PUBLIC = frozenset(_PATHS)
"Routes that everybody may GET, beside those of `permissions.ROUTES`."


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    content_type: str
    etag: str


class Pages:
    """The handlers of `/`, `/login`, `/embed/{camera}` and the files that they refer to, relatively."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._pages = {path: _read(file) for path, file in _PATHS.items()}

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        named = f"/embed/{{camera:{CAMERA_NAME.pattern}}}"
        return [web.get(named if path == EMBED else path, self._get) for path in self._pages]

    async def _get(self, request: web.Request) -> web.Response:
        resource = request.match_info.route.resource
        assert resource is not None
        page = self._pages[resource.canonical]
        # Revalidated each time, so that an update of the server is an update of the page.
        headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
        if resource.canonical == EMBED:
            headers["Content-Security-Policy"] = security_headers.policy(self._authority.embed)
        elif resource.canonical == ELEMENT:
            headers |= security_headers.FOR_ALL_SITES
        if request.headers.get("If-None-Match") == page.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=page.body, content_type=page.content_type, charset="utf-8", headers=headers)


def _read(path: Path) -> _Page:
    body = path.read_bytes()
    return _Page(body, _TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:16]}"')
