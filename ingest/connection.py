"""The RTSP connection to a camera: an open socket, and the RtspSession that speaks over it.

Everything per packet happens in the event loop's callback that reads the socket: no task, no queue and
no `await` per packet.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from typing import Any

from common.clock import Clock
from ingest.rtsp.events import Ended, Event
from ingest.rtsp.messages import RtspError
from ingest.rtsp.session import RtspSession
from ingest.rtsp.tunnel import encode

TEARDOWN_DEADLINE_S = 0.5
RECEIVE_BYTES = 64 << 10
# A camera that reads nothing has at most our RTCP waiting; more than this means that it is gone.
MAX_UNSENT_BYTES = 64 << 10


class Upward(asyncio.Protocol):
    """The POST of a tunnel. What a camera answers there is of no use to anybody."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.on_lost: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_lost()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class CameraConnection(asyncio.BufferedProtocol):
    """Moves octets between sockets and an RtspSession, from `start` on.

    What the session, or the reader of its events, raises ends the connection and comes out of `ended`.
    """

    def __init__(self, clock: Clock) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        "Done when the connection is over; holds the error that ended it, if any."
        self._clock = clock
        self._on_event: Callable[[Event], None] = lambda event: None
        self._session: RtspSession | None = None
        self._transport: asyncio.Transport | None = None
        self._upward: Upward | None = None
        self._early = b""
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))

    @property
    def local_address(self) -> tuple[Any, ...]:
        """Of the socket, as its family has it."""
        return self._extra("sockname")

    @property
    def peer_address(self) -> tuple[Any, ...]:
        """Of the camera's end of the socket, as its family has it."""
        return self._extra("peername")

    def _extra(self, name: str) -> tuple[Any, ...]:
        assert self._transport is not None
        found: tuple[Any, ...] = self._transport.get_extra_info(name)
        return found

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.pause_reading()

    def go_through(self, upward: Upward) -> None:
        """What is said goes through the POST of a tunnel."""
        self._upward = upward
        upward.on_lost = lambda: self._step(lambda session: session.eof())

    def start(self, session: RtspSession, on_event: Callable[[Event], None]) -> None:
        """Speaks to the camera as `session` has it; `on_event` is called for each of its events, in order."""
        self._session = session
        self._on_event = on_event
        self._step(lambda session: session.start(self._clock.monotonic_s()))
        if self._early:
            self._feed(session, self._early)
        if self._transport is not None and not self.ended.done():
            self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._session is not None:
            self._feed(self._session, self._buffer[:nbytes])
        elif self._transport is not None:
            # Python 3.11.2 begins to read although it was told to pause in connection_made.
            self._early += self._buffer[:nbytes]
            self._transport.resume_reading()
            self._transport.pause_reading()

    def _feed(self, session: RtspSession, data: bytes | memoryview) -> None:
        if self.ended.done():
            return
        error: Exception | None = None
        try:
            session.feed(data, self._clock.monotonic_s())
        except Exception as exc:
            error = exc
        self._pass_on(session, error)

    def eof_received(self) -> None:
        self._step(lambda session: session.eof())
        self.end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        # A reset is one more way to close; the others come from this end: no route, nothing acknowledged.
        if isinstance(exc, OSError) and not isinstance(exc, ConnectionError | ssl.SSLError):
            self.end(RtspError(f"camera cannot be reached any more: {reason_of(exc)}"))
        self.eof_received()

    def tick(self) -> None:
        """Deadlines and keep-alive; to be called about once a second."""
        self._step(lambda session: session.tick(self._clock.monotonic_s()))

    def send_rtcp(self, track: int, packet: bytes) -> None:
        """Sends an RTCP packet about an interleaved track to the camera."""
        self._step(lambda session: session.send_rtcp(track, packet))

    async def close(self) -> None:
        """Says TEARDOWN when there is a session, waits shortly for its answer and closes the socket."""
        self._step(lambda session: session.teardown(self._clock.monotonic_s()))
        try:
            if self._session is not None:
                await asyncio.wait({self.ended}, timeout=TEARDOWN_DEADLINE_S)
        finally:
            self.end(None)

    def end(self, error: Exception | None) -> None:
        """The connection is over, because of `error` if there is one; without another word to the camera."""
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)
                # It is said where the camera's life is; nobody may be waiting any more at shutdown.
                self.ended.exception()
        if self._transport is not None:
            self._transport.abort()
        if self._upward is not None:
            self._upward.abort()

    def _step(self, step: Callable[[RtspSession], None]) -> None:
        session = self._session
        if self.ended.done() or session is None:
            return
        error: Exception | None = None
        try:
            step(session)
        except Exception as exc:
            # Also a fault of our own: it comes out where the connection is waited for.
            error = exc
        self._pass_on(session, error)

    def _pass_on(self, session: RtspSession, error: Exception | None) -> None:
        """What happened before `error` counts, and what is answered to it is sent."""
        try:
            self._handle_events(session)
        except Exception as exc:
            error = error or exc
        if error is not None:
            self.end(error)

    def _handle_events(self, session: RtspSession) -> None:
        for event in session.events():
            if isinstance(event, Ended):
                self.end(None)
            else:
                self._on_event(event)
        if data := session.data_to_send():
            self._send(data)

    def _send(self, data: bytes) -> None:
        out: asyncio.WriteTransport | None = self._transport
        if self._upward is not None:
            out, data = self._upward.transport, encode(data)
        if out is not None:
            out.write(data)
            if out.get_write_buffer_size() > MAX_UNSENT_BYTES:
                raise RtspError("camera takes no more data on its connection")


def reason_of(error: OSError) -> str:
    """What went wrong, in the system's words."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
