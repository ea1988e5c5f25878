"""RTSP servers that misbehave on purpose: a script of answers, one list of steps for each connection.

    async with faulty_camera([Read(), Send(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n"), Close()]) as camera:
        … dial camera.url …

A connection beyond the last script gets the last script again, so that retries meet the same fault.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

MAX_REQUEST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Read:
    """Waits for one request, passing over interleaved frames."""


@dataclass(frozen=True, slots=True)
class Send:
    """Sends octets as they are; `{cseq}` becomes the number of the last request."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Drip:
    """Sends octets in pieces of `size`, each in a write of its own."""

    data: bytes
    size: int = 1


@dataclass(frozen=True, slots=True)
class Hang:
    """Says nothing more, and keeps the connection until the client or the test ends it."""


@dataclass(frozen=True, slots=True)
class Close:
    """Closes in an orderly way."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Aborts: the client sees a connection reset."""


Step = Read | Send | Drip | Hang | Close | Reset


@dataclass(slots=True)
class FaultyCamera:
    """A listening server; `requests` holds what clients asked, first line and headers, in order."""

    scripts: Sequence[Sequence[Step]]
    port: int = 0
    connections: int = 0
    requests: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/camera"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        cseq = b"0"
        try:
            # The client may leave whenever it likes.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                for step in script:
                    match step:
                        case Read():
                            request = await _read_request(reader)
                            self.requests.append(request.decode(errors="replace"))
                            cseq = _cseq(request)
                        case Send(data):
                            writer.write(data.replace(b"{cseq}", cseq))
                            await writer.drain()
                        case Drip(data, size):
                            data = data.replace(b"{cseq}", cseq)
                            for at in range(0, len(data), size):
                                writer.write(data[at : at + size])
                                await writer.drain()
                                await asyncio.sleep(0)
                        case Hang():
                            while await reader.read(4096):
                                pass
                        case Reset():
                            writer.transport.abort()
                            return
                        case Close():
                            break
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    while True:
        first = await reader.readexactly(1)
        if first == b"$":
            header = await reader.readexactly(3)
            await reader.readexactly(int.from_bytes(header[1:], "big"))
            continue
        return first + await reader.readuntil(b"\r\n\r\n")


def _cseq(request: bytes) -> bytes:
    for line in request.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"cseq":
            return value.strip()
    return b"0"


def reply(status: str = "200 OK", *headers: str, body: str = "") -> Send:
    """One RTSP reply to the last request."""
    lines = [f"RTSP/1.0 {status}", "CSeq: {cseq}", *headers]
    if body:
        lines += ["Content-Type: application/sdp", f"Content-Length: {len(body.encode())}"]
    return Send(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


def interleaved(channel: int, packet: bytes) -> bytes:
    """An interleaved frame (RFC 2326 section 10.12)."""
    return b"$" + bytes((channel,)) + len(packet).to_bytes(2, "big") + packet


SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=faulty\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
)


def until_playing(sdp: str = SDP) -> list[Step]:
    """The steps of a camera that does as it should up to and including the reply to PLAY."""
    return [
        *(Read(), reply("200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")),
        *(Read(), reply(body=sdp)),
        *(Read(), reply("200 OK", "Session: 1234", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")),
        *(Read(), reply("200 OK", "Session: 1234")),
    ]


@contextlib.asynccontextmanager
async def faulty_camera(*scripts: Sequence[Step]) -> AsyncIterator[FaultyCamera]:
    """Runs the scripts on a free port until the block ends."""
    camera = FaultyCamera(scripts)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(camera._serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=MAX_REQUEST_BYTES)
    camera.port = server.sockets[0].getsockname()[1]
    try:
        yield camera
    finally:
        server.close()
        left = list(tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
