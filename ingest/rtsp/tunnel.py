"""RTSP inside two HTTP requests, as Apple's QuickTime has it: GET brings the camera's octets, POST ours.

    GET /path HTTP/1.0               answered by 200 and, for ever, what the camera says
    POST /path HTTP/1.0              never answered; its body is what we say, in base64

Both carry the same `x-sessioncookie`. Nothing but a paper of Apple describes it ("Tunnelling RTSP and RTP
over HTTP"); what else is here is what live555, FFmpeg and GStreamer do.
"""

import base64
import re
from dataclasses import dataclass

from ingest.rtsp.messages import Headers, Response, TransportRefused, shown

MAX_REPLY_BYTES = 16 << 10

_COMMON = "Pragma: no-cache\r\nCache-Control: no-cache\r\n"
_STATUS_LINE = re.compile(r"HTTP/1\.[01] +(\d{3})(?: +(.*))?")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What both requests say."""

    path: str
    host: str
    "With its port."
    cookie: str
    "New for each connection."


def request_path(path: str) -> str:
    """The path as it stands in the requests, also for `Authorization`."""
    return path if path.startswith("/") else f"/{path}"


def _head(method: str, tunnel: Tunnel, authorization: str | None) -> str:
    login = f"Authorization: {authorization}\r\n" if authorization else ""
    return (
        f"{method} {tunnel.path} HTTP/1.0\r\nHost: {tunnel.host}\r\n"
        f"x-sessioncookie: {tunnel.cookie}\r\n{login}{_COMMON}"
    )


def get_request(tunnel: Tunnel, authorization: str | None) -> bytes:
    """What opens the way from the camera."""
    head = _head("GET", tunnel, authorization)
    return f"{head}Accept: application/x-rtsp-tunnelled\r\n\r\n".encode()


def post_request(tunnel: Tunnel, authorization: str | None) -> bytes:
    """What opens the way to the camera.

    The length means nothing, as nobody knows it; 32767 is what every client says.
    """
    head = _head("POST", tunnel, authorization)
    return (
        f"{head}Content-Type: application/x-rtsp-tunnelled\r\n"
        "Content-Length: 32767\r\nExpires: Sun, 9 Jan 1972 00:00:00 GMT\r\n\r\n"
    ).encode()


def encode(data: bytes) -> bytes:
    """Octets for the body of POST."""
    return base64.b64encode(data)


class TunnelReply:
    """Reads the answer to GET: `feed` until it is complete; what follows it is RTSP."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Response | None:
        """The answer once it is complete: 200, or 401 where a login is wanted.

        Raises TransportRefused for any other, and for what is no HTTP.
        """
        self._buffer += data
        if not b"HTTP/1.".startswith(self._buffer[:7]):
            start = shown(self._buffer[:40].decode("ascii", "replace"))
            raise TransportRefused(
                f"camera answers HTTP with {start!r}; check host and port, or do not use `http`"
            )
        end = _END_OF_HEADERS.search(self._buffer)
        if (end.end() if end else len(self._buffer)) > MAX_REPLY_BYTES:
            raise TransportRefused(f"camera sends an HTTP header of more than {MAX_REPLY_BYTES} octets")
        if end is None:
            return None
        first, *lines = self._buffer[: end.start()].decode("utf-8", "replace").split("\n")
        status = _STATUS_LINE.fullmatch(first.strip())
        if status is None:
            raise TransportRefused(f"camera answers HTTP with the line {shown(first)!r}")
        reason = status[2] or ""
        if status[1] not in ("200", "401"):
            said = shown(f"{status[1]} {reason}")
            raise TransportRefused(f"camera answers RTSP over HTTP with {said}; it may not know it")
        fields = (line.partition(":") for line in lines)
        headers = Headers(tuple((name.strip(), value.strip()) for name, _, value in fields))
        return Response(int(status[1]), reason, headers)
