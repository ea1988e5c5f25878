"""A real HTTP server on the unix socket of a run folder, which answers as the API would."""

import json
import socketserver
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from common.commands.local_api import SOCKET

Answer = tuple[int, Any]

CAMERA = {
    "name": "front",
    "state": "live",
    "renditions": ["main", "sub"],
    "codec": "H264",
    "width": 1920,
    "height": 1080,
    "fps": 25.0,
    "bitrate": 4_000_000,
    "age": 0.04,
    "viewers": 12,
    "error": None,
}
REPORT = {
    "viewers": 12,
    "cpu": 0.231,
    "loop_lag_s": 0.0021,
    "packets_per_s": 9012.4,
    "dropped_frames": 3,
    "draining": False,
}
WORKER = {"worker": "fanout-0", "age": 0.2, "sessions": 12, "report": REPORT}
CONFIGURATION = {
    "revision": 3,
    "cameras": ["front"],
    "writable": True,
    "error": None,
    "restart_needed": [],
}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up early is none of the test's; anything else is shown.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class LocalServer:
    """`answers` maps `METHOD /path` to status and content, or to what gives them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / SOCKET
        self.asked: list[str] = []
        self.answers: dict[str, Answer | Callable[[], Answer]] = {
            "GET /api/v1/cameras": (200, [CAMERA]),
            "GET /api/v1/workers": (200, [WORKER]),
            "GET /api/v1/configuration": (200, CONFIGURATION),
        }

    def __enter__(self) -> "LocalServer":
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                request = f"{self.command} {self.path}"
                outer.asked.append(request)
                found = outer.answers.get(request, (404, {"detail": "nothing is served under this path"}))
                status, content = found() if callable(found) else found
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = _answer

            def address_string(self) -> str:
                return "local"

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server(str(self.path), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.path.unlink()
