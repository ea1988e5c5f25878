"""A bad network between a viewer and a worker's media port, in a process of its own.

    async with media_relay(worker_port, to_viewer=Weather(delay_s=0.04)) as relay:
        await viewer.connect(redirected(answer, relay.port))          # a Viewer(nat=True)
        await page.add_init_script(redirect_script(relay.port))       # or Chromium
        await relay.set(to_viewer=Weather(rate_bps=300_000, queue_s=0.5))

All clients share the one link, as the viewers behind one uplink do; each has a port of its own towards the
worker, and with `rebind` a new one, as behind a NAT that forgot them. Commands are lines of JSON on standard
input, `{"to_viewer": {"loss": 0.1}}` or `{"rebind": {}}`; each is answered by a line with the counts of both
directions since the one before.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import select
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from tests.support.processes import PROJECT, STOP_DEADLINE_S

HOST = "127.0.0.1"
MAX_CLIENTS = 256
_DATAGRAM = 1 << 16
_BUFFER = 4 << 20
_READ_BATCH = 64


def redirected(sdp: str, port: int) -> str:
    """An answer whose candidates lead to `port`, UDP alone; its viewer has to be one behind a NAT."""
    sdp = re.sub(r"a=candidate:\S+ \d+ tcp [^\r\n]*\r\n", "", sdp, flags=re.IGNORECASE)
    return re.sub(r"(a=candidate:\S+ \d+ udp \d+ \S+ )\d+", rf"\g<1>{port}", sdp, flags=re.IGNORECASE)


def redirect_script(port: int) -> str:
    """The same for a page of a browser: to be run before the page's own scripts."""
    return (
        """(() => {
    const original = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function (description) {
        const sdp = description.sdp
            .replace(/a=candidate:\\S+ \\d+ tcp [^\\r\\n]*\\r\\n/gi, '')
            .replace(/(a=candidate:\\S+ \\d+ udp \\d+ \\S+ )\\d+/gi, '$1PORT');
        return original.call(this, { type: description.type, sdp });
    };
})();"""
    ).replace("PORT", str(port))


@dataclass(frozen=True, slots=True)
class Weather:
    """One direction of the link."""

    loss: float = 0.0
    "Share of datagrams, 0 to 1."
    delay_s: float = 0.0
    jitter_s: float = 0.0
    "Up to so much more, each datagram by itself; none overtakes another."
    rate_bps: float | None = None
    "Bits of UDP payload per second; None: no bound."
    queue_s: float = 0.5
    "A datagram that would wait longer for its turn is dropped (drop-tail)."
    queue_octets: int | None = None
    "A bound of what waits, in octets; the tighter one counts."


@dataclass(slots=True)
class Counts:
    """What happened to the datagrams of one direction."""

    passed: int = 0
    octets: int = 0
    lost: int = 0
    "By `Weather.loss`."
    dropped: int = 0
    "By the full queue."


class Link:
    """One direction as arithmetic, without sockets and clock: datagrams in by `put`, out by `due`."""

    def __init__(self, weather: Weather, seed: int) -> None:
        self.weather = weather
        self.counts = Counts()
        self._random = random.Random(seed)
        self._queue: deque[tuple[bytes, object]] = deque()
        self._queued_octets = 0
        self._free_at = 0.0
        "When the datagram in front has been sent, or the last one was."
        self._flying: deque[tuple[float, bytes, object]] = deque()
        self._last_landing = 0.0

    def put(self, data: bytes, way: object, now_s: float) -> None:
        """Takes a datagram for `way`."""
        weather = self.weather
        if self._random.random() < weather.loss:
            self.counts.lost += 1
        elif weather.rate_bps is None and not self._queue:
            self._fly(data, way, now_s)
        elif self._is_full(weather):
            self.counts.dropped += 1
        else:
            if not self._queue:
                self._free_at = max(self._free_at, now_s) + self._duration(data)
            self._queue.append((data, way))
            self._queued_octets += len(data)

    def _is_full(self, weather: Weather) -> bool:
        if weather.queue_octets is not None and self._queued_octets >= weather.queue_octets:
            return True
        return weather.rate_bps is not None and self._queued_octets * 8 / weather.rate_bps >= weather.queue_s

    def _duration(self, data: bytes) -> float:
        rate = self.weather.rate_bps
        return len(data) * 8 / rate if rate else 0.0

    def _fly(self, data: bytes, way: object, sent_s: float) -> None:
        weather = self.weather
        landing = sent_s + weather.delay_s
        if weather.jitter_s:
            landing += self._random.uniform(0, weather.jitter_s)
        self._last_landing = max(self._last_landing, landing)
        self._flying.append((self._last_landing, data, way))

    def _serve(self, now_s: float) -> None:
        while self._queue and self._free_at <= now_s:
            data, way = self._queue.popleft()
            self._queued_octets -= len(data)
            self._fly(data, way, self._free_at)
            if self._queue:
                self._free_at += self._duration(self._queue[0][0])

    def due(self, now_s: float) -> list[tuple[bytes, object]]:
        """The datagrams that have arrived."""
        self._serve(now_s)
        arrived = []
        while self._flying and self._flying[0][0] <= now_s:
            _, data, way = self._flying.popleft()
            self.counts.passed += 1
            self.counts.octets += len(data)
            arrived.append((data, way))
        return arrived

    def next_s(self) -> float | None:
        """When `due` has something next; None when nothing is under way."""
        times = [self._flying[0][0]] if self._flying else []
        if self._queue:
            times.append(self._free_at)
        return min(times, default=None)


class Relay:
    """The process: one thread that waits with microseconds, which an event loop does not (1 ms of epoll)."""

    def __init__(self, worker_port: int, seed: int) -> None:
        self._worker = (HOST, worker_port)
        self._front = self._socket()
        self._front.bind((HOST, 0))
        self._behind: dict[tuple[str, int], socket.socket] = {}
        self._clients: dict[socket.socket, tuple[str, int]] = {}
        self.links = {
            "to_viewer": Link(Weather(), 2 * seed),
            "to_worker": Link(Weather(), 2 * seed + 1),
        }

    @staticmethod
    def _socket() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        return sock

    @property
    def port(self) -> int:
        port: int = self._front.getsockname()[1]
        return port

    def run(self) -> None:
        """Relays until standard input ends."""
        commands = b""
        while True:
            times = [time_s for link in self.links.values() if (time_s := link.next_s()) is not None]
            wait_s = max(0.0, min(times) - time.monotonic()) if times else None
            readable, _, _ = select.select([0, self._front, *self._clients], [], [], wait_s)
            if 0 in readable:
                read = os.read(0, 1 << 16)
                if not read:
                    return
                *lines, commands = (commands + read).split(b"\n")
                for line in lines:
                    print(json.dumps(self.command(json.loads(line))), flush=True)
            for sock in readable:
                if sock != 0:
                    self._read(sock)
            self._deliver()

    def command(self, wanted: dict[str, dict[str, Any]]) -> dict[str, object]:
        """Sets what is named, gives the counts since the last command."""
        counts = {}
        for name, link in self.links.items():
            counts[name] = asdict(link.counts)
            link.counts = Counts()
            if name in wanted:
                link.weather = Weather(**wanted[name])
        if "rebind" in wanted:
            self._rebind()
        return counts

    def _rebind(self) -> None:
        for behind in self._clients:
            behind.close()
        clients = list(self._behind)
        self._behind.clear()
        self._clients.clear()
        for client in clients:
            self._open(client)

    def _read(self, sock: socket.socket) -> None:
        for _ in range(_READ_BATCH):
            try:
                data, address = sock.recvfrom(_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # a port that is closed by now, told by ICMP
                continue
            now = time.monotonic()
            if sock is self._front:
                behind = self._behind.get(address) or self._open(address)
                self.links["to_worker"].put(data, behind, now)
            else:
                self.links["to_viewer"].put(data, self._clients[sock], now)

    def _open(self, client: tuple[str, int]) -> socket.socket:
        if len(self._behind) == MAX_CLIENTS:
            oldest = next(iter(self._behind))
            gone = self._behind.pop(oldest)
            del self._clients[gone]
            gone.close()
        sock = self._behind[client] = self._socket()
        sock.connect(self._worker)
        self._clients[sock] = client
        return sock

    def _deliver(self) -> None:
        now = time.monotonic()
        for data, client in self.links["to_viewer"].due(now):
            with contextlib.suppress(OSError):
                self._front.sendto(data, client)
        for data, behind in self.links["to_worker"].due(now):
            with contextlib.suppress(OSError):
                behind.send(data)


class RunningRelay:
    """A relay as a test has it; viewers connect to `port`."""

    def __init__(self, process: Process, port: int) -> None:
        self._process = process
        self.port = port

    async def set(self, **directions: Weather) -> dict[str, Counts]:
        """Changes `to_viewer`, `to_worker` or both; gives the counts since the last call."""
        return await self._ask({name: asdict(weather) for name, weather in directions.items()})

    async def rebind(self) -> dict[str, Counts]:
        """Gives every client a new port towards the worker; gives the counts since the last call."""
        return await self._ask({"rebind": {}})

    async def _ask(self, command: dict[str, dict[str, Any]]) -> dict[str, Counts]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        answer = json.loads(await self._process.stdout.readline())
        return {name: Counts(**counts) for name, counts in answer.items()}

    async def counts(self) -> dict[str, Counts]:
        """What was relayed since the last call of `set` or this."""
        return await self.set()


@contextlib.asynccontextmanager
async def media_relay(
    worker_port: int,
    *,
    to_viewer: Weather | None = None,
    to_worker: Weather | None = None,
    seed: int = 1,
) -> AsyncIterator[RunningRelay]:
    """A relay in front of a worker's UDP port on 127.0.0.1 until the block ends."""
    arguments = ("-m", "tests.support.media_relay", str(worker_port), str(seed))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE, cwd=PROJECT
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        relay = RunningRelay(process, int(await process.stdout.readline()))
        await relay.set(to_viewer=to_viewer or Weather(), to_worker=to_worker or Weather())
        yield relay
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_DEADLINE_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def main() -> int:
    """`python -m tests.support.media_relay WORKER_PORT SEED`: prints its port, then answers commands."""
    with contextlib.suppress(PermissionError):
        os.nice(-10)  # delays are to be what was asked for, whatever else runs
    relay = Relay(int(sys.argv[1]), int(sys.argv[2]))
    print(relay.port, flush=True)
    relay.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
