"""The bus: media by PUB/SUB, control by ROUTER/DEALER; the only place that knows ZeroMQ (docs/bus.md).

Sockets are driven by the event loop through their file descriptor. That descriptor is edge-triggered
(libzmq zmq_getsockopt ZMQ_FD): it says "look again", so every look and every send drains what is there.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import zmq

from common import wire
from common.errors import BusError, LocalError
from common.messages import HelloWanted, Message, Refused

log = logging.getLogger(__name__)

# A GOP of a join has to fit in, 1,200 access units at most, and some seconds of live ones. For a reader that
# stands still it is also what the publisher keeps: 28 MB of a 4 Mbit/s camera.
MEDIA_HIGH_WATER_MARK = 1400
CONTROL_HIGH_WATER_MARK = 1000
DRAIN_BATCH = 64
MAX_IPC_PATH = 107  # sockaddr_un.sun_path less its terminator (unix(7))
REQUEST_DEADLINE_S = 2.0


class BusTimeout(BusError):
    """A peer did not answer a request before its deadline."""


def ipc_endpoint(folder: Path, name: str) -> str:
    """The endpoint of a socket file in `folder`; raises LocalError when its path is too long."""
    path = str(folder.absolute() / f"{name}.sock")
    if len(path.encode()) > MAX_IPC_PATH:
        raise LocalError(
            f"socket path {path} has {len(path.encode())} octets, the kernel takes {MAX_IPC_PATH}; "
            "set CCTV3_RUN to a folder with a shorter path"
        )
    return f"ipc://{path}"


class PeerUnreachable(BusTimeout):
    """A peer is not connected or takes no more: the request was not sent."""


class _Socket:
    """One ZeroMQ socket on the running event loop."""

    def __init__(self, kind: int, high_water_mark: int) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, high_water_mark)
        self._socket.setsockopt(zmq.RCVHWM, high_water_mark)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.Handle | None = None
        self._fd: int | None = None
        self._file: Path | None = None

    def _start(self) -> None:
        descriptor = self._socket.getsockopt(zmq.FD)
        assert isinstance(descriptor, int)
        self._fd = descriptor
        self._loop.add_reader(descriptor, self._drain)
        self._look_again()

    def _bind(self, endpoint: str) -> None:
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as exc:
            self._socket.close()
            raise LocalError(f"cannot bind {endpoint}: {exc.strerror}") from exc
        if endpoint.startswith("ipc://"):
            self._file = Path(endpoint.removeprefix("ipc://"))

    def _look_again(self) -> None:
        if self._again is None and self._fd is not None:
            # Asking is far cheaper than another turn of the loop for nothing.
            events = self._socket.getsockopt(zmq.EVENTS)
            assert isinstance(events, int)
            if events & zmq.POLLIN:
                self._again = self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for _ in range(DRAIN_BATCH):
            if self._fd is None:
                return
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._received(frames)
            except Exception:
                # The descriptor tells of new messages only: one that fails must not leave the next unread.
                log.exception("! bus: a message failed")
        self._look_again()

    def _received(self, frames: list[bytes]) -> None:
        raise NotImplementedError

    def _send(self, frames: Sequence[bytes]) -> bool:
        """Queues a message; False when the high-water mark is reached or the peer is unknown."""
        if self._fd is None:
            return False
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.ZMQError as exc:
            if exc.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            return False
        finally:
            self._look_again()
        return True

    def close(self) -> None:
        """Closes the socket; what is still queued is dropped."""
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            self._fd = None
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._socket.close()
        # libzmq 4.3.5 leaves the file of a bound ipc socket behind.
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file = None


class MediaPublisher(_Socket):
    """An ingest's XPUB socket; tells who subscribes.

    `on_subscription(topic, subscribed)` is called for the first subscriber of a topic and when the last one
    is gone.
    """

    def __init__(self, endpoint: str, on_subscription: Callable[[bytes, bool], None]) -> None:
        super().__init__(zmq.XPUB, MEDIA_HIGH_WATER_MARK)
        self._on_subscription = on_subscription
        self._bind(endpoint)
        self._start()

    def publish(self, frames: Sequence[bytes]) -> None:
        """Sends to whoever subscribes; a full subscriber misses it and sees the gap in `sequence`."""
        self._send(frames)

    def _received(self, frames: list[bytes]) -> None:
        data = frames[0]
        if data[:1] in (b"\x00", b"\x01"):
            self._on_subscription(data[1:], data[:1] == b"\x01")


class MediaSubscriber(_Socket):
    """A worker's SUB socket for one camera; `on_message(frames)` gets every message of its topics."""

    def __init__(self, endpoint: str, on_message: Callable[[list[bytes]], None]) -> None:
        super().__init__(zmq.SUB, MEDIA_HIGH_WATER_MARK)
        self._on_message = on_message
        self._socket.connect(endpoint)
        self._start()

    def subscribe(self, topic: bytes) -> None:
        """Asks for a topic; holds over reconnections."""
        self._socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._look_again()

    def unsubscribe(self, topic: bytes) -> None:
        """Takes one `subscribe` back."""
        self._socket.setsockopt(zmq.UNSUBSCRIBE, topic)
        self._look_again()

    def _received(self, frames: list[bytes]) -> None:
        self._on_message(frames)


class ControlServer(_Socket):
    """Signaling's ROUTER: knows peers by identity, asks them and hears them.

    `on_message(identity, message)` gets what is not the reply to a request.
    """

    def __init__(self, endpoint: str, on_message: Callable[[str, Message], None]) -> None:
        super().__init__(zmq.ROUTER, CONTROL_HIGH_WATER_MARK)
        # A restarted peer takes its identity over; an unknown one is an error instead of silence.
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._on_message = on_message
        # At random, so that no answer to an earlier run of signaling passes for one to this.
        self._ids = itertools.count(secrets.randbelow(1 << 48) + 1)
        self._waiting: dict[tuple[str, int], asyncio.Future[Message]] = {}
        self._bind(endpoint)
        self._start()

    def notify(self, identity: str, message: Message) -> bool:
        """Sends without waiting for an answer; False when the peer cannot be reached."""
        return self._send([identity.encode(), wire.encode_message(message)])

    async def request(
        self, identity: str, message: Message, deadline_s: float = REQUEST_DEADLINE_S
    ) -> Message:
        """The peer's reply; raises BusTimeout when none comes in `deadline_s` or the peer is gone."""
        request_id = next(self._ids)
        key = (identity, request_id)
        waiting = self._waiting[key] = self._loop.create_future()
        try:
            if not self._send([identity.encode(), wire.encode_message(message, request_id)]):
                raise PeerUnreachable(f"{identity} is not connected or takes no more requests")
            async with asyncio.timeout(deadline_s):
                reply: Message = await waiting
                return reply
        except TimeoutError:
            raise BusTimeout(f"{identity} did not answer {message.TYPE} within {deadline_s:g} s") from None
        finally:
            del self._waiting[key]

    def _received(self, frames: list[bytes]) -> None:
        if len(frames) != 2:
            log.warning("! control: message of %d frames ignored", len(frames))
            return
        identity = frames[0].decode(errors="replace")
        try:
            message, request_id = wire.decode_message(frames[1])
        except BusError as exc:
            log.warning("! control: %s: %s", identity, exc)
            return
        if request_id == 0:
            self._on_message(identity, message)
            return
        waiting = self._waiting.get((identity, request_id))
        if waiting is not None and not waiting.done():
            waiting.set_result(message)


class ControlClient(_Socket):
    """A peer's DEALER to signaling; reconnects by itself.

    `hello()` gives the introduction, sent now and whenever signaling asks. `on_request(message)` is awaited
    and its result sent as the reply.
    """

    def __init__(
        self,
        endpoint: str,
        identity: str,
        hello: Callable[[], Message],
        on_request: Callable[[Message], Awaitable[Message]] | None = None,
    ) -> None:
        super().__init__(zmq.DEALER, CONTROL_HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.IDENTITY, identity.encode())
        self._hello = hello
        self._on_request = on_request
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket.connect(endpoint)
        self._start()
        self.notify(hello())

    def notify(self, message: Message) -> None:
        """Tells signaling; dropped when signaling is away for longer than the queue holds."""
        self._send([wire.encode_message(message)])

    def _received(self, frames: list[bytes]) -> None:
        try:
            message, request_id = wire.decode_message(frames[-1])
        except BusError as exc:
            log.warning("! control: signaling: %s", exc)
            return
        if isinstance(message, HelloWanted):
            self.notify(self._hello())
        elif request_id:
            task = self._loop.create_task(self._reply(message, request_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reply(self, message: Message, request_id: int) -> None:
        if self._on_request is None:
            reply: Message = Refused("internal", f"this process takes no {message.TYPE} requests")
        else:
            try:
                reply = await self._on_request(message)
            except Exception:
                log.exception("! control: %s failed", message.TYPE)
                reply = Refused("internal", f"{message.TYPE} failed in the worker; its log says why")
        self._send([wire.encode_message(reply, request_id)])

    def close(self) -> None:
        """Closes the socket and cancels requests under way."""
        for task in self._tasks:
            task.cancel()
        super().close()
