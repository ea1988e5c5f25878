"""One RTSP session with a camera, without I/O (RFC 2326): describe, set up one track, play, keep alive.

    session = RtspSession(url, entropy)
    session.start(now)
    session.data_to_send()           octets for the camera; look after every call
    session.feed(data, now)          octets from the camera
    session.events()                 what happened: Playing, RtpData, RtcpData, Ended
    session.tick(now)                once a second: deadlines and keep-alive

`now` is in monotonic seconds. Every method raises RtspError when the camera breaks the protocol, refuses or
does not answer; the session is over then.
"""

import enum
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from common.urls import CameraUrl
from ingest.rtsp.auth import Challenge, Credentials, authorization, parse_challenges
from ingest.rtsp.messages import (
    Headers,
    InterleavedFrame,
    InterleavedFrames,
    Request,
    Response,
    RtspError,
    serialize_interleaved,
    serialize_request,
    serialize_response,
    shown,
)
from ingest.rtsp.parser import RtspParser
from ingest.rtsp.sdp import VideoTrack, parse_sdp, select_video

REQUEST_DEADLINE_S = 5.0
DEFAULT_SESSION_TIMEOUT_S = 60  # RFC 2326 section 12.37
MAX_KEEP_ALIVE_S = 30.0
MIN_KEEP_ALIVE_S = 0.5
MAX_LOGINS_PER_REQUEST = 2
USER_AGENT = "cctv3"


class State(enum.Enum):
    """Where the session is; each but the first two names the request whose answer is awaited."""

    NEW = "new"
    CLOSED = "closed"
    OPTIONS = "OPTIONS"
    DESCRIBE = "DESCRIBE"
    SETUP = "SETUP"
    PLAY = "PLAY"
    PLAYING = "playing"
    TEARDOWN = "TEARDOWN"


# Which state may follow which.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.OPTIONS, State.CLOSED}),
    State.OPTIONS: frozenset({State.DESCRIBE, State.CLOSED}),
    State.DESCRIBE: frozenset({State.SETUP, State.CLOSED}),
    State.SETUP: frozenset({State.PLAY, State.TEARDOWN, State.CLOSED}),
    State.PLAY: frozenset({State.PLAYING, State.TEARDOWN, State.CLOSED}),
    State.PLAYING: frozenset({State.TEARDOWN, State.CLOSED}),
    State.TEARDOWN: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Playing:
    """The camera plays `track`."""

    track: VideoTrack


@dataclass(frozen=True, slots=True)
class RtpData:
    """RTP packets of the track, in their order."""

    packets: list[bytes]


@dataclass(frozen=True, slots=True)
class RtcpData:
    """Compound RTCP packets of the track."""

    packets: list[bytes]


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over by agreement: TEARDOWN was answered."""


Event = Playing | RtpData | RtcpData | Ended


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request that waits for its answer."""

    request: Request
    cseq: int
    deadline: float
    answered_challenge: Challenge | None
    "What its Authorization answers."
    logins: int = 0


@dataclass(frozen=True, slots=True)
class _Transport:
    """What SETUP agreed on."""

    track: VideoTrack
    session_id: str | None
    keep_alive_s: float
    rtp_channel: int
    rtcp_channel: int


class RtspSession:
    """The client's side; see the module's docstring for its use.

    `entropy` is random octets from the caller; client nonces are derived from it.
    """

    def __init__(self, url: CameraUrl, entropy: bytes) -> None:
        self._url = url
        self._credentials = (
            Credentials(url.username, url.password or "") if url.username is not None else None
        )
        self._entropy = entropy
        self._parser = RtspParser()
        self._state = State.NEW
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._cseq = 0
        self._pending: _Pending | None = None
        self._challenge: Challenge | None = None
        self._nonce_count = 0
        self._logged_in = False
        self._public: frozenset[str] = frozenset()
        self._track: VideoTrack | None = None
        self._transport: _Transport | None = None
        self._keep_alive_at = 0.0

    @property
    def state(self) -> State:
        """Where the session is."""
        return self._state

    @property
    def garbage_bytes(self) -> int:
        """Octets between messages that were neither RTSP nor RTP."""
        return self._parser.garbage_bytes

    def start(self, now: float) -> None:
        """Queues the first request."""
        self._move(State.OPTIONS)
        self._request("OPTIONS", self._url.public, now)

    def feed(self, data: bytes | memoryview, now: float) -> None:
        """Takes octets from the camera."""
        self._parser.feed(data)
        transport = self._transport
        for message in self._parser.events():
            match message:
                case InterleavedFrames():
                    if transport is None:
                        continue
                    if message.channel == transport.rtp_channel:
                        self._events.append(RtpData(message.payloads))
                    elif message.channel == transport.rtcp_channel:
                        self._events.append(RtcpData(message.payloads))
                case Response():
                    self._response(message, now)
                    transport = self._transport
                case Request():
                    self._answer(message)

    def eof(self) -> None:
        """The camera closed the connection; raises RtspError unless the session is over."""
        if self._state is State.TEARDOWN:
            self._end()
        elif self._state is not State.CLOSED:
            during = (
                "while playing"
                if self._state is State.PLAYING
                else f"instead of answering {self._state.value}"
            )
            self._move(State.CLOSED)
            raise RtspError(f"camera closed the connection {during}")

    def tick(self, now: float) -> None:
        """Sends a keep-alive when one is due; raises RtspError for an answer that is overdue."""
        pending = self._pending
        if pending is not None and now >= pending.deadline:
            self._pending = None
            # Cameras are known to leave keep-alives unanswered while they play; silence of the
            # video is noticed elsewhere.
            if self._state is not State.PLAYING:
                method = pending.request.method
                self._move(State.CLOSED)
                raise RtspError(f"camera did not answer {method} within {REQUEST_DEADLINE_S:g} s")
        transport = self._transport
        if (
            self._state is State.PLAYING
            and transport
            and self._pending is None
            and now >= self._keep_alive_at
        ):
            self._keep_alive_at = now + transport.keep_alive_s
            method = "GET_PARAMETER" if "GET_PARAMETER" in self._public else "OPTIONS"
            self._request(method, transport.track.play_url, now)

    def teardown(self, now: float) -> None:
        """Queues TEARDOWN; without a session there is nothing to tear down and Ended follows at once."""
        if self._state is State.CLOSED or self._state is State.TEARDOWN:
            return
        if self._transport is None:
            self._end()
            return
        self._move(State.TEARDOWN)
        self._request("TEARDOWN", self._transport.track.play_url, now)

    def send_rtcp(self, packet: bytes) -> None:
        """Queues an RTCP packet; dropped before SETUP was answered."""
        if self._transport is not None:
            self._out.append(serialize_interleaved(InterleavedFrame(self._transport.rtcp_channel, packet)))

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> bytes:
        """Octets for the camera since the last call."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _move(self, state: State) -> None:
        allowed = TRANSITIONS[self._state]
        if state not in allowed:
            names = ", ".join(sorted(item.name for item in allowed)) or "nothing"
            raise RtspError(f"RTSP session goes from {self._state.name} to {names}, not to {state.name}")
        self._state = state

    def _end(self) -> None:
        self._move(State.CLOSED)
        self._pending = None
        self._events.append(Ended())

    def _request(self, method: str, uri: str, now: float, *headers: tuple[str, str], logins: int = 0) -> None:
        fields = list(headers)
        if self._transport is not None and self._transport.session_id is not None:
            fields.append(("Session", self._transport.session_id))
        self._send(Request(method, uri, Headers(tuple(fields))), now, logins)

    def _send(self, request: Request, now: float, logins: int) -> None:
        self._cseq += 1
        fields = [("CSeq", str(self._cseq)), ("User-Agent", USER_AGENT), *request.headers.fields]
        if self._challenge is not None and self._credentials is not None:
            self._nonce_count += 1
            cnonce = hashlib.sha256(self._entropy + self._cseq.to_bytes(8, "big")).hexdigest()[:16]
            value = authorization(
                self._challenge, self._credentials, request.method, request.uri, self._nonce_count, cnonce
            )
            fields.append(("Authorization", value))
        self._out.append(serialize_request(replace(request, headers=Headers(tuple(fields)))))
        self._pending = _Pending(request, self._cseq, now + REQUEST_DEADLINE_S, self._challenge, logins)

    def _answer(self, request: Request) -> None:
        """Answers a request of the camera (RFC 2326 section 10)."""
        cseq = request.headers.get("CSeq")
        headers = Headers((("CSeq", cseq),) if cseq is not None else ())
        known = request.method in (
            "OPTIONS",
            "GET_PARAMETER",
            "SET_PARAMETER",
            "ANNOUNCE",
            "TEARDOWN",
            "REDIRECT",
        )
        reply = Response(200, "OK", headers) if known else Response(501, "Not Implemented", headers)
        self._out.append(serialize_response(reply))
        if self._state in (State.TEARDOWN, State.CLOSED):
            return
        if request.method == "TEARDOWN":
            self._move(State.CLOSED)
            raise RtspError("camera ended the session by TEARDOWN")
        if request.method == "REDIRECT":
            self._move(State.CLOSED)
            raise RtspError(f"camera redirects to {shown(request.headers.get('Location') or 'nowhere')}")

    def _response(self, response: Response, now: float) -> None:
        pending = self._pending
        cseq = response.headers.get("CSeq")
        # A late answer, e.g. to a keep-alive that was given up. Some cameras leave CSeq out.
        if pending is None or (cseq is not None and cseq.strip() != str(pending.cseq)):
            return
        self._pending = None
        if self._state is State.TEARDOWN:
            self._end()
        elif response.status == 401:
            self._log_in(pending, response, now)
        else:
            if pending.answered_challenge is not None:
                self._logged_in = True
            _HANDLERS[self._state](self, pending, response, now)

    def _log_in(self, pending: _Pending, response: Response, now: float) -> None:
        """Repeats the request with credentials, again when only the nonce was old (RFC 7616 section 3.3)."""
        credentials = self._credentials
        if credentials is None:
            raise RtspError(
                f"camera wants a user name and password for {self._url.public}; put them in its URL"
            )
        challenge = parse_challenges(response.headers.get_all("WWW-Authenticate"))
        answered = pending.answered_challenge
        # Mid-session some cameras renew the nonce without saying stale=true.
        renewed = answered is not None and challenge.nonce != answered.nonce
        worth_it = answered is None or challenge.stale or (self._logged_in and renewed)
        if not worth_it or pending.logins >= MAX_LOGINS_PER_REQUEST:
            kind = challenge.scheme if challenge.scheme == "Basic" else f"Digest {challenge.scheme}"
            raise RtspError(f"camera refuses the user name or password (401 to {kind}); check its URL")
        self._challenge = challenge
        self._nonce_count = 0
        self._send(pending.request, now, pending.logins + 1)

    def _refuse_unless_ok(self, pending: _Pending, response: Response) -> None:
        if 200 <= response.status < 300:
            return
        said = f"{response.status} {shown(response.reason)}".strip()
        what = f"camera answers {pending.request.method} with {said}"
        if response.status in (301, 302, 303, 305, 307, 308):
            raise RtspError(f"{what}: it is at {shown(response.headers.get('Location') or 'no address')}")
        hints = {
            403: "the user may not watch; check its rights in the camera",
            404: f"it has no stream at {self._url.public}; check the path",
            453: "it has no bandwidth left; close other viewers of the camera",
            454: "it has forgotten the session",
            461: "it does not send over TCP",
            503: "it has too many connections; close other viewers of the camera",
        }
        hint = hints.get(response.status)
        raise RtspError(f"{what}: {hint}" if hint else what)

    def _options_done(self, _pending: _Pending, response: Response, now: float) -> None:
        # Cameras that refuse OPTIONS still answer DESCRIBE.
        if response.status == 200:
            methods = ",".join(response.headers.get_all("Public"))
            self._public = frozenset(item.strip().upper() for item in methods.split(","))
        self._move(State.DESCRIBE)
        self._request("DESCRIBE", self._url.public, now, ("Accept", "application/sdp"))

    def _describe_done(self, pending: _Pending, response: Response, now: float) -> None:
        self._refuse_unless_ok(pending, response)
        headers = response.headers
        base = headers.get("Content-Base") or headers.get("Content-Location") or self._url.public
        # Cameras are known to leave only a path there.
        if not re.match(r"rtspu?://", base, re.IGNORECASE):
            base = self._url.public
        self._track = select_video(parse_sdp(response.body), base)
        self._move(State.SETUP)
        transport = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")
        self._request("SETUP", self._track.setup_url, now, transport)

    def _setup_done(self, pending: _Pending, response: Response, now: float) -> None:
        self._refuse_unless_ok(pending, response)
        assert self._track is not None
        self._transport = _agreed(self._track, response.headers)
        self._parser.channels = frozenset({self._transport.rtp_channel, self._transport.rtcp_channel})
        self._move(State.PLAY)
        self._request("PLAY", self._track.play_url, now, ("Range", "npt=0.000-"))

    def _play_done(self, pending: _Pending, response: Response, now: float) -> None:
        self._refuse_unless_ok(pending, response)
        assert self._transport is not None
        self._move(State.PLAYING)
        self._keep_alive_at = now + self._transport.keep_alive_s
        # The camera may send before its answer to PLAY; Playing still comes first for the reader.
        self._events.insert(0, Playing(self._transport.track))

    def _keep_alive_done(self, pending: _Pending, response: Response, _now: float) -> None:
        if response.status == 454:
            self._refuse_unless_ok(pending, response)
        if response.status >= 400 and pending.request.method == "GET_PARAMETER":
            self._public = self._public - {"GET_PARAMETER"}


_Handler = Callable[[RtspSession, _Pending, Response, float], None]
_HANDLERS: dict[State, _Handler] = {
    State.OPTIONS: RtspSession._options_done,
    State.DESCRIBE: RtspSession._describe_done,
    State.SETUP: RtspSession._setup_done,
    State.PLAY: RtspSession._play_done,
    State.PLAYING: RtspSession._keep_alive_done,
}


def _agreed(track: VideoTrack, headers: Headers) -> _Transport:
    """Reads Session and Transport of a SETUP response (RFC 2326 sections 12.37, 12.39)."""
    session_id, _, parameters = (headers.get("Session") or "").partition(";")
    match = re.search(r"timeout\s*=\s*(\d{1,6})", parameters, re.IGNORECASE)
    timeout_s = int(match[1]) if match and int(match[1]) > 0 else DEFAULT_SESSION_TIMEOUT_S
    transport = headers.get("Transport") or ""
    if "TCP" not in transport.upper() and re.search(r"server_port|client_port|multicast", transport):
        raise RtspError(f"camera wants to send by {shown(transport)!r} although TCP was asked for")
    # Cameras are known to leave the channels out; then they are those asked for.
    channels = re.search(r"interleaved\s*=\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?", transport, re.IGNORECASE)
    rtp = int(channels[1]) if channels else 0
    rtcp = int(channels[2]) if channels and channels[2] else rtp + 1
    if rtp > 255 or rtcp > 255 or rtp == rtcp:
        raise RtspError(f"camera wants interleaved channels {rtp} and {rtcp}")
    return _Transport(
        track=track,
        session_id=session_id.strip() or None,
        keep_alive_s=max(MIN_KEEP_ALIVE_S, min(timeout_s / 2, MAX_KEEP_ALIVE_S)),
        rtp_channel=rtp,
        rtcp_channel=rtcp,
    )
