"""A bad network between a camera and us: RTSP passes, its UDP packets get lost, late and out of order.

    async with udp_relay(camera_port, Weather(loss=0.01, jitter_s=0.05)) as relay:
        … dial rtsp://127.0.0.1:{relay.port}/path …

The ports in the Transport headers become the relay's, so that RTP and RTCP flow through it.
"""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

HOST = "127.0.0.1"
LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to packets from the camera; those to it pass unharmed."""

    loss: float = 0.0
    "Share of packets."
    delay_s: float = 0.0
    jitter_s: float = 0.0
    "Up to so much more, each packet by itself: they overtake each other."
    seed: int = 1


class _Port(asyncio.DatagramProtocol):
    """A UDP socket of the relay."""

    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport | None = None
        self.peer: tuple[str, int] | None = None
        "Where it sends to."
        self.on_datagram: Callable[[bytes], None] = lambda data: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.on_datagram(data)

    def send(self, data: bytes) -> None:
        if self.peer is not None and not self.transport.is_closing():
            self.transport.sendto(data, self.peer)

    @property
    def number(self) -> int:
        return self.transport.get_extra_info("sockname")[1]


@dataclass(slots=True)
class Relay:
    """`port` speaks RTSP."""

    camera_port: int
    weather: Weather
    port: int = 0
    passed: int = 0
    lost: int = 0
    from_client: list[bytes] = field(default_factory=list)
    "Every datagram of the client, RTP ports and RTCP ports alike."
    _random: random.Random = field(default_factory=random.Random)
    _ports: list[_Port] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        camera_reader, camera_writer = await asyncio.open_connection(HOST, self.camera_port, limit=LIMIT)
        # Pairs of ports in the order of the SETUP requests that wait for their answers.
        asked: list[_Asked] = []
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pump(reader, camera_writer, lambda head: self._asks(head, asked)))
                    group.create_task(_pump(camera_reader, writer, lambda head: self._answers(head, asked)))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            camera_writer.close()

    async def _asks(self, head: bytes, asked: "list[_Asked]") -> bytes:
        match = re.search(rb"client_port=(\d+)-(\d+)", head)
        if match is None:
            return head
        pair = [(await self._port(), await self._port()) for _ in range(2)]
        for (to_camera, to_client), client_port in zip(pair, match.groups(), strict=True):
            to_client.peer = (HOST, int(client_port))
            to_camera.on_datagram = lambda data, way=to_client: self._from_camera(data, way)
            to_client.on_datagram = lambda data, way=to_camera: self._from_client(data, way)
        asked.append(_Asked(pair, match[0]))
        ports = b"client_port=%d-%d" % tuple(to_camera.number for to_camera, _ in pair)
        return head.replace(match[0], ports)

    async def _answers(self, head: bytes, asked: "list[_Asked]") -> bytes:
        match = re.search(rb"server_port=(\d+)-(\d+)", head)
        if match is None:
            return head
        setup = asked.pop(0)
        for (to_camera, _), server_port in zip(setup.pair, match.groups(), strict=True):
            to_camera.peer = (HOST, int(server_port))
        ports = b"server_port=%d-%d" % tuple(to_client.number for _, to_client in setup.pair)
        return re.sub(rb"client_port=\d+-\d+", setup.client_ports, head.replace(match[0], ports))

    async def _port(self) -> _Port:
        loop = asyncio.get_running_loop()
        _, port = await loop.create_datagram_endpoint(_Port, local_addr=(HOST, 0))
        self._ports.append(port)
        return port

    def _from_camera(self, data: bytes, way: _Port) -> None:
        weather = self.weather
        if self._random.random() < weather.loss:
            self.lost += 1
            return
        self.passed += 1
        delay = weather.delay_s + self._random.uniform(0, weather.jitter_s)
        if delay:
            asyncio.get_running_loop().call_later(delay, way.send, data)
        else:
            way.send(data)

    def _from_client(self, data: bytes, way: _Port) -> None:
        self.from_client.append(data)
        way.send(data)

    def close(self) -> None:
        for port in self._ports:
            port.transport.close()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A SETUP: for RTP and RTCP the port towards the camera and the one towards the client."""

    pair: list[tuple[_Port, _Port]]
    client_ports: bytes


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rewrite) -> None:
    """Passes messages and interleaved frames on, with the heads of messages rewritten."""
    while True:
        first = await reader.readexactly(1)
        if first == b"$":
            rest = await reader.readexactly(3)
            writer.write(first + rest + await reader.readexactly(int.from_bytes(rest[1:], "big")))
        else:
            head = first + await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1])) if length else b""
            writer.write(await rewrite(head) + body)
        await writer.drain()


@contextlib.asynccontextmanager
async def udp_relay(camera_port: int, weather: Weather) -> AsyncIterator[Relay]:
    """Relays to a camera on 127.0.0.1 until the block ends."""
    relay = Relay(camera_port, weather)
    relay._random.seed(weather.seed)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(relay.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, HOST, 0, limit=LIMIT)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        left = list(tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        relay.close()
