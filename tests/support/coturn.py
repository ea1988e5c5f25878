"""coturn as STUN and TURN server on loopback (Debian's package `coturn`), and a NAT before it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from common.config import IceServer
from tests.support.ports import free_media_ports
from tests.support.processes import until_listening

PROGRAM = "/usr/bin/turnserver"
HOST = "127.0.0.1"
USERNAME = "cctv"
PASSWORD = "s3cret"
RELAY_PORTS = 20


@contextlib.asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[int]:
    """Runs it with USERNAME and PASSWORD, its files in `folder`; gives the port, which takes UDP and TCP."""
    port = free_media_ports(1 + RELAY_PORTS)
    options = (
        *("-n", "--no-tls", "--no-dtls", "--no-cli", "--no-multicast-peers", "--simple-log"),
        *(f"--listening-ip={HOST}", f"--listening-port={port}"),
        *(f"--relay-ip={HOST}", f"--min-port={port + 1}", f"--max-port={port + RELAY_PORTS}"),
        *("--lt-cred-mech", f"--user={USERNAME}:{PASSWORD}", "--realm=example.org", "--allow-loopback-peers"),
        *(f"--db={folder / 'turndb'}", f"--pidfile={folder / 'pid'}", f"--log-file={folder / 'log'}"),
    )
    async with until_listening(port, PROGRAM, *options):
        yield port


def stun(port: int) -> IceServer:
    """As the configuration names it."""
    return IceServer("stun", HOST, port)


def turn(port: int, transport: str = "udp", password: str = PASSWORD) -> IceServer:
    """As the configuration names it."""
    return IceServer("turn", HOST, port, "tcp" if transport == "tcp" else "udp", USERNAME, password)


class Nat(asyncio.DatagramProtocol):
    """Sends what it gets on `port` to the server from another port, and the answers back."""

    def __init__(self, server: int) -> None:
        self.passes = True
        self.client: tuple[str, int] | None = None
        self.port = 0
        self._server = (HOST, server)
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if address != self._server:
            self.client = address
            if self.passes:
                self._outside.sendto(data, self._server)

    def inject(self, data: bytes) -> None:
        """Sends to the client as if from the server."""
        self._transport.sendto(data, self.client)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(HOST, 0))
        nat = self

        class Outside(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
                if nat.passes:
                    nat.inject(data)

        self._outside, _ = await loop.create_datagram_endpoint(Outside, local_addr=(HOST, 0))

    @property
    def mapped(self) -> tuple[str, int]:
        """What the server sees of the client."""
        return self._outside.get_extra_info("sockname")

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, server: int) -> AsyncIterator["Nat"]:
        """A NAT with one client before a port of loopback; `passes` may be set to False."""
        nat = cls(server)
        await nat._open()
        try:
            yield nat
        finally:
            nat._transport.close()
            nat._outside.close()
