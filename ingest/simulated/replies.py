"""The server side of RTSP 1.0 (RFC 2326) for one connection and one video track, without IO."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from common.errors import PeerError
from common.h264 import NAL_SPS, nal_type
from ingest.simulated.packets import PAYLOAD_TYPE

MAX_REQUEST_BYTES = 8192
SESSION_TIMEOUT_S = 60
TRACK = "track1"
METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "GET_PARAMETER", "TEARDOWN")

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    505: "RTSP Version Not Supported",
    551: "Option Not Supported",
}


class RequestError(PeerError):
    """Bytes from a client that are not RTSP requests; the connection cannot be read further."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    url: str
    version: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is set up."""


@dataclass(frozen=True, slots=True)
class Ready:
    """SETUP has chosen the interleaved channels."""

    rtp_channel: int
    rtcp_channel: int


@dataclass(frozen=True, slots=True)
class Playing:
    """Packets go out on the channels."""

    rtp_channel: int
    rtcp_channel: int


@dataclass(frozen=True, slots=True)
class Ended:
    """TEARDOWN came; the connection is to be closed once the replies are out."""


State = Waiting | Ready | Playing | Ended


def describe(path: str, parameter_sets: Sequence[bytes], fps: int) -> str:
    """The session description (RFC 4566, RFC 6184 section 8.2)."""
    sps = next(nal for nal in parameter_sets if nal_type(nal) == NAL_SPS)
    sets = ",".join(base64.b64encode(nal).decode() for nal in parameter_sets)
    lines = (
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        f"s={path.lstrip('/')}",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/90000",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={sps[1:4].hex().upper()};"
        f"sprop-parameter-sets={sets}",
        f"a=framerate:{fps}",
        f"a=control:{TRACK}",
    )
    return "".join(f"{line}\r\n" for line in lines)


def _parse_request(head: bytes) -> Request:
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


def _interleaved_channels(transport: str) -> tuple[int, int] | None:
    """The channels of the first usable choice in a Transport header (section 12.39)."""
    for choice in transport.split(","):
        parameters = choice.strip().split(";")
        if parameters[0].upper() != "RTP/AVP/TCP":
            continue
        match = re.search(r";\s*interleaved=(\d{1,3})(?:-(\d{1,3}))?(?:;|$)", choice)
        if match is None:
            return 0, 1
        rtp = int(match[1])
        rtcp = int(match[2]) if match[2] else rtp + 1
        if rtp != rtcp and max(rtp, rtcp) < 256:
            return rtp, rtcp
    return None


class Conversation:
    """What one client's connection has agreed on; feed octets in, get the octets of the replies."""

    def __init__(self, path: str, sdp: str, session_id: str) -> None:
        self.state: State = Waiting()
        self._path = path
        self._sdp = sdp
        self._session_id = session_id
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        """Replies to the requests that `data` completes; interleaved RTCP is passed over.

        Raises RequestError when the connection cannot be read any further.
        """
        self._buffer += data
        replies = b""
        while self._buffer and not isinstance(self.state, Ended):
            if self._buffer[0] == 0x24:  # `$`, channel, length (section 10.12)
                size = 4 + int.from_bytes(self._buffer[2:4], "big")
                if len(self._buffer) < max(size, 4):
                    break
                self._buffer = self._buffer[size:]
                continue
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if len(head) > MAX_REQUEST_BYTES:
                raise RequestError(f"request head of more than {MAX_REQUEST_BYTES} octets")
            if not end:
                break
            request = _parse_request(head)
            body = request.headers.get("content-length", "0")
            if not body.isascii() or not body.isdecimal() or len(body) > 4 or int(body) > MAX_REQUEST_BYTES:
                raise RequestError(f"Content-Length {body[:20]!r}, at most {MAX_REQUEST_BYTES} are read")
            if len(rest) < int(body):
                break
            self._buffer = rest[int(body) :]
            replies += self._answer(request)
        return replies

    def _answer(self, request: Request) -> bytes:
        if request.version != "RTSP/1.0":
            return self._reply(request, 505)
        if "require" in request.headers:
            return self._reply(request, 551, {"Unsupported": request.headers["require"][:100]})
        if request.method not in METHODS:
            return self._reply(request, 405, {"Allow": ", ".join(METHODS)})
        path = urlsplit(request.url).path if request.url != "*" else self._path
        if path.rstrip("/") not in (self._path, f"{self._path}/{TRACK}"):
            return self._reply(request, 404)
        session = request.headers.get("session", self._session_id).partition(";")[0].strip()
        if session != self._session_id:
            return self._reply(request, 454)
        return self._act(request)

    def _act(self, request: Request) -> bytes:
        base = request.url.rstrip("/")
        match request.method, self.state:
            case "OPTIONS", _:
                return self._reply(request, 200, {"Public": ", ".join(METHODS)})
            case "DESCRIBE", _:
                headers = {"Content-Base": f"{base}/", "Content-Type": "application/sdp"}
                return self._reply(request, 200, headers, self._sdp)
            case "SETUP", Waiting() | Ready():
                channels = _interleaved_channels(request.headers.get("transport", ""))
                if channels is None:
                    return self._reply(request, 461)
                self.state = Ready(*channels)
                transport = f"RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]}"
                session = f"{self._session_id};timeout={SESSION_TIMEOUT_S}"
                return self._reply(request, 200, {"Transport": transport, "Session": session})
            case "PLAY", Ready(rtp, rtcp) | Playing(rtp, rtcp):
                self.state = Playing(rtp, rtcp)
                return self._reply(request, 200, {"Session": self._session_id, "Range": "npt=now-"})
            case "GET_PARAMETER", _:
                return self._reply(request, 200, {"Session": self._session_id})
            case "TEARDOWN", Ready() | Playing():
                self.state = Ended()
                return self._reply(request, 200)
        return self._reply(request, 455)

    def _reply(
        self, request: Request, status: int, headers: dict[str, str] | None = None, body: str = ""
    ) -> bytes:
        lines = [f"RTSP/1.0 {status} {_REASONS[status]}", f"CSeq: {request.headers.get('cseq', '0')[:20]}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body.encode())}")
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
