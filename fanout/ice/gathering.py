"""Local candidates of full ICE (RFC 8445 section 5.1): own sockets, and what STUN and TURN servers add."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from aioice import Candidate, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol

from common.config import IceServer
from common.errors import LocalError
from fanout.ice.turn import Address, Allocation, allocate

log = logging.getLogger(__name__)

GATHERING_S = 1.0  # signaling waits 2 s for an answer
STRAGGLERS_S = 0.05  # for further answers, once each server has given one
LOOKUP_INTERVAL_S = 10.0
SAYING_INTERVAL_S = 60.0
COMPONENT = 1  # RTP and RTCP share it (RFC 5761)

_REFUSALS = {
    401: "refuses user name or password",
    486: "refuses further allocations of this user",
    508: "has no capacity left",
}


@dataclass(slots=True)
class _Lookup:
    task: asyncio.Task[list[str]]
    begun_at: float


class Gatherer:
    """Gathers for every viewer of a worker; says what fails once in SAYING_INTERVAL_S."""

    def __init__(self, servers: tuple[IceServer, ...]) -> None:
        self._servers = servers
        self._loop = asyncio.get_running_loop()
        self._lookups: dict[str, _Lookup] = {}
        self._said_at: dict[str, float] = {}

    async def gather(
        self,
        addresses: list[str],
        ends: list[StunProtocol],
        new_end: Callable[[socket.socket | Allocation], StunProtocol],
    ) -> list[Candidate]:
        """Opens a socket on each address and asks the servers, GATHERING_S at most.

        What was made by `new_end` is put into `ends`, each with its candidate, and is the caller's to close,
        also when this is cancelled.
        """
        for address in addresses:
            await self._open_socket(address, ends, new_end)
        sockets = list(ends)
        asked: dict[asyncio.Task[Candidate], IceServer] = {}
        for server in self._servers:
            if server.kind == "turn":
                asked[asyncio.create_task(self._relayed(server, ends, new_end))] = server
            else:
                for rank, end in enumerate(sockets):
                    asked[asyncio.create_task(self._reflexive(server, end, rank))] = server
        try:
            await _until_answered(asked)
        finally:
            for task in asked:
                task.cancel()
            if asked:
                await asyncio.wait(asked)
        for server in self._servers:
            self._say_failure(server, [task for task, of in asked.items() if of is server])
        # Where there is no NAT, the reflexive one is the socket's own (RFC 8445 section 5.1.3).
        found = {_address(end.local_candidate): end.local_candidate for end in sockets}
        for task in filter(_succeeded, asked):
            found.setdefault(_address(task.result()), task.result())
        return list(found.values())

    async def _open_socket(
        self, address: str, ends: list[StunProtocol], new_end: Callable[[socket.socket], StunProtocol]
    ) -> None:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.bind((address, 0))
        except OSError as exc:
            sock.close()
            self._say(f"address {address} cannot be used: {exc.strerror}")
            return
        end = new_end(sock)
        end.local_candidate = _candidate("host", sock.getsockname()[:2], len(ends))
        await self._loop.create_datagram_endpoint(lambda: end, sock=sock)
        ends.append(end)

    async def _reflexive(self, server: IceServer, end: StunProtocol, rank: int) -> Candidate:
        """What the STUN server sees of one of our sockets."""
        base = _address(end.local_candidate)
        address = await self._look_up(server, lambda host: _may_reach(base[0], host))
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        response, _ = await end.request(request, address)
        return _candidate("srflx", response.attributes["XOR-MAPPED-ADDRESS"], rank, base)

    async def _relayed(
        self, server: IceServer, ends: list[StunProtocol], new_end: Callable[[Allocation], StunProtocol]
    ) -> Candidate:
        allocation = await allocate(server, await self._look_up(server, lambda host: True))
        end = new_end(allocation)
        end.local_candidate = _candidate("relay", allocation.relayed, 0, allocation.mapped)
        ends.append(end)
        allocation.receive(end)
        return end.local_candidate

    async def _look_up(self, server: IceServer, usable: Callable[[str], bool]) -> Address:
        """The server's first usable address; all viewers share one look-up."""
        lookup = self._lookups.get(server.host)
        now = self._loop.time()
        if lookup is None or (lookup.task.done() and now - lookup.begun_at > LOOKUP_INTERVAL_S):
            lookup = _Lookup(self._loop.create_task(_addresses_of(server.host)), now)
            self._lookups[server.host] = lookup
        hosts = [host for host in await asyncio.shield(lookup.task) if usable(host)]
        if not hosts:
            raise LocalError("cannot be asked from any address of this machine")
        return hosts[0], server.port

    def _say_failure(self, server: IceServer, asked: list[asyncio.Task[Candidate]]) -> None:
        if any(map(_succeeded, asked)):
            return
        # Of several reasons the one that a server or the system gave.
        reasons = [_reason(exc) for task in asked if not task.cancelled() and (exc := task.exception())]
        silent = f"gave no answer within {GATHERING_S:g} s" if asked else "cannot be asked: no socket"
        self._say(f"{server.url} {reasons[0] if reasons else silent}; viewers do without it")

    def _say(self, problem: str) -> None:
        now = self._loop.time()
        if now - self._said_at.get(problem, -SAYING_INTERVAL_S) >= SAYING_INTERVAL_S:
            self._said_at[problem] = now
            log.warning("! full ICE: %s", problem)

    def close(self) -> None:
        """Ends look-ups that are under way."""
        for lookup in self._lookups.values():
            lookup.task.cancel()


async def _addresses_of(host: str) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return [str(entry[4][0]) for entry in found]


def _may_reach(base: str, host: str) -> bool:
    ours, theirs = ipaddress.ip_address(base), ipaddress.ip_address(host)
    return ours.version == theirs.version and ours.is_loopback == theirs.is_loopback


async def _until_answered(asked: dict[asyncio.Task[Candidate], IceServer]) -> None:
    """Waits GATHERING_S at most; not for much more when each server has given an answer."""
    loop = asyncio.get_running_loop()
    until = loop.time() + GATHERING_S
    pending = set(asked)
    answered: set[IceServer] = set()
    while pending and (left := until - loop.time()) > 0:
        done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        answered |= {asked[task] for task in filter(_succeeded, done)}
        if answered.issuperset(asked[task] for task in pending):
            until = min(until, loop.time() + STRAGGLERS_S)


def _succeeded(task: asyncio.Task[Candidate]) -> bool:
    return not task.cancelled() and task.exception() is None


def _reason(exc: BaseException) -> str:
    match exc:
        case stun.TransactionFailed(response=stun.Message(error_code=int(code))):
            return _REFUSALS.get(code, f"refuses with error {code}")
        case stun.TransactionTimeout():
            return "gave no answer"
        case socket.gaierror():
            return "has a name that is not found"
        case OSError(strerror=str(text)):
            return f"cannot be reached: {text}"
        case LocalError():
            return str(exc)
        case _:
            return f"gave an answer that cannot be used ({type(exc).__name__})"


def _address(candidate: Candidate) -> Address:
    return candidate.host, candidate.port


def _candidate(kind: str, address: Address, rank: int, related: Address | None = None) -> Candidate:
    """`rank` is the local address's place among ours, the best first; `related` see RFC 8839 section 5.1."""
    return Candidate(
        foundation=candidate_foundation(kind, "udp", (related or address)[0]),
        component=COMPONENT,
        transport="udp",
        priority=candidate_priority(COMPONENT, kind, 65_535 - rank),
        host=address[0],
        port=address[1],
        type=kind,
        related_address=related[0] if related else None,
        related_port=related[1] if related else None,
    )
