"""The pages: a fixed set of files, read once at the start, so that no request ever names a path.

They are public: whoever sees them sees nothing of this system that the API does not give to him.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "web"

# Not from the system's mime.types: a module with the wrong type is not run.
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_FILES = {f"/{path.name}": path for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}
_PATHS = {"/": FOLDER / "index.html", "/login": FOLDER / "login.html", **_FILES}

PAGES_PUBLIC = frozenset(_PATHS)
"Paths that everybody may GET, beside those of `permissions.ROUTES`."


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    content_type: str
    etag: str


class Pages:
    """The handlers of `/`, `/login` and the files that they refer to, relatively."""

    def __init__(self) -> None:
        self._pages = {path: _read(file) for path, file in _PATHS.items()}

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [web.get(path, self._get) for path in self._pages]

    async def _get(self, request: web.Request) -> web.Response:
        page = self._pages[request.path]
        # Revalidated each time, so that an update of the server is an update of the page.
        headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == page.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=page.body, content_type=page.content_type, charset="utf-8", headers=headers)


def _read(path: Path) -> _Page:
    body = path.read_bytes()
    return _Page(body, _TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:16]}"')
