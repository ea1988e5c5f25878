"""The viewer page: a fixed set of files, read once at the start, so that no request ever names a path."""

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


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    content_type: str
    etag: str


class Pages:
    """The handlers of `/` and the files beside it."""

    def __init__(self) -> None:
        self._pages = {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong; the page refers to everything relatively."""
        return [web.get(f"/{name}", self._get) for name in self._pages] + [web.get("/", self._get)]

    async def _get(self, request: web.Request) -> web.Response:
        page = self._pages[request.path.removeprefix("/") or "index.html"]
        # Revalidated each time, so that an update of the server is an update of the page.
        headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == page.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=page.body, content_type=page.content_type, charset="utf-8", headers=headers)


def _read(path: Path) -> _Page:
    body = path.read_bytes()
    return _Page(body, _TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:16]}"')
