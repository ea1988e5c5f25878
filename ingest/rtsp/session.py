"""One RTSP session with a camera, without I/O (RFC 2326): describe, set up its tracks, play, keep alive.

    session = RtspSession(url, entropy, options)
    session.start(now)
    session.data_to_send()           octets for the camera; look after every call
    session.feed(data, now)          octets from the camera
    session.events()                 what happened: SetUp, Playing, RtpData, RtcpData, Ended
    session.tick(now)                once a second, or more often (`keep_alive_s`): deadlines, keep-alive

`now` is in monotonic seconds. Every method raises RtspError when the camera breaks the protocol, refuses or
does not answer, and ConfigError for credentials that no header can hold; the session is over then, but for
the events and octets that came before the error.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from common.urls import CameraUrl, redact
from ingest.codecs.registry import problem_with
from ingest.rtsp.auth import Challenge
from ingest.rtsp.control import base_url, join_control, names_other_host
from ingest.rtsp.events import MAX_TRACKS, Ended, Event, Playing, RtcpData, RtpData, SessionOptions, SetUp
from ingest.rtsp.keep_alive import KeepAlive
from ingest.rtsp.login import Login
from ingest.rtsp.messages import (
    Headers,
    InterleavedFrame,
    InterleavedFrames,
    LoginInterrupted,
    Request,
    Response,
    RtspError,
    RtspMessage,
    serialize_interleaved,
    serialize_request,
    serialize_response,
)
from ingest.rtsp.parser import RtspParser
from ingest.rtsp.quirks import (
    AUDIO_REFUSED,
    CLOSES_AFTER_401,
    CSEQ_MISSING,
    CSEQ_WRONG,
    EARLY_MEDIA,
    INSIDE_ADDRESS,
    OPTIONS_REFUSED,
    PLAY_URL_REFUSED,
    SESSION_CHANGES,
    SESSION_LEFT_OUT,
    Quirks,
)
from ingest.rtsp.replies import OTHER_URL_MAY_DO, cseq, is_success, redirect, refusal, session_header
from ingest.rtsp.sdp import audio_tracks, parse_sdp, select_tracks
from ingest.rtsp.setups import Setups
from ingest.rtsp.states import TRANSITIONS, State
from ingest.rtsp.transport import NAMES

__all__ = [
    "MAX_TRACKS",
    "Ended",
    "Event",
    "Playing",
    "RtcpData",
    "RtpData",
    "RtspSession",
    "SessionOptions",
    "SetUp",
    "State",
]

REQUEST_DEADLINE_S = 5.0
# A body that is announced and does not come.
BODY_PATIENCE_S = 2.0
# Media before the answer to PLAY: a second of a large camera's.
MAX_EARLY_BYTES = 2 << 20
# What a packet costs besides its octets, so that empty ones are bounded, too.
PACKET_OVERHEAD_BYTES = 64
USER_AGENT = "cctv3"
DEFAULT_OPTIONS = SessionOptions()
_ANSWERED_WITH_OK = frozenset(
    {"OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "ANNOUNCE", "TEARDOWN", "REDIRECT"}
)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request that waits for its answer."""

    request: Request
    cseq: int
    deadline: float
    answered: Challenge | None
    "What its Authorization answers."
    renewals: int
    "How often it was repeated although it had an Authorization."


class RtspSession:
    """The client's side; see the module's docstring for its use.

    `entropy` is random octets from the caller; client nonces are derived from it.
    """

    def __init__(self, url: CameraUrl, entropy: bytes, options: SessionOptions = DEFAULT_OPTIONS) -> None:
        self._url = url
        self._options = options
        self._quirks = Quirks()
        self._parser = RtspParser(self._quirks)
        self._login = Login(url, entropy, options.challenge, self._quirks)
        self._keep_alive = KeepAlive(self._quirks)
        self._state = State.NEW
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._early: list[Event] = []
        self._early_bytes = 0
        self._notes: list[str] = []
        self._cseq = 0
        self._pending: _Pending | None = None
        self._given_up: deque[int] = deque(maxlen=8)
        self._fed_at = 0.0
        self._session_id: str | None = None
        self._setups = Setups(options, self._quirks)
        self._play_urls: list[str] = [url.public]

    @property
    def state(self) -> State:
        """Where the session is."""
        return self._state

    @property
    def garbage_bytes(self) -> int:
        """Octets between messages that were neither RTSP nor RTP."""
        return self._parser.garbage_bytes

    @property
    def challenge(self) -> Challenge | None:
        """What to remember for the next connection: the camera's last one, None after a login that failed."""
        return self._login.challenge

    @property
    def quirks(self) -> tuple[str, ...]:
        """Names of the policies in force (quirks.py)."""
        return self._quirks.names

    @property
    def notes(self) -> tuple[str, ...]:
        """What somebody may want to mend although the camera plays: audio that was left out, and why."""
        return tuple(self._notes)

    @property
    def keep_alive_s(self) -> float:
        """Seconds from one keep-alive to the next; `tick` has to come more often than that."""
        return self._keep_alive.period_s

    def start(self, now: float) -> None:
        """Queues the first request."""
        self._move(State.OPTIONS)
        self._request("OPTIONS", self._url.public, now)

    def feed(self, data: bytes | memoryview, now: float) -> None:
        """Takes octets from the camera."""
        self._fed_at = now
        self._parser.feed(data)
        self._take(self._parser.events(), now)

    def eof(self) -> None:
        """The camera closed the connection; raises RtspError unless the session is over."""
        if self._state is State.CLOSED:
            return
        if self._state is State.TEARDOWN:
            self._end()
            return
        state, pending = self._state, self._pending
        self._close()
        if state is State.PLAYING:
            raise RtspError("camera closed the connection while playing")
        if pending is not None and pending.answered is not None and not self._login.was_accepted:
            if self._options.challenge is None:
                self._quirks.note(CLOSES_AFTER_401)
                raise LoginInterrupted("camera closed the connection right after asking for a login")
            if pending.answered is self._options.challenge:
                self._login.stop()
            raise RtspError(
                "camera closed the connection when it got the user name and password; "
                "check them if this goes on"
            )
        raise RtspError(f"camera closed the connection instead of answering {state.value}")

    def tick(self, now: float) -> None:
        """Sends a keep-alive when one is due; raises RtspError for an answer that is overdue."""
        if self._parser.awaits_body and now >= self._fed_at + BODY_PATIENCE_S:
            self._take(self._parser.cut_short(), now)
        pending = self._pending
        if pending is not None and now >= pending.deadline:
            self._pending = None
            if self._state is not State.PLAYING:
                self._close()
                method = pending.request.method
                raise RtspError(f"camera did not answer {method} within {REQUEST_DEADLINE_S:g} s")
            self._given_up.append(pending.cseq)
            self._keep_alive.unanswered()
        if self._state is State.PLAYING and self._pending is None and self._keep_alive.due(now):
            self._keep_alive.restart(now)
            self._request(self._keep_alive.method, self._play_urls[0], now)

    def teardown(self, now: float) -> None:
        """Queues TEARDOWN; without a session there is nothing to tear down and Ended follows at once."""
        if self._state is State.CLOSED or self._state is State.TEARDOWN:
            return
        if not self._setups.done:
            self._end()
            return
        self._move(State.TEARDOWN)
        self._request("TEARDOWN", self._play_urls[0], now)

    def send_rtcp(self, track: int, packet: bytes) -> None:
        """Queues an RTCP packet of an interleaved track; dropped before its SETUP was answered."""
        if (channel := self._setups.rtcp_channel(track)) is not None:
            self._out.append(serialize_interleaved(InterleavedFrame(channel, packet)))

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> bytes:
        """Octets for the camera since the last call."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _take(self, messages: Sequence[RtspMessage], now: float) -> None:
        for message in messages:
            match message:
                case InterleavedFrames():
                    event = self._setups.media(message)
                    if event is None:
                        continue
                    if self._state is State.PLAYING:
                        self._events.append(event)
                    else:
                        self._hold(event)
                case Response():
                    self._response(message, now)
                case Request():
                    self._answer(message)

    def _hold(self, event: RtpData | RtcpData) -> None:
        """Playing comes first for the reader; a first picture that came before it is worth keeping."""
        self._early_bytes += sum(len(packet) + PACKET_OVERHEAD_BYTES for packet in event.packets)
        if self._state in (State.SETUP, State.PLAY) and self._early_bytes <= MAX_EARLY_BYTES:
            self._quirks.note(EARLY_MEDIA)
            self._early.append(event)

    def _move(self, state: State) -> None:
        allowed = TRANSITIONS[self._state]
        if state not in allowed:
            names = ", ".join(sorted(item.name for item in allowed)) or "nothing"
            raise RtspError(f"RTSP session goes from {self._state.name} to {names}, not to {state.name}")
        self._state = state

    def _close(self) -> None:
        self._move(State.CLOSED)
        self._pending = None

    def _end(self) -> None:
        self._close()
        self._events.append(Ended())

    def _request(self, method: str, uri: str, now: float, *headers: tuple[str, str]) -> None:
        fields = list(headers)
        if self._session_id is not None:
            fields.append(("Session", self._session_id))
        self._send(Request(method, uri, Headers(tuple(fields))), now, 0)

    def _send(self, request: Request, now: float, renewals: int) -> None:
        self._cseq += 1
        fields = [("CSeq", str(self._cseq)), ("User-Agent", USER_AGENT), *request.headers.fields]
        authorization = self._login.sign(request.method, request.uri)
        if authorization is not None:
            fields.append(("Authorization", authorization))
        self._out.append(serialize_request(replace(request, headers=Headers(tuple(fields)))))
        patience_s = REQUEST_DEADLINE_S
        if self._state is State.PLAYING:
            patience_s = min(patience_s, self._keep_alive.period_s)
        answered = self._login.challenge if authorization is not None else None
        self._pending = _Pending(request, self._cseq, now + patience_s, answered, renewals)

    def _answer(self, request: Request) -> None:
        """Answers a request of the camera (RFC 2326 section 10)."""
        number = request.headers.get("CSeq")
        headers = Headers((("CSeq", number),) if number is not None else ())
        known = request.method in _ANSWERED_WITH_OK
        reply = Response(200, "OK", headers) if known else Response(501, "Not Implemented", headers)
        self._out.append(serialize_response(reply))
        if self._state in (State.TEARDOWN, State.CLOSED):
            return
        if request.method == "TEARDOWN":
            self._close()
            raise RtspError("camera ended the session by TEARDOWN")
        if request.method == "REDIRECT":
            self._close()
            raise redirect("camera redirects", request.headers)

    def _response(self, response: Response, now: float) -> None:
        pending = self._pending
        # 1xx says that the answer is still to come (RFC 2326 section 7.1.1).
        if pending is None or response.status < 200 or not self._belongs(response, pending):
            return
        self._pending = None
        self._read_session(response)
        if response.status == 401:
            self._unauthorized(pending, response, now)
            return
        if pending.answered is not None:
            self._login.accepted(pending.request.method)
        _HANDLERS[self._state](self, pending, response, now)

    def _belongs(self, response: Response, pending: _Pending) -> bool:
        """True when the response is taken as the answer to the request that waits."""
        number = cseq(response.headers)
        if number == pending.cseq:
            return True
        if number in self._given_up:
            return False
        # Before playing, a lower number is a second answer; while playing, at worst one to a keep-alive.
        if number is not None and 0 < number < pending.cseq and self._state is not State.PLAYING:
            return False
        self._quirks.note(CSEQ_MISSING if response.headers.get("CSeq") is None else CSEQ_WRONG)
        return True

    def _read_session(self, response: Response) -> None:
        session_id, timeout_s = session_header(response.headers)
        if timeout_s is not None:
            self._keep_alive.timeout(timeout_s)
        # Some cameras put a Session of no meaning into answers before SETUP.
        if session_id is None or self._state not in (State.SETUP, State.PLAY, State.PLAYING):
            return
        if self._session_id is None:
            self._session_id = session_id
        elif session_id != self._session_id and self._state is State.SETUP:
            self._quirks.note(SESSION_CHANGES)

    def _unauthorized(self, pending: _Pending, response: Response, now: float) -> None:
        """Sends the request again where that is worth it; what plays goes on without."""
        try:
            self._login.refused(response, pending.answered, pending.renewals)
        except RtspError:
            audio_only = self._state is State.SETUP and self._setups.done
            if not audio_only:
                # Each keep-alive, or the next connection's first request, would be one more wrong password.
                self._login.stop()
            if self._state not in (State.PLAYING, State.TEARDOWN) and not audio_only:
                raise
            _HANDLERS[self._state](self, pending, response, now)
            return
        self._send(pending.request, now, pending.renewals + (pending.answered is not None))

    def _refusal(self, pending: _Pending, response: Response) -> RtspError:
        return refusal(
            pending.request.method, response, redact(self._url.public), NAMES[self._options.transport]
        )

    def _options_done(self, pending: _Pending, response: Response, now: float) -> None:
        if is_success(response):
            self._keep_alive.offered(response.headers)
        elif response.status < 400:
            raise self._refusal(pending, response)
        else:
            self._quirks.note(OPTIONS_REFUSED)
        self._move(State.DESCRIBE)
        self._request("DESCRIBE", self._url.public, now, ("Accept", "application/sdp"))

    def _describe_done(self, pending: _Pending, response: Response, now: float) -> None:
        if not is_success(response):
            raise self._refusal(pending, response)
        base = base_url(self._url.public, response.headers, self._quirks)
        description = parse_sdp(response.body, self._quirks)
        self._setups.wanted = select_tracks(description, base, self._options.audio, problem_with)
        controls = (description.control, *(media.control for media in description.media))
        if any(names_other_host(base, control or "") for control in controls):
            self._quirks.note(INSIDE_ADDRESS)
        if self._options.audio and len(self._setups.wanted) == 1:
            problems = (problem_with(track) for track in audio_tracks(description, base))
            self._notes += [f"audio is left out: {problem}" for problem in problems if problem][:1]
        aggregate = join_control(base, description.control)
        self._play_urls = list(dict.fromkeys((aggregate, aggregate.rstrip("/"), self._url.public)))[:2]
        self._move(State.SETUP)
        self._ask_next_track(now)

    def _ask_next_track(self, now: float) -> None:
        """SETUP for the next track, PLAY after the last."""
        if (setup := self._setups.next()) is not None:
            self._request("SETUP", setup[0], now, ("Transport", setup[1]))
            return
        self._move(State.PLAY)
        self._request("PLAY", self._play_urls[0], now, ("Range", "npt=0.000-"))

    def _setup_done(self, pending: _Pending, response: Response, now: float) -> None:
        try:
            if not is_success(response):
                raise self._refusal(pending, response)
            self._events.append(self._setups.answered(response.headers))
        except RtspError as error:
            if not self._setups.done:
                raise
            self._quirks.note(AUDIO_REFUSED)
            self._notes.append(f"audio is left out: {error}")
        else:
            self._parser.channels = self._setups.channels
            if self._session_id is None:
                self._quirks.note(SESSION_LEFT_OUT)
        self._ask_next_track(now)

    def _play_done(self, pending: _Pending, response: Response, now: float) -> None:
        if not is_success(response):
            if response.status not in OTHER_URL_MAY_DO or len(self._play_urls) < 2:
                raise self._refusal(pending, response)
            self._quirks.note(PLAY_URL_REFUSED)
            del self._play_urls[0]
            self._request("PLAY", self._play_urls[0], now, ("Range", "npt=0.000-"))
            return
        self._move(State.PLAYING)
        self._keep_alive.restart(now)
        self._events += [Playing(tuple(self._setups.done)), *self._early]
        self._early.clear()

    def _keep_alive_done(self, pending: _Pending, response: Response, _now: float) -> None:
        if response.status == 454:
            raise self._refusal(pending, response)
        if response.status >= 400:
            self._keep_alive.refused()

    def _teardown_done(self, _pending: _Pending, _response: Response, _now: float) -> None:
        self._end()


_Handler = Callable[[RtspSession, _Pending, Response, float], None]
_HANDLERS: dict[State, _Handler] = {
    State.OPTIONS: RtspSession._options_done,
    State.DESCRIBE: RtspSession._describe_done,
    State.SETUP: RtspSession._setup_done,
    State.PLAY: RtspSession._play_done,
    State.PLAYING: RtspSession._keep_alive_done,
    State.TEARDOWN: RtspSession._teardown_done,
}
