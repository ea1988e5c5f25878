"""A camera's life against real sockets: every fault becomes a state and a clear error, and heals."""

import asyncio
import contextlib
import logging
import socket

import pytest

from common.clock import SystemClock
from common.rtp import Goodbye, RtpPacket, serialize_rtcp, serialize_rtp
from common.urls import parse_camera_url
from ingest import connection
from ingest.camera import Camera, Hooks, Timing
from ingest.stream import VideoStream
from tests.support.faulty_camera import (
    Close,
    Drip,
    Hang,
    Read,
    Reset,
    Send,
    faulty_camera,
    interleaved,
    reply,
    until_playing,
)

from .test_depacketizer import IDR, PPS, SLICE, SPS

QUICK = Timing(tick_s=0.02, first_backoff_s=0.02, max_backoff_s=0.1, release_after_s=0.1, report_every_s=0.05)


def rtp(sequence, payload, timestamp=None, marker=True):
    stamp = sequence * 3600 if timestamp is None else timestamp
    return interleaved(0, serialize_rtp(RtpPacket(96, marker, sequence, stamp, 7, payload)))


SETS = rtp(1, SPS) + rtp(2, PPS)
VIDEO = SETS + rtp(3, IDR) + rtp(4, SLICE) + rtp(5, SLICE)
GOOD = [*until_playing(), Send(VIDEO), Hang()]
LOGIN = reply("401 Unauthorized", 'WWW-Authenticate: Digest realm="r", nonce="n"')


class Life:
    """A running camera and what it said; `history` holds (state, error) of every change."""

    def __init__(self, url, timing=QUICK, on_demand=False):
        self.units = []
        self.history = []
        self._changed = asyncio.Event()
        hooks = Hooks(self.units.append, self._note)
        stream = VideoStream(1)
        self.camera = Camera("cam", parse_camera_url(url), on_demand, stream, SystemClock(), hooks, timing, 1)

    def _note(self):
        self.history.append((self.camera.state, self.camera.error))
        self._changed.set()

    async def until(self, reached):
        async with asyncio.timeout(10):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def error(self):
        await self.until(lambda: self.camera.state == "backing_off")
        return self.camera.error

    async def live(self):
        await self.until(lambda: self.camera.state == "live")


@contextlib.asynccontextmanager
async def life(url, **options):
    alive = Life(url, **options)
    task = asyncio.ensure_future(alive.camera.run())
    try:
        yield alive
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert alive.camera.state == "idle"


FAULTS = {
    "HTTP": (
        [Read(), Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Close()],
        "does not speak RTSP, it says 'HTTP",
    ),
    "SSH": ([Send(b"SSH-2.0-OpenSSH_9.2p1\r\n"), Hang()], "does not speak RTSP, it says 'SSH-2.0-OpenSSH"),
    "random": ([Read(), Send(bytes(range(128, 256)) * 20), Hang()], "does not speak RTSP"),
    "closes at once": ([Close()], "closed the connection instead of answering OPTIONS"),
    "resets": ([Read(), Reset()], "closed the connection instead of answering OPTIONS"),
    "no such stream": (
        [Read(), reply(), Read(), reply("404 Not Found")],
        "404 Not Found: it has no stream at",
    ),
    "wrong password": ([Read(), LOGIN, Read(), LOGIN, Hang()], "refuses the user name or password"),
    "no description": ([Read(), reply(), Read(), reply(body="hello"), Hang()], "holds no tracks"),
    "closes mid-frame": (
        [*until_playing(), Send(VIDEO + rtp(6, SLICE)[:9]), Close()],
        "closed the connection while",
    ),
    "garbage for ever": ([*until_playing(), Send(VIDEO + b"\xee" * 100_000), Hang()], "neither RTSP nor RTP"),
    "says goodbye": (
        [*until_playing(), Send(VIDEO + interleaved(1, serialize_rtcp(Goodbye((7,))))), Hang()],
        "RTCP BYE",
    ),
    "access unit without end": (
        [
            *until_playing(),
            Send(rtp(1, b"\x06\x05", 0, False)),
            Send(b"".join(rtp(n, b"\x06", 0, False) for n in range(2, 1030))),
            Hang(),
        ],
        "1025 NAL units",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_fault_is_told_and_heals(name, caplog):
    script, error = FAULTS[name]
    with caplog.at_level(logging.DEBUG):
        async with faulty_camera(script, script, GOOD) as server:
            url = server.url.replace("rtsp://", "rtsp://user:s%40cret@")
            async with life(url) as alive:
                assert error in await alive.error()
                await alive.until(lambda: server.connections == 3 and alive.camera.state == "live")
                assert alive.camera.error is None
    assert alive.camera.reconnects == 2
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    told = [text for text in warnings if "packets lost" not in text]
    assert 1 <= len(told) <= (2 if "live" in [state for state, _ in alive.history[:3]] else 1)
    texts = " ".join(map(str, alive.history)) + caplog.text
    assert "s@cret" not in texts and "s%40cret" not in texts


ODDITIES = {
    "garbage between messages": b"\xffgarbage\r\n\r\n",
    "frame of 65,535 octets": interleaved(0, bytes(65_535)) + interleaved(9, bytes(65_535)),
    "truncated FU-A": rtp(5, b"\x5c", 7000),
}


@pytest.mark.parametrize("name", ODDITIES)
async def test_oddity_harms_nothing_else(name, caplog):
    after = rtp(6, IDR) + rtp(7, SLICE)
    script = [
        *until_playing(),
        Send(SETS + rtp(3, IDR) + rtp(4, SLICE)),
        Drip(ODDITIES[name] + after, 1009),
        Hang(),
    ]
    async with faulty_camera(script) as server, life(server.url) as alive:
        await alive.live()
        async with asyncio.timeout(5):
            while len(alive.units) < 4:
                await asyncio.sleep(0.01)
        await asyncio.sleep(3 * QUICK.tick_s)
    assert 1 <= caplog.text.count("RTP packets lost") <= 3
    assert [unit.nals[-1] for unit in alive.units] == [IDR, SLICE, IDR, SLICE]
    assert alive.camera.reconnects == 0


async def test_refused_connection_then_there():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with life(f"rtsp://127.0.0.1:{port}/c") as alive:
        assert await alive.error() == f"camera at 127.0.0.1:{port} refuses connections; check the port"


async def test_unreachable(monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_DEADLINE_S", 0.1)
    # A listener with a full backlog answers no SYN, like a host that is not there.
    with socket.socket() as server, contextlib.ExitStack() as fillers:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        async with life(f"rtsp://127.0.0.1:{server.getsockname()[1]}/c") as alive:
            assert "does not answer within 0.1 s; check its address and power" in await alive.error()


async def test_unknown_host():
    async with life("rtsp://no-such-host.invalid/c") as alive:
        assert "cannot be reached" in await alive.error()


@pytest.mark.parametrize(
    ("script", "timing", "error"),
    [
        ([*until_playing(), Hang()], {"video_deadline_s": 0.1}, "is connected but sent no video for 0.1 s"),
        (
            [*until_playing(), Send(VIDEO), Hang()],
            {"video_deadline_s": 0.2},
            "is connected but sent no video for 0.2 s",
        ),
        (
            [*until_playing(), Send(rtp(1, SLICE) + rtp(2, SLICE)), Hang()],
            {"keyframe_deadline_s": 0.2},
            "no keyframe that can be decoded for 0.2 s",
        ),
    ],
)
async def test_watchdogs(script, timing, error):
    quick = Timing(tick_s=0.02, first_backoff_s=0.05, **timing)
    async with faulty_camera(script) as server, life(server.url, timing=quick) as alive:
        assert error in await alive.error()
        await alive.until(lambda: server.connections == 2)


async def test_released_a_while_after_the_last_subscriber():
    async with faulty_camera(GOOD) as server, life(server.url, on_demand=True) as alive:
        await asyncio.sleep(0.05)
        assert (alive.camera.state, server.connections) == ("idle", 0)
        alive.camera.demand(True)
        await alive.live()
        alive.camera.demand(False)
        alive.camera.demand(True)
        alive.camera.demand(False)
        assert alive.camera.state == "live"
        await alive.until(lambda: alive.camera.state == "idle")
        alive.camera.demand(True)
        await alive.live()
        assert server.connections == 2
    # The second connection's gap tells readers to wait for the keyframe.
    assert [unit.sequence for unit in alive.units] == [0, 1, 2, 4, 5, 6]


async def test_teardown_is_said():
    script = [*until_playing(), Send(VIDEO), Read(), reply(), Close()]
    async with faulty_camera(script) as server, life(server.url) as alive:
        await alive.live()
        await asyncio.sleep(0.1)
    assert [request.split()[0] for request in server.requests] == [
        "OPTIONS",
        "DESCRIBE",
        "SETUP",
        "PLAY",
        "TEARDOWN",
    ]
    assert "Session: 1234" in server.requests[-1]


async def test_backoff_doubles_to_its_ceiling_and_starts_anew_after_stable_play():
    alive = Life("rtsp://h/c", timing=Timing())
    pauses = [alive.camera._next_backoff() for _ in range(9)]
    for pause, full in zip(pauses, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert full / 2 <= pause <= full
    assert len(set(pauses)) == 9
    now = SystemClock().monotonic_s()
    alive.camera._playing_since = now - 9
    assert alive.camera._next_backoff() >= 15
    alive.camera._playing_since = now - 11
    assert alive.camera._next_backoff() <= 0.5
