"""The TCP connection to a camera: the only place of ingest with sockets.

Everything per packet happens in the event loop's callback that reads the socket: no task, no queue and
no `await` per packet.
"""

import asyncio
import os
from collections.abc import Callable

from common.clock import Clock
from common.errors import CameraError, CctvError
from common.urls import CameraUrl
from ingest.rtsp.messages import RtspError
from ingest.rtsp.session import Ended, Event, RtspSession

CONNECT_DEADLINE_S = 5.0
TEARDOWN_DEADLINE_S = 0.5
RECEIVE_BYTES = 64 << 10
# A camera that reads nothing has at most our RTCP waiting; more than this means that it is gone.
MAX_UNSENT_BYTES = 64 << 10


class CameraConnection(asyncio.BufferedProtocol):
    """Moves octets between a socket and an RtspSession; `on_event` is called for each event, in order.

    An error of the session, or raised by `on_event`, ends the connection and comes out of `ended`.
    """

    def __init__(self, url: CameraUrl, clock: Clock, on_event: Callable[[Event], None]) -> None:
        self.session = RtspSession(url, os.urandom(16))
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        "Done when the connection is over; holds the CctvError that ended it, if any."
        self._clock = clock
        self._on_event = on_event
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._step(lambda: self.session.start(self._clock.monotonic_s()))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self.session.feed(self._buffer[:nbytes], self._clock.monotonic_s())
            self._handle_events()
        except CctvError as exc:
            self._end(exc)

    def eof_received(self) -> None:
        self._step(self.session.eof)
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._step(self.session.eof)
        self._end(None)

    def tick(self) -> None:
        """Deadlines and keep-alive; to be called about once a second."""
        self._step(lambda: self.session.tick(self._clock.monotonic_s()))

    def send_rtcp(self, packet: bytes) -> None:
        """Sends an RTCP packet to the camera."""
        self._step(lambda: self.session.send_rtcp(packet))

    async def close(self) -> None:
        """Says TEARDOWN when there is a session, waits shortly for its answer and closes the socket."""
        if not self.ended.done():
            self._step(lambda: self.session.teardown(self._clock.monotonic_s()))
        await asyncio.wait({self.ended}, timeout=TEARDOWN_DEADLINE_S)
        self._end(None)

    def _step(self, step: Callable[[], None]) -> None:
        if self.ended.done():
            return
        try:
            step()
            self._handle_events()
        except CctvError as exc:
            self._end(exc)

    def _handle_events(self) -> None:
        for event in self.session.events():
            if isinstance(event, Ended):
                self._end(None)
            else:
                self._on_event(event)
        self._flush()

    def _flush(self) -> None:
        data = self.session.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)
            if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
                raise RtspError("camera takes no more data on its connection")

    def _end(self, error: CctvError | None) -> None:
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)
                # It is said where the camera's life is; nobody may be waiting any more at shutdown.
                self.ended.exception()
        if self._transport is not None:
            self._transport.abort()


async def connect(url: CameraUrl, clock: Clock, on_event: Callable[[Event], None]) -> CameraConnection:
    """Opens a connection and starts the session; raises CameraError when that fails within 5 s."""
    where = f"{url.host}:{url.port}"
    try:
        async with asyncio.timeout(CONNECT_DEADLINE_S):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: CameraConnection(url, clock, on_event), url.host, url.port
            )
    except TimeoutError:
        raise CameraError(
            f"camera at {where} does not answer within {CONNECT_DEADLINE_S:g} s; check its address and power"
        ) from None
    except ConnectionRefusedError:
        raise CameraError(f"camera at {where} refuses connections; check the port") from None
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else str(exc)
        raise CameraError(f"camera at {where} cannot be reached: {reason}") from None
    return connection
