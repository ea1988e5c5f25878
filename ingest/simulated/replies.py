"""The server side of RTSP 1.0 (RFC 2326) for one connection, without IO."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ingest.simulated.description import CONTROLS
from ingest.simulated.login import Login
from ingest.simulated.requests import Request, RequestReader
from ingest.simulated.transports import Interleaved, Offered, Transport, answer, choose

SESSION_TIMEOUT_S = 60
METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "GET_PARAMETER", "TEARDOWN")

_REASONS = {
    200: "OK",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    505: "RTSP Version Not Supported",
    551: "Option Not Supported",
}


@dataclass(frozen=True, slots=True)
class OfferedTrack:
    """One track of a presentation."""

    offered: Offered
    ssrc: int


@dataclass(frozen=True, slots=True)
class Presentation:
    """What a path holds."""

    describe: Callable[[], str]
    tracks: tuple[OfferedTrack, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is set up."""


@dataclass(frozen=True, slots=True)
class Ready:
    """SETUP has chosen transports, by track number."""

    path: str
    transports: Mapping[int, Transport]


@dataclass(frozen=True, slots=True)
class Playing:
    """Packets go out."""

    path: str
    transports: Mapping[int, Transport]


@dataclass(frozen=True, slots=True)
class Ended:
    """TEARDOWN came; the connection is to be closed once the replies are out."""


State = Waiting | Ready | Playing | Ended


def _channels(transport: Transport) -> set[int]:
    if isinstance(transport, Interleaved):
        return {transport.rtp_channel, transport.rtcp_channel}
    return set()


class Conversation:
    """What one client's connection has agreed on; feed octets in, get the octets of the replies."""

    def __init__(
        self, presentations: Mapping[str, Presentation], session_id: str, login: Login | None = None
    ) -> None:
        self.state: State = Waiting()
        self._presentations = presentations
        self._session_id = session_id
        self._login = login
        self._reader = RequestReader()

    def feed(self, data: bytes) -> bytes:
        """Replies to the requests that `data` completes.

        Raises RequestError when the connection cannot be read any further.
        """
        self._reader.feed(data)
        replies = b""
        while not isinstance(self.state, Ended) and (request := self._reader.next()):
            replies += self._answer(request)
        return replies

    def _answer(self, request: Request) -> bytes:
        if request.version != "RTSP/1.0":
            return self._reply(request, 505)
        if "require" in request.headers:
            return self._reply(request, 551, {"Unsupported": request.headers["require"][:100]})
        if request.method not in METHODS:
            return self._reply(request, 405, {"Allow": ", ".join(METHODS)})
        if request.method == "OPTIONS":
            return self._reply(request, 200, {"Public": ", ".join(METHODS)})
        authorization = request.headers.get("authorization", "")
        if self._login and not self._login.allows(request.method, request.url, authorization):
            return self._reply(request, 401, {"WWW-Authenticate": self._login.challenge()})
        path, track = self._find(request.url)
        if path is None:
            return self._reply(request, 404)
        session = request.headers.get("session", self._session_id).partition(";")[0].strip()
        if session != self._session_id:
            return self._reply(request, 454)
        return self._act(request, path, track)

    def _find(self, url: str) -> tuple[str | None, int | None]:
        """The path of a presentation, and the track when the URL names one."""
        try:
            path = urlsplit(url).path.rstrip("/")
        except ValueError:  # brackets that are no address
            return None, None
        if path in self._presentations:
            return path, None
        parent, _, control = path.rpartition("/")
        tracks = self._presentations[parent].tracks if parent in self._presentations else ()
        if control in CONTROLS[: len(tracks)]:
            return parent, CONTROLS.index(control)
        return None, None

    def _act(self, request: Request, path: str, track: int | None) -> bytes:
        match request.method, self.state:
            case "DESCRIBE", _:
                headers = {"Content-Base": f"{request.url.rstrip('/')}/", "Content-Type": "application/sdp"}
                return self._reply(request, 200, headers, self._presentations[path].describe())
            case "SETUP", Waiting():
                return self._set_up(request, path, track, {})
            case "SETUP", Ready(chosen, transports) if chosen == path:
                return self._set_up(request, path, track, transports)
            case "PLAY", Ready(chosen, transports) | Playing(chosen, transports) if chosen == path:
                self.state = Playing(path, transports)
                return self._reply(request, 200, {"Session": self._session_id, "Range": "npt=now-"})
            case "GET_PARAMETER", _:
                return self._reply(request, 200, {"Session": self._session_id})
            case "TEARDOWN", Ready() | Playing():
                self.state = Ended()
                return self._reply(request, 200)
        return self._reply(request, 455)

    def _set_up(
        self, request: Request, path: str, track: int | None, transports: Mapping[int, Transport]
    ) -> bytes:
        tracks = self._presentations[path].tracks
        if track is None:  # some clients set the only track up by the path itself
            if len(tracks) > 1:
                return self._reply(request, 459)
            track = 0
        chosen = tracks[track]
        transport = choose(request.headers.get("transport", ""), track, chosen.offered)
        others = set().union(*(_channels(other) for key, other in transports.items() if key != track))
        if transport is None or _channels(transport) & others:
            return self._reply(request, 461)
        self.state = Ready(path, {**transports, track: transport})
        headers = {
            "Transport": answer(transport, chosen.offered, chosen.ssrc),
            "Session": f"{self._session_id};timeout={SESSION_TIMEOUT_S}",
        }
        return self._reply(request, 200, headers)

    def _reply(
        self, request: Request, status: int, headers: dict[str, str] | None = None, body: str = ""
    ) -> bytes:
        lines = [f"RTSP/1.0 {status} {_REASONS[status]}", f"CSeq: {request.headers.get('cseq', '0')[:20]}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body.encode())}")
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
