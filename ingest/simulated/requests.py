"""RTSP requests out of a stream of octets, as a server reads them (RFC 2326 sections 6, 10.12)."""

from dataclasses import dataclass

from common.errors import PeerError

MAX_REQUEST_BYTES = 8192


class RequestError(PeerError):
    """Bytes from a client that are not RTSP requests; the connection cannot be read further."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    url: str
    version: str
    headers: dict[str, str]


def _parse_head(head: bytes) -> Request:
    first, *rest = head.decode("utf-8", "replace").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("RTSP/"):
        raise RequestError(f"request line {first[:60]!r} is not RTSP")
    headers = {}
    for line in rest:
        name, colon, value = line.partition(":")
        if not colon:
            raise RequestError(f"header line {line[:60]!r} has no colon")
        headers[name.strip().lower()] = value.strip()
    return Request(parts[0], parts[1], parts[2], headers)


class RequestReader:
    """Feed octets, take whole requests; interleaved RTCP is passed over."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        """Takes the next octets of the connection."""
        self._buffer += data

    def next(self) -> Request | None:
        """The next request once it is complete; raises RequestError."""
        while self._buffer[:1] == b"$":  # `$`, channel, length
            size = 4 + int.from_bytes(self._buffer[2:4], "big")
            if len(self._buffer) < max(size, 4):
                return None
            self._buffer = self._buffer[size:]
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if len(head) > MAX_REQUEST_BYTES:
            raise RequestError(f"request head of more than {MAX_REQUEST_BYTES} octets")
        if not end:
            return None
        request = _parse_head(head)
        body = request.headers.get("content-length", "0")
        if not body.isascii() or not body.isdecimal() or len(body) > 4 or int(body) > MAX_REQUEST_BYTES:
            raise RequestError(f"Content-Length {body[:20]!r}, at most {MAX_REQUEST_BYTES} are read")
        if len(rest) < int(body):
            return None
        self._buffer = rest[int(body) :]
        return request
