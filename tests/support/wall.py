"""Many viewers that behave like the page, in a process of their own, and the gaps that each has seen.

`python -m tests.support.wall URL COUNT CAMERA…` spreads COUNT viewers over the cameras, each with a WebSocket
of its own, and says `playing` when all have pictures. Then each line on its stdin is answered with JSON:
`gaps` with every gap since the last such line, `sessions` with everybody's, `totals` with packets and losses.
"""

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

from common import lifecycle
from tests.support.processes import PROJECT
from tests.support.viewer import Viewer

GAP_S = 0.25
"What a viewer sees as a gap: six pictures at 25 a second."
OPEN_S = 1.0
"When one that goes on is told: pictures may have come that nobody has looked at yet."
LOOK_S = 0.02
JOINING = 8
"First joins that are under way at a time."
AGAIN_S = 0.2
JOIN_DEADLINE_S = 10.0
REQUEST_DEADLINE_S = 6.0


class Refused(Exception):
    """The server's error, or no answer."""


@dataclass
class Wall:
    """What all viewers share."""

    url: str
    client: aiohttp.ClientSession
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(JOINING))


class Screen:
    """One viewer of one camera: rejoins when its session ends, moves when asked."""

    def __init__(self, wall: Wall, camera: str) -> None:
        self.camera = camera
        self.gaps: list[tuple[float, str]] = []
        "Seconds, and what the server said last."
        self.moves = 0
        self.joins = 0
        self._wall = wall
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, object]]] = {}
        self._session: str | None = None
        self._viewer: Viewer | None = None
        self._next: Viewer | None = None
        self._news: asyncio.Queue[str] = asyncio.Queue()
        self._said = ""
        self._seen_ns = 0
        self._lost = 0
        self._packets = 0

    @property
    def playing(self) -> bool:
        """True from the first picture on."""
        return self._seen_ns > 0

    def look(self) -> None:
        """Notes the pictures that have come since the last look, by when the kernel had them."""
        for viewer in (self._viewer, self._next):
            if viewer is None or not viewer.reception.arrivals:
                continue
            for arrival in viewer.reception.arrivals:
                gap_s = (arrival.received_ns - self._seen_ns) / 1e9
                if self._seen_ns and gap_s > GAP_S:
                    self.gaps.append((gap_s, self._said))
                self._seen_ns = max(self._seen_ns, arrival.received_ns)
            viewer.reception.arrivals.clear()

    def take_gaps(self) -> list[tuple[float, str]]:
        """The gaps since the last call; one that goes on is among them, and once more when it is over."""
        gaps, self.gaps = self.gaps, []
        open_s = (time.time_ns() - self._seen_ns) / 1e9
        return [*gaps, (open_s, self._said)] if open_s > OPEN_S else gaps

    @property
    def session(self) -> str | None:
        """The session that is watched."""
        return self._session

    def totals(self) -> tuple[int, int]:
        """RTP packets received and lost."""
        packets, lost = self._packets, self._lost
        if self._viewer is not None:
            now = self._viewer.totals()
            packets, lost = packets + now.packets, lost + now.lost
        return packets, lost

    async def run(self) -> None:
        """Watches until cancelled."""
        tasks = [asyncio.ensure_future(self._hold_socket()), asyncio.ensure_future(self._watch())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _hold_socket(self) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with self._wall.client.ws_connect(f"{self._wall.url}/ws") as socket:
                    self._socket = socket
                    if self._session is not None:
                        self._news.put_nowait("attach")
                    async for message in socket:
                        self._receive(json.loads(message.data))
            self._socket = None
            for waiting in self._waiting.values():
                waiting.cancel()
            self._waiting.clear()
            await asyncio.sleep(AGAIN_S)

    def _receive(self, message: dict[str, object]) -> None:
        waiting = self._waiting.pop(int(str(message.get("id", 0))), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)
        elif message.get("session") == self._session and message["type"] in ("close", "move"):
            self._said = str(message.get("reason", "asked to move"))
            self._news.put_nowait("move" if message["type"] == "move" else "join")

    async def _request(self, **message: object) -> dict[str, object]:
        socket = self._socket
        if socket is None:
            raise Refused("no socket")
        number = next(self._ids)
        answer: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await socket.send_str(json.dumps({**message, "id": number}))
            async with asyncio.timeout(REQUEST_DEADLINE_S):
                reply = await answer
        except (TimeoutError, aiohttp.ClientError, ConnectionError):
            raise Refused("no answer") from None
        except asyncio.CancelledError:
            if answer.cancelled():
                raise Refused("the socket was lost") from None
            raise
        finally:
            self._waiting.pop(number, None)
        if reply["type"] == "error":
            raise Refused(f"{reply['status']} {reply['detail']}")
        return reply

    async def _watch(self) -> None:
        async with self._wall.places:
            await self._join()
        while True:
            match await self._news.get():
                case "join":
                    self._leave()
                    await self._join()
                case "move":
                    await self._move()
                case "attach":
                    await self._attach()

    async def _open(self, **more: str) -> tuple[str, Viewer]:
        """A connected viewer; raises Refused."""
        viewer = Viewer()
        viewer.reception.arrivals = []
        try:
            answer = await self._request(type="offer", camera=self.camera, sdp=viewer.offer(), **more)
            await viewer.connect(str(answer["sdp"]), JOIN_DEADLINE_S)
        except BaseException as exc:
            viewer.close()
            if isinstance(exc, (Refused, asyncio.CancelledError)):
                raise
            raise Refused(str(exc)) from exc
        return str(answer["session"]), viewer

    async def _join(self) -> None:
        while True:
            try:
                session, viewer = await self._open()
                break
            except Refused as exc:
                self._said = str(exc)
                await asyncio.sleep(AGAIN_S)
        self._session, self._viewer = session, viewer
        self.joins += 1

    async def _move(self) -> None:
        before, session = self._viewer, self._session
        assert before is not None and session is not None
        try:
            _, self._next = moved = await self._open(replaces=session)
            await self._next.until(lambda: moved[1].reception.units > 0, JOIN_DEADLINE_S)
        except (Refused, AssertionError) as exc:
            self._said = f"could not move: {exc}"
            self._drop_next()
            self._news.put_nowait("move")
            await asyncio.sleep(AGAIN_S)
            return
        self._session, self._viewer, self._next = moved[0], moved[1], None
        self.moves += 1
        with contextlib.suppress(Refused):
            await self._request(type="close", session=session)
        self._forget(before)

    async def _attach(self) -> None:
        try:
            await self._request(type="attach", session=self._session)
        except Refused as exc:
            if str(exc).startswith("404"):
                self._said = str(exc)
                self._leave()
                await self._join()
            else:
                await asyncio.sleep(AGAIN_S)
                self._news.put_nowait("attach")

    def _drop_next(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None

    def _leave(self) -> None:
        self._drop_next()
        if self._viewer is not None:
            self._forget(self._viewer)
        self._session = self._viewer = None

    def _forget(self, viewer: Viewer) -> None:
        totals = viewer.totals()
        self._packets += totals.packets
        self._lost += totals.lost
        viewer.close()


async def _answer(screens: list[Screen]) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line.strip() == b"gaps":
            said = [
                {"viewer": number, "camera": screen.camera, "seconds": round(seconds, 2), "said": why}
                for number, screen in enumerate(screens)
                for seconds, why in screen.take_gaps()
            ]
            answer: object = said
        elif line.strip() == b"sessions":
            answer = [screen.session for screen in screens]
        else:
            totals = [screen.totals() for screen in screens]
            answer = {
                "packets": sum(packets for packets, _ in totals),
                "lost": sum(lost for _, lost in totals),
                "joins": sum(screen.joins for screen in screens),
                "moves": sum(screen.moves for screen in screens),
            }
        print(json.dumps(answer), flush=True)


async def main(url: str, count: int, cameras: list[str]) -> None:
    """Holds the viewers until stdin ends."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        wall = Wall(url, client)
        screens = [Screen(wall, cameras[number % len(cameras)]) for number in range(count)]
        tasks = [asyncio.ensure_future(screen.run()) for screen in screens]

        async def look() -> None:
            while True:
                for screen in screens:
                    screen.look()
                await asyncio.sleep(LOOK_S)

        tasks.append(asyncio.ensure_future(look()))
        try:
            while not all(screen.playing for screen in screens):
                await asyncio.sleep(LOOK_S)
            print("playing", flush=True)
            answering = asyncio.ensure_future(_answer(screens))
            done, _ = await asyncio.wait([answering, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class WallProcess:
    """The process, seen from a test."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def _ask(self, what: str) -> object:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{what}\n".encode())
        return json.loads(await self._process.stdout.readline())

    async def gaps(self) -> list[dict[str, object]]:
        """Every gap since the last call: `viewer`, `camera`, `seconds` and what the server `said`."""
        gaps = await self._ask("gaps")
        assert isinstance(gaps, list)
        return gaps

    async def sessions(self) -> list[str | None]:
        """The session of each viewer, by its number."""
        sessions = await self._ask("sessions")
        assert isinstance(sessions, list)
        return sessions

    async def totals(self) -> dict[str, int]:
        """`packets`, `lost`, `joins` and `moves` since the start."""
        totals = await self._ask("totals")
        assert isinstance(totals, dict)
        return totals


@contextlib.asynccontextmanager
async def wall(url: str, count: int, cameras: list[str]) -> AsyncIterator[WallProcess]:
    """`count` viewers that are all playing."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.wall", url, str(count), *cameras),
        cwd=PROJECT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 << 20,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(120):
            line = await process.stdout.readline()
        assert line == b"playing\n", line
        yield WallProcess(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


if __name__ == "__main__":
    sys.exit(lifecycle.run("wall", lambda: main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])))
