"""A TURN allocation as a datagram transport (RFC 8656), over aioice's TURN client.

aioice's own transport makes a task of each datagram, renews a channel once for each datagram while that is
due, and does so later (500 s) than the permission lasts that comes with it (300 s, RFC 8656 section 9).
Touches the client's private `_send`.
"""

import asyncio
import logging
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aioice import stun
from aioice.turn import (
    DEFAULT_ALLOCATION_LIFETIME,
    TurnClientProtocol,
    TurnClientTcpProtocol,
    TurnClientUdpProtocol,
)

from common.config import IceServer

log = logging.getLogger(__name__)

Address = tuple[str, int]

RENEWAL_S = 180  # leaves the 63 s that a request may take, of the 300 s of a permission
CLOSING_S = 1.0
MAX_PEERS = 64
MAX_HELD = 32  # datagrams to a peer while its channel is being bound
_FIRST_CHANNEL = 0x4000  # RFC 8656 section 12
_CHANNEL_DATA = struct.Struct("!HH")


class _UdpClient(TurnClientUdpProtocol):
    def datagram_received(self, data: bytes | str, addr: Address) -> None:
        _guarded(super().datagram_received, data, addr)


class _TcpClient(TurnClientTcpProtocol):
    def datagram_received(self, data: bytes | str, addr: Address) -> None:
        _guarded(super().datagram_received, data, addr)


def _guarded(received: Any, data: bytes | str, addr: Address) -> None:
    try:
        received(data, addr)
    except Exception as exc:
        # Not only ValueError comes out of aioice's STUN parser.
        log.debug("! TURN server %s:%d: unreadable message (%s)", *addr[:2], type(exc).__name__)


@dataclass(eq=False, slots=True)
class _Peer:
    """Somebody who is sent to through a channel of the allocation."""

    channel: int
    held: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_HELD))
    bound: bool = False
    binding: asyncio.Task[None] | None = None


class Allocation(asyncio.DatagramTransport):
    """Sends from a relayed address; what comes back goes to the protocol given to `receive`."""

    def __init__(self, client: TurnClientProtocol, relayed: Address) -> None:
        super().__init__()
        assert client.mapped_address is not None, "aioice checks the answer for it"
        self._client = client
        self._peers: dict[Address, _Peer] = {}
        self._release: asyncio.Task[None] | None = None
        self.relayed = relayed
        self.mapped = client.mapped_address
        "Our own address as the server sees it."

    def receive(self, protocol: asyncio.DatagramProtocol) -> None:
        """Hands received datagrams to a protocol, and the end of the allocation."""
        self._client.receiver = protocol
        protocol.connection_made(self)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Sends to a peer; the first datagrams wait for its channel."""
        peer = self._peers.get(addr)
        if peer is not None and peer.bound:
            if not self.is_closing():
                self._client._send(_CHANNEL_DATA.pack(peer.channel, len(data)) + data)
            return
        if self.is_closing():
            return
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                return
            peer = self._peers[addr] = _Peer(_FIRST_CHANNEL + len(self._peers))
        peer.held.append(data)
        if peer.binding is None or peer.binding.done():
            peer.binding = asyncio.create_task(self._keep_bound(peer, addr))

    async def _keep_bound(self, peer: _Peer, address: Address) -> None:
        """Binds the channel and renews it, and so the permission, until the server refuses."""
        client = self._client
        while True:
            try:
                await client.channel_bind(peer.channel, address)
            except stun.TransactionError as exc:
                # Whatever is sent next tries again.
                log.debug("! TURN: no channel to %s:%d: %s", *address, exc)
                peer.bound = False
                peer.held.clear()
                return
            client.channel_to_peer[peer.channel] = address
            client.peer_to_channel[address] = peer.channel
            peer.bound = True
            while peer.held:
                self.sendto(peer.held.popleft(), address)
            await asyncio.sleep(RENEWAL_S)

    def get_write_buffer_size(self) -> int:
        """Octets that wait for the way to the TURN server."""
        transport = self._client.transport
        # Both of asyncio's kinds of transport have it, typeshed gives it to one.
        return transport.get_write_buffer_size()  # type: ignore[union-attr]

    def is_closing(self) -> bool:
        return self._release is not None or self._client.transport.is_closing()

    def close(self) -> None:
        """Gives the allocation back, for CLOSING_S at most; then the protocol is told."""
        if self._release is None:
            self._release = asyncio.create_task(self._give_back())

    def abort(self) -> None:
        """Closes without telling the server."""
        self._client.transport.abort()

    async def _give_back(self) -> None:
        bindings = [peer.binding for peer in self._peers.values() if peer.binding is not None]
        for binding in bindings:
            binding.cancel()
        try:
            async with asyncio.timeout(CLOSING_S):
                await self._client.delete()
        except TimeoutError:
            log.debug("! TURN: the allocation is not given back, the server is silent")
        finally:
            # A TCP connection with a silent server would wait for it.
            self.abort()


async def allocate(server: IceServer, address: Address) -> Allocation:
    """Asks a TURN server at an address for an allocation.

    Raises `stun.TransactionError` or OSError; it takes as long as the server takes, at most a minute.
    """
    loop = asyncio.get_running_loop()
    login = (server.username, server.password)
    lifetime = DEFAULT_ALLOCATION_LIFETIME
    client: TurnClientProtocol
    if server.transport == "tcp":
        _, client = await loop.create_connection(
            lambda: _TcpClient(address, *login, lifetime, RENEWAL_S), *address
        )
    else:
        _, client = await loop.create_datagram_endpoint(
            lambda: _UdpClient(address, *login, lifetime, RENEWAL_S), remote_addr=address
        )
    try:
        return Allocation(client, await client.connect())
    except BaseException:
        client.transport.abort()
        raise
