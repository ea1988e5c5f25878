"""One viewer's life: checking, connecting, connected, closed."""

import asyncio
import enum
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from common.errors import PeerError, ViewerError
from common.messages import OfferRequest, Quality, SessionReport
from common.rtp import Goodbye, ReceiverReport, parse_rtcp, serialize_rtcp
from fanout.dtls import Certificate, DtlsServer
from fanout.egress import Egress
from fanout.ice.paths import Path
from fanout.ice.session import IceAgent, IceSession
from fanout.outlet import Outlet
from fanout.pacer import Pacer
from fanout.renditions import audible
from fanout.sdp.offer import Offer
from fanout.srtp import MasterKey
from fanout.stream_pool import StreamPool
from fanout.viewing import Showing, Viewing

log = logging.getLogger(__name__)

SETUP_DEADLINE_S = 20.0
CNAME = "cctv3"


class State(enum.Enum):
    """Where a viewer stands."""

    CHECKING = "checking"  # no connectivity check has come yet
    CONNECTING = "connecting"  # DTLS handshake
    CONNECTED = "connected"
    CLOSED = "closed"


_MOVES = {
    State.CHECKING: {State.CONNECTING, State.CLOSED},
    State.CONNECTING: {State.CONNECTED, State.CLOSED},
    State.CONNECTED: {State.CLOSED},
    State.CLOSED: set[State](),
}


@dataclass(frozen=True, slots=True)
class Room:
    """What all viewers of a worker share."""

    egress: Egress
    pacer: Pacer
    pool: StreamPool
    certificate: Certificate
    on_closed: Callable[["Viewer", str], None]
    "Told that a viewer is over, once, for whatever reason but `Viewer.close`."
    on_changed: Callable[["Viewer", Showing, str], None]
    "Told that a viewer is given something else."


class Viewer:
    """A browser watching one camera through this worker; takes what arrives on its ICE paths."""

    def __init__(self, request: OfferRequest, offer: Offer, room: Room) -> None:
        self.session = request.session
        self.camera = request.camera
        self.watcher = request.watcher
        # Whoever knows the whole id may end the session, so logs have its beginning only.
        self._label = f"{request.session[:6]}…"
        self._about = {"session": self._label, "camera": self.camera}
        self.state = State.CHECKING
        self.video_ssrc, self.rtx_ssrc, self.audio_ssrc = self._ssrcs = _distinct_ssrcs()
        self._endpoint = request.media_endpoint
        self._offer = offer
        self._room = room
        self._renditions = offer.renditions
        self._audible = audible(offer, request.renditions)
        self._loop = asyncio.get_running_loop()
        self._dtls = DtlsServer(room.certificate, self._send, self._on_dtls_closed)
        self._outlet: Outlet | None = None
        self._viewing: Viewing | None = None
        self._quality = request.quality
        self._ice: IceSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self.rejected = 0
        "RTCP that was not authentic or could not be read."

    async def open(self, agent: IceAgent) -> IceSession:
        """Begins; gives our end of ICE for the answer. Raises ViewerError and LocalError."""
        # Subscribed now: the cached GOP is there when the handshake ends.
        begun_with = self._renditions[0 if self._quality in ("auto", "main") else -1]
        self._stream = self._room.pool.acquire(self.camera, begun_with, self._endpoint)
        try:
            self._ice = await agent.open(self._offer.ice, self)
        except BaseException:
            self._room.pool.release(self._stream)
            raise
        self._task = self._loop.create_task(self._connect())
        return self._ice

    @property
    def packets(self) -> int:
        """RTP packets sent."""
        return self._viewing.packets if self._viewing is not None else 0

    @property
    def dropped_frames(self) -> int:
        """Frames not sent because this viewer's way was full or too slow."""
        return self._viewing.dropped_frames if self._viewing is not None else 0

    @property
    def retransmitted(self) -> int:
        """Packets sent again because they were missed."""
        return self._viewing.retransmitted if self._viewing is not None else 0

    @property
    def switches(self) -> int:
        """Changes of what it is given."""
        return self._viewing.switches if self._viewing is not None else 0

    def _set_state(self, state: State) -> None:
        if state not in _MOVES[self.state]:
            allowed = ", ".join(sorted(move.value for move in _MOVES[self.state])) or "nothing"
            raise AssertionError(f"viewer goes from {self.state.value} to {allowed}, not to {state.value}")
        self.state = state
        log.info("= session %s camera %s: %s", self._label, self.camera, state.value, extra=self._about)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(SETUP_DEADLINE_S):
                master = await self._dtls.handshake(self._offer.fingerprints)
        except TimeoutError:
            self._end(f"no ICE check and DTLS handshake within {SETUP_DEADLINE_S:g} s")
            return
        except ViewerError as exc:
            self._end(str(exc))
            return
        except Exception:
            log.exception("! session %s: setting up failed", self._label, extra=self._about)
            self._end("the worker failed to set the session up; its log says why")
            return
        if self.state is State.CLOSED:  # wait_for of Python 3.11 may swallow the cancellation
            return
        try:
            self._begin_viewing(master)
        except Exception:
            log.exception("! session %s: setting up failed", self._label, extra=self._about)
            self._end("the worker failed to set the session up; its log says why")

    def _begin_viewing(self, master: MasterKey) -> None:
        assert self._outlet is not None, "DTLS records are only taken from checked addresses"
        self._set_state(State.CONNECTED)
        room = self._room
        self._viewing = Viewing(
            self._offer,
            master,
            self._ssrcs,
            self._outlet,
            room.pacer,
            room.pool,
            self._stream,
            self._renditions,
            self._audible,
            self._endpoint,
            self._quality,
            self._loop.time(),
            # Not from inside the viewing itself: it is being told a unit.
            self._end_soon,
            lambda showing, reason: room.on_changed(self, showing, reason),
        )
        self._viewing.check(self._loop.time())

    def _send(self, record: bytes) -> None:
        if self._outlet is not None:
            self._outlet.path.send_datagram(record)

    def on_path(self, path: Path) -> None:
        """Media goes this way from now on."""
        if self.state is State.CLOSED:
            return
        if self._outlet is None:
            self._outlet = Outlet(self._room.egress, path)
            self._set_state(State.CONNECTING)
        else:
            self._outlet.aim(path)
        log.debug("= session %s: %s", self._label, path, extra=self._about)

    def on_record(self, record: bytes) -> None:
        """Takes DTLS records."""
        self._dtls.feed(record)

    def on_rtcp(self, data: bytes) -> None:
        """Takes SRTCP."""
        if self.state is State.CLOSED:
            return
        try:
            packets = parse_rtcp(self._dtls.unprotect_rtcp(data))
        except PeerError as exc:
            self.rejected += 1
            log.debug("! session %s: %s", self._label, exc, extra=self._about)
            return
        if self._viewing is not None:
            self._viewing.on_rtcp(packets, self._loop.time())
        if any(isinstance(packet, Goodbye) for packet in packets):
            self._end("the viewer said goodbye")

    def add_candidates(self, sdp_fragment: str) -> None:
        """Takes trickled candidates."""
        if self._ice is not None:
            self._ice.add_candidates(sdp_fragment)

    @property
    def qualities(self) -> frozenset[Quality]:
        """What it may ask for."""
        return frozenset(("auto", "keyframes", *self._renditions))

    def select(self, quality: Quality) -> None:
        """What the viewer wants to be given."""
        self._quality = quality
        if self._viewing is not None:
            self._viewing.select(quality, self._loop.time())

    def check(self) -> None:
        """To be called about twice a second: consent, quality, reports."""
        if self.state is not State.CONNECTED or self._viewing is None or self._ice is None:
            return
        if not self._ice.has_consent():
            self._end("the viewer fell silent (ICE consent ran out)")
            return
        now = self._loop.time()
        self._viewing.check(now)
        for report in self._viewing.reports(now, CNAME):
            self._send(self._dtls.protect_rtcp(report))

    def report(self) -> SessionReport:
        """This viewer as the API shows it."""
        if self._viewing is not None:
            return self._viewing.report(self.session, self.state.value)
        return SessionReport(
            session=self.session,
            camera=self.camera,
            state=self.state.value,
            path=str(self._outlet.path) if self._outlet is not None else None,
            srtp=None,
            quality=self._quality,
            showing="keyframes" if self._quality == "keyframes" else self._stream.rendition,
            video_codec=None,
            audio_codec=None,
            packets=0,
            octets=0,
            retransmitted=0,
            dropped_frames=0,
            keyframe_requests=0,
            loss=0.0,
            rtt_s=None,
            available_bitrate=None,
            rendition=self._stream.rendition,
            last_access_unit_age_s=self._stream.last_unit_age_s,
            gaps=self._stream.gaps,
            keyframe_cached=bool(self._stream.video.history.gop()),
        )

    def _on_dtls_closed(self) -> None:
        self._end("the viewer closed the connection")

    def _release(self) -> None:
        self._set_state(State.CLOSED)
        if self._viewing is not None:
            self._viewing.close()
        else:
            self._room.pool.release(self._stream)

    def _end_soon(self, reason: str) -> None:
        self._loop.call_soon(self._end, reason)

    def _end(self, reason: str) -> None:
        if self.state is State.CLOSED:
            return
        self._release()
        self._stopping = self._loop.create_task(self._stop())
        log.info("= session %s ended: %s", self._label, reason, extra=self._about)
        self._room.on_closed(self, reason)

    async def close(self) -> None:
        """Ends the session from our side: RTCP BYE, DTLS close_notify."""
        if self.state is State.CLOSED:
            return
        if self._viewing is not None:
            goodbye = serialize_rtcp(ReceiverReport(self.video_ssrc)) + serialize_rtcp(
                Goodbye((self.video_ssrc, self.rtx_ssrc, self.audio_ssrc))
            )
            self._send(self._dtls.protect_rtcp(goodbye))
        if self._task is not None:
            self._task.cancel()
        self._release()
        await self._stop()

    async def _stop(self) -> None:
        await self._dtls.stop()
        if self._ice is not None:
            self._ice.close()
        # What refers back to this viewer would keep all of it until the garbage collector comes by.
        self._dtls.release()
        self._ice = self._viewing = self._outlet = None


def _distinct_ssrcs() -> tuple[int, int, int]:
    """For video, its retransmissions, and audio (RFC 3550 section 8.1)."""
    found = [0]
    while len(found) < 4:
        ssrc = secrets.randbits(32)
        if ssrc not in found:
            found.append(ssrc)
    return found[1], found[2], found[3]
