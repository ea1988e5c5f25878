"""One viewer's life: checking, connecting, connected, closed."""

import asyncio
import enum
import logging
import secrets
import time
from collections.abc import Callable

from common.errors import PeerError, ViewerError
from common.rtp import Goodbye, KeyframeRequest, ReceiverReport, parse_rtcp, serialize_rtcp
from fanout.dtls import Certificate, DtlsServer
from fanout.egress import Address
from fanout.ice_lite import IceSession, IceSocket
from fanout.offer import Offer
from fanout.pacer import Pacer
from fanout.sender import RtpSender
from fanout.srtp import protector
from fanout.stream import Stream

log = logging.getLogger(__name__)

SETUP_DEADLINE_S = 20.0
KEYFRAME_REQUEST_INTERVAL_S = 1.0
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


class Viewer:
    """A browser watching one camera through this worker.

    `on_closed(viewer, reason)` is called once, when it is over for whatever reason but `close()`.
    """

    def __init__(
        self,
        session: str,
        offer: Offer,
        stream: Stream,
        ice: IceSocket,
        pacer: Pacer,
        certificate: Certificate,
        on_closed: Callable[["Viewer", str], None],
    ) -> None:
        self.session = session
        # Whoever knows the whole id may end the session, so logs have its beginning only.
        self._label = f"{session[:6]}…"
        self.stream = stream
        self.state = State.CHECKING
        self.ssrc = secrets.randbelow((1 << 32) - 1) + 1
        self.ice_session = IceSession(offer.ice_ufrag, self._on_record, self._on_rtcp, self._on_address)
        self.loss_fraction = 0.0
        self._loop = asyncio.get_running_loop()
        self._offer = offer
        self._ice = ice
        self._pacer = pacer
        self._on_closed = on_closed
        self._sender: RtpSender | None = None
        self._keyframe_requested_at = 0.0
        self._dtls = DtlsServer(certificate, self._send, self._on_dtls_closed)
        self._ice.open(self.ice_session)
        self._stopping: asyncio.Task[None] | None = None
        self._task = self._loop.create_task(self._connect())

    @property
    def dropped_frames(self) -> int:
        """Frames not sent because this viewer's way was full."""
        return self._sender.dropped_frames if self._sender is not None else 0

    def _set_state(self, state: State) -> None:
        if state not in _MOVES[self.state]:
            allowed = ", ".join(sorted(move.value for move in _MOVES[self.state])) or "nothing"
            raise AssertionError(f"viewer goes from {self.state.value} to {allowed}, not to {state.value}")
        self.state = state
        log.info("= session %s camera %s: %s", self._label, self.stream.camera, state.value)

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
            log.exception("! session %s: setting up failed", self._label)
            self._end("the worker failed to set the session up; its log says why")
            return
        address = self.ice_session.address
        assert address is not None, "DTLS records are only taken from checked addresses"
        self._set_state(State.CONNECTED)
        self._sender = RtpSender(
            self._ice.egress,
            self._pacer,
            protector(master, self.ssrc, self._offer.payload_type),
            address,
            self.ssrc,
        )
        self.stream.add(self._sender)
        self.report(CNAME)

    def _send(self, record: bytes) -> None:
        if self.ice_session.address is not None:
            self._ice.egress.send_datagram(record, self.ice_session.address)

    def _on_address(self, address: Address) -> None:
        if self.state is State.CHECKING:
            self._set_state(State.CONNECTING)
        if self._sender is not None:
            self._sender.address = address

    def _on_record(self, record: bytes) -> None:
        self._dtls.feed(record)

    def _on_rtcp(self, data: bytes) -> None:
        try:
            packets = parse_rtcp(self._dtls.unprotect_rtcp(data))
        except PeerError as exc:
            self._ice.rejected += 1
            log.debug("! session %s: %s", self._label, exc)
            return
        for packet in packets:
            match packet:
                case KeyframeRequest(media_ssrc=self.ssrc):
                    self._on_keyframe_request()
                case ReceiverReport(reports=reports):
                    for block in reports:
                        if block.ssrc == self.ssrc:
                            self.loss_fraction = block.fraction_lost / 256
                case Goodbye():
                    self._end("the viewer said goodbye")
                    return
                case _:
                    pass

    def _on_keyframe_request(self) -> None:
        now = self._loop.time()
        if self.state is not State.CONNECTED or self._sender is None:
            return
        if now - self._keyframe_requested_at < KEYFRAME_REQUEST_INTERVAL_S:
            return
        self._keyframe_requested_at = now
        log.debug("< session %s: keyframe request", self._label)
        self.stream.resend(self._sender)

    def report(self, cname: str) -> None:
        """Sends an RTCP sender report once there is something to report."""
        if self._sender is None:
            return
        report = self._sender.report(time.time_ns(), cname)
        if report is not None:
            self._send(self._dtls.protect_rtcp(report))

    def check(self) -> None:
        """Ends a viewer that fell silent, or whose camera turned out to send what is not shown."""
        if self.stream.problem is not None:
            self._end(self.stream.problem)
        elif self.state is State.CONNECTED and not self._ice.has_consent(self.ice_session):
            self._end("the viewer fell silent (ICE consent ran out)")

    def _on_dtls_closed(self) -> None:
        self._end("the viewer closed the connection")

    def _release(self) -> None:
        self._set_state(State.CLOSED)
        self._ice.end(self.ice_session)
        if self._sender is not None:
            self.stream.discard(self._sender)
            self._sender.close()

    def _end(self, reason: str) -> None:
        if self.state is State.CLOSED:
            return
        self._release()
        self._stopping = self._loop.create_task(self._dtls.stop())
        log.info("= session %s ended: %s", self._label, reason)
        self._on_closed(self, reason)

    async def close(self) -> None:
        """Ends the session from our side: RTCP BYE, DTLS close_notify."""
        if self.state is State.CLOSED:
            return
        if self._sender is not None:
            goodbye = serialize_rtcp(ReceiverReport(self.ssrc)) + serialize_rtcp(Goodbye((self.ssrc,)))
            self._send(self._dtls.protect_rtcp(goodbye))
        self._task.cancel()
        self._release()
        await self._dtls.stop()
