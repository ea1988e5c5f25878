"""Full ICE (RFC 8445): sockets, candidates and checks for each viewer; touches aioice's private names.

For where browsers cannot reach the worker's one port. The browser controls which pair is used. The private
names are the check list, the nominated pairs, the protocols and the remote candidates of aioice.Connection.
"""

import asyncio
import logging
import random
import secrets
import socket
from collections.abc import Coroutine, Iterable
from typing import cast

from aioice import Candidate, Connection, stun
from aioice.ice import CandidatePair, StunProtocol, candidate_pair_priority

from common.config import IceServer
from common.errors import LocalError
from fanout.ice.candidates import MAX_REMOTE_CANDIDATES, parse_candidate, parse_fragment
from fanout.ice.full_paths import RelayedPath, SocketPath, shown
from fanout.ice.gathering import COMPONENT, Gatherer
from fanout.ice.paths import Path
from fanout.ice.session import Receiver, RemoteIce
from fanout.ice.turn import Address, Allocation

log = logging.getLogger(__name__)

CONSENT_S = 15.0  # RFC 7675 section 5.1 allows 30
CONSENT_INTERVAL_S = 5.0
CONSENT_REPEATS = 2  # one lost check, or an answer after more than half a second, is no silence
SELECTED_SILENCE_S = 6.0
MAX_ROLE_CHANGES = 4
MAX_EARLY_RECORDS = 8


class _End(StunProtocol):
    """Our end of candidate pairs: a socket or a TURN allocation."""

    receiver: "_Connection"

    def __init__(self, connection: "_Connection", way: socket.socket | Allocation) -> None:
        super().__init__(connection)
        self._way = way
        self.heard: dict[Address, float] = {}
        "Loop time of the last authenticated check, by where from."

    def path(self, address: Address) -> Path:
        if isinstance(self._way, Allocation):
            return RelayedPath(self._way, address)
        return SocketPath(self._way, address)

    def datagram_received(self, data: bytes | str, addr: tuple[str, int]) -> None:
        session = self.receiver.session
        try:
            # IPv6 addresses come as four values.
            self._received(session, cast(bytes, data), addr[:2])
        except Exception:
            # Nothing that a stranger sends may be more than a rejected datagram; out of aioice's STUN parser
            # comes more than ValueError.
            session.agent.failed(addr)

    def _received(self, session: "FullSession", data: bytes, address: Address) -> None:
        first = data[0] if data else 255
        if first < 4:
            super().datagram_received(data, address)
        elif address not in self.heard or session.closed:
            session.agent.rejected += 1
        elif 20 <= first < 64:
            session.record(data)
        elif 128 <= first < 192:
            session.receiver.on_rtcp(data)
        else:
            session.agent.rejected += 1


class _Connection(Connection):
    """aioice's checks, with nomination, consent and limits of our own."""

    def __init__(self, session: "FullSession", remote: RemoteIce) -> None:
        super().__init__(
            ice_controlling=False,
            local_username=secrets.token_hex(4),
            local_password=secrets.token_hex(16),
        )
        self.remote_username = remote.ufrag
        self.remote_password = remote.password
        self.session = session
        self.consented_at = 0.0
        "Loop time of the last answer to one of our checks on the selected pair."
        self._loop = asyncio.get_running_loop()
        self._role_changes = 0

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ASYNC109
    ) -> list[Candidate]:
        """Called by `gather_candidates` with the machine's addresses, without loopback."""
        agent = self.session.agent
        return await agent.gatherer.gather(
            agent.addresses or addresses, self._protocols, lambda way: _End(self, way)
        )

    def data_received(self, data: bytes, component: int) -> None:
        """Takes what looks like STUN and is not."""
        self.session.agent.rejected += 1

    def protocol_lost(self, protocol: StunProtocol) -> None:
        """Nobody waits for data of a lost allocation here; consent runs out."""

    def respond_error(
        self, request: stun.Message, addr: Address, protocol: StunProtocol, error_code: tuple[int, str]
    ) -> None:
        """Answers a role conflict; whoever does not know the password is told nothing."""
        if error_code[0] == 487:
            super().respond_error(request, addr, protocol, error_code)
        else:
            self.session.agent.rejected += 1

    def switch_role(self, ice_controlling: bool) -> None:
        """A viewer that claims a conflict for ever would have us check for ever."""
        self._role_changes += 1
        if self._role_changes > MAX_ROLE_CHANGES:
            self.session.close()
        super().switch_role(ice_controlling)

    def check_incoming(self, message: stun.Message, addr: Address, protocol: StunProtocol) -> None:
        """Takes an authenticated check."""
        end = cast(_End, protocol)
        first = addr not in end.heard
        if first and len(end.heard) >= MAX_REMOTE_CANDIDATES:
            self._forget_oldest(end)
        end.heard[addr] = self._loop.time()
        pair = self._pair(end, addr)
        # What was sent before the viewer's first check may have ended at its NAT, so this one triggers a new
        # check (RFC 8445 section 7.3.1.4). aioice waits for the next repetition, and for ever where it gave
        # the check up because another pair was nominated first.
        if (
            pair is not None
            and pair.state is CandidatePair.State.IN_PROGRESS
            and pair.task is not None
            and (first or pair.task.done())
        ):
            pair.task.cancel()
            pair.task = None
            self.check_state(pair, CandidatePair.State.WAITING)
        super().check_incoming(message, addr, protocol)

    def _pair(self, end: _End, address: Address) -> CandidatePair | None:
        return next(
            (pair for pair in self._check_list if pair.protocol is end and pair.remote_addr == address), None
        )

    def _forget_oldest(self, end: _End) -> None:
        """A viewer whose address changes for ever takes no more memory for it."""
        selected = self._nominated.get(COMPONENT)
        address = min(
            (
                known
                for known in end.heard
                if selected is None or selected.protocol is not end or selected.remote_addr != known
            ),
            key=end.heard.__getitem__,
        )
        del end.heard[address]
        pair = self._pair(end, address)
        if pair is not None:
            if pair.task is not None:
                pair.task.cancel()
            self._check_list.remove(pair)
            if pair.remote_candidate in self._remote_candidates:
                self._remote_candidates.remove(pair.remote_candidate)

    def check_complete(self, pair: CandidatePair) -> None:
        """Takes a nomination; of several pairs the best one stays until it falls silent.

        Some browsers nominate every pair they check.
        """
        before = self._nominated.get(COMPONENT)
        super().check_complete(pair)
        after = self._nominated.get(COMPONENT)
        if after is None or after is before:
            return
        if before is not None and self._priority(after) < self._priority(before):
            heard_at = cast(_End, before.protocol).heard.get(before.remote_addr, 0.0)
            if self._loop.time() - heard_at < SELECTED_SILENCE_S:
                self._nominated[COMPONENT] = before
                return
        self.consented_at = self._loop.time()
        self.session.selected(cast(_End, after.protocol).path(after.remote_addr))

    def _priority(self, pair: CandidatePair) -> int:
        return candidate_pair_priority(pair.local_candidate, pair.remote_candidate, self.ice_controlling)

    async def query_consent(self) -> None:
        """Asks the viewer again and again whether it wants to be sent to (RFC 7675 section 5.1)."""
        assert self.remote_password is not None
        key = self.remote_password.encode()
        while True:
            await asyncio.sleep(CONSENT_INTERVAL_S * random.uniform(0.8, 1.2))
            pair = self._nominated[COMPONENT]
            request = self.build_request(pair, nominate=False)
            try:
                await pair.protocol.request(request, pair.remote_addr, key, CONSENT_REPEATS)
            except stun.TransactionError as exc:
                log.debug("%% no consent from %s: %s", shown(pair.remote_addr), exc)
            else:
                self.consented_at = self._loop.time()


class FullSession:
    """One viewer's ICE on our side."""

    def __init__(self, agent: "FullAgent", remote: RemoteIce, receiver: Receiver) -> None:
        self.agent = agent
        self.receiver = receiver
        self.path: Path | None = None
        self.candidates: tuple[str, ...] = ()
        self.closed = False
        self._remote = remote
        self._connection = _Connection(self, remote)
        self.ufrag = self._connection.local_username
        self.password = self._connection.local_password
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._early: list[bytes] = []

    async def gather(self) -> None:
        """Finds `candidates` and begins to check; raises LocalError when there is none."""
        await self._connection.gather_candidates()
        if self.closed:
            raise LocalError("the worker is stopping")
        found = self._connection.local_candidates
        if not found:
            raise LocalError("no address of this machine can be used for full ICE; the log says why")
        found.sort(key=lambda candidate: candidate.priority, reverse=True)
        self.candidates = tuple(f"candidate:{candidate.to_sdp()}" for candidate in found)
        self._add(filter(None, map(parse_candidate, self._remote.candidates)))
        self._start(self._check())

    async def _check(self) -> None:
        # aioice is never told of the end of candidates: it would fail at once where the browser has hidden
        # its addresses, before the browser's checks tell them. Checking ends with the viewer's deadline.
        try:
            await self._connection.connect()
        except ConnectionError as exc:
            log.debug("! full ICE: %s", exc)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def add_candidates(self, sdp_fragment: str) -> None:
        """Takes trickled candidates (RFC 8840); raises ViewerError when it is far too much text."""
        self._add(parse_fragment(sdp_fragment, self._remote.ufrag))

    def _add(self, candidates: Iterable[Candidate]) -> None:
        known = len(self._connection.remote_candidates) + len(self._tasks)
        for candidate, _ in zip(candidates, range(known, MAX_REMOTE_CANDIDATES), strict=False):
            self._start(self._add_one(candidate))

    async def _add_one(self, candidate: Candidate) -> None:
        try:
            await self._connection.add_remote_candidate(candidate)
        except OSError as exc:
            log.debug("! full ICE: multicast DNS cannot be used: %s", exc.strerror)

    def selected(self, path: Path) -> None:
        """Told by the checks which pair the browser wants."""
        if self.closed:
            return
        self.path = path
        self.receiver.on_path(path)
        early, self._early = self._early, []
        for record in early:
            self.receiver.on_record(record)

    def record(self, data: bytes) -> None:
        """Takes DTLS from an address that was checked."""
        if self.path is not None:
            self.receiver.on_record(data)
        elif len(self._early) < MAX_EARLY_RECORDS:
            # The browser's first flight overtakes its answer to our check; unanswered it costs a second.
            self._early.append(data)

    def has_consent(self) -> bool:
        """False when no check of ours was answered for CONSENT_S, which are sent from the first path on."""
        return not self.closed and self._loop.time() - self._connection.consented_at < CONSENT_S

    def close(self) -> None:
        """Frees sockets and allocation in the background; the agent waits for it."""
        if not self.closed:
            self.closed = True
            self.agent.release(self)

    async def release(self) -> None:
        """Ends checks, sockets and allocation."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._connection.close()


class FullAgent:
    """Opens sessions over sockets of their own, with candidates of STUN and TURN servers."""

    lite = False

    def __init__(self, servers: tuple[IceServer, ...], addresses: tuple[str, ...] = ()) -> None:
        """`addresses` are those of this machine to use; none: all but loopback."""
        self.gatherer = Gatherer(servers)
        self.addresses = list(addresses)
        self.rejected = 0
        "Datagrams dropped: not WebRTC, not authentic, or from nobody known."
        self._sessions: set[FullSession] = set()
        self._releases: set[asyncio.Task[None]] = set()
        self._failed = False

    async def open(self, remote: RemoteIce, receiver: Receiver) -> FullSession:
        """A session with its candidates gathered, in GATHERING_S at most; raises LocalError without any."""
        session = FullSession(self, remote, receiver)
        self._sessions.add(session)
        try:
            await session.gather()
        except BaseException:
            session.closed = True
            self.release(session)
            raise
        return session

    def failed(self, address: Address) -> None:
        """Counts a datagram that something failed over; called while the exception is handled."""
        self.rejected += 1
        if not self._failed:
            self._failed = True
            log.exception("! a datagram from %s failed; further ones are only counted", shown(address[:2]))

    def release(self, session: FullSession) -> None:
        """Lets a closed session free what it has."""
        self._sessions.discard(session)
        task = asyncio.create_task(session.release())
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def close(self) -> None:
        """Ends all sessions; returns when their sockets and allocations are freed."""
        for session in tuple(self._sessions):
            session.close()
        await asyncio.gather(*self._releases)
        self.gatherer.close()
