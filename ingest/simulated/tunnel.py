"""RTSP over HTTP, the server's side: replies on a GET, requests in base64 on a POST (QuickTime's tunnel)."""

import base64
import binascii
from dataclasses import dataclass

from ingest.simulated.requests import RequestError

GRANTED = (
    b"HTTP/1.0 200 OK\r\nServer: simulated\r\nConnection: close\r\nCache-Control: no-store\r\n"
    b"Pragma: no-cache\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n"
)
MAX_COOKIE_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One half of a tunnel asks to be opened."""

    method: str
    "GET or POST."
    cookie: str
    "x-sessioncookie: the same for both halves."


def is_http(start: bytes) -> bool:
    """Whether a connection that begins so is half a tunnel; five octets tell GET from GET_PARAMETER."""
    return start.startswith((b"GET ", b"POST "))


def parse_http(head: bytes) -> HttpRequest:
    """Reads a request's head; raises RequestError where it asks for no tunnel."""
    first, *rest = head.decode("utf-8", "replace").split("\r\n")
    for line in rest:
        name, _, value = line.partition(":")
        if name.strip().lower() == "x-sessioncookie" and 0 < len(value.strip()) <= MAX_COOKIE_CHARACTERS:
            return HttpRequest(first.partition(" ")[0], value.strip())
    raise RequestError(f"HTTP request {first[:60]!r} without x-sessioncookie")


class Base64Stream:
    """Decodes base64 in any pieces; padding may come after each message, line ends anywhere."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> bytes:
        """The octets that are complete; raises RequestError."""
        text = self._left + b"".join(data.split())
        whole = len(text) // 4 * 4
        self._left = text[whole:]
        try:
            # Group by group: a decoder stops at the padding of the first message.
            groups = (text[at : at + 4] for at in range(0, whole, 4))
            return b"".join(base64.b64decode(group, validate=True) for group in groups)
        except binascii.Error as exc:
            raise RequestError(f"tunnel carries what is not base64: {exc}") from exc
