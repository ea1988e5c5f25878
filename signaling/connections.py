"""Who is connected over TCP and waits, and who has to go, so that idle connections lock nobody out. [P]

A connection is *new* until its first request is there whole, TLS handshake included; then *busy* while it is
answered, *kept* after that, and *new* again with the first octet of the next request. New ones have
`HEAD_S`, however slowly octets come (slow-loris), kept ones `KEEP_ALIVE_S`. Where there are too many, the one
that has waited longest goes, of the new or the kept ones, whichever are more: neither drive the others out.
Busy ones have limits of their own and are never ended here.
"""

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Literal

HEAD_S = 10.0
KEEP_ALIVE_S = 75.0
"Longer than the 60 s that reverse proxies keep theirs."
MAX_IDLE = 2048
MAX_IDLE_OF_ADDRESS = 256
"A browser opens six at most."
MAX_CONNECTIONS = 8192

State = Literal["new", "busy", "kept", "ended"]


def network(address: str) -> str:
    """Whom an address counts for: a host of IPv6 has a whole /64 (RFC 6177)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class Connection:
    """One connection; `end` is called when it has to go."""

    __slots__ = ("_connections", "_end", "address", "network", "state")

    def __init__(self, connections: "Connections", address: str, end: Callable[[], None]) -> None:
        self._connections = connections
        self._end = end
        self.address = address
        self.network = network(address)
        self.state: State = "ended"
        "Until it is admitted."

    def received(self, now: Callable[[], float]) -> None:
        """Octets came; the clock is only asked when they begin a request."""
        if self.state == "kept":
            self._connections.move(self, "new", now())

    def requested(self, now_s: float) -> None:
        """A whole request is there."""
        self._connections.move(self, "busy", now_s)

    def answered(self, now_s: float) -> None:
        """It has its answer."""
        if self.state == "busy":
            self._connections.move(self, "kept", now_s)

    def closed(self) -> None:
        """The connection is no more, whoever ended it."""
        self._connections.forget(self)

    def end(self) -> None:
        """Ends it at once."""
        self._connections.forget(self)
        self._end()


class Connections:
    """All connections of a listener, `most` at a time."""

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self.unlimited: Callable[[str], bool] = lambda address: False
        "Which addresses stand for many clients: the trusted proxies."
        self._most = most
        self._waiting: dict[State, OrderedDict[Connection, float]] = {
            "new": OrderedDict(),
            "kept": OrderedDict(),
        }
        "Since when; the longest first."
        self._idle: dict[str, OrderedDict[Connection, None]] = {}
        "By network, the longest first."
        self._of_network: Counter[str] = Counter()
        self.count = 0

    @property
    def idle(self) -> int:
        """Those that wait."""
        return sum(len(waiting) for waiting in self._waiting.values())

    def admit(self, connection: Connection, now_s: float) -> bool:
        """Takes a new one in, and ends those that it displaces; False when all the others are busy."""
        # One network cannot have all of them, however busy it is.
        if not self.unlimited(connection.address) and self._has_half(connection.network):
            self._end_oldest(self._idle.get(connection.network, ()))
            if self._has_half(connection.network):
                return False
        if self.count >= self._most:
            self.make_room()
            if self.count >= self._most:
                return False
        self.count += 1
        self._of_network[connection.network] += 1
        self._enter(connection, "new", now_s)
        return True

    def _has_half(self, network: str) -> bool:
        return self._of_network[network] >= self._most // 2

    def make_room(self) -> None:
        """Ends the one that has waited longest, of the new or the kept, whichever are more; if any waits."""
        new, kept = self._waiting["new"], self._waiting["kept"]
        self._end_oldest(kept if len(kept) > len(new) else new)

    def _end_oldest(self, waiting: Iterable[Connection]) -> None:
        oldest = next(iter(waiting), None)
        if oldest is not None:
            oldest.end()

    def move(self, connection: Connection, state: State, now_s: float) -> None:
        """Into another state; an ended one stays ended."""
        if connection.state == "ended":
            return
        self._leave(connection)
        connection.state = state
        if state != "busy":
            self._enter(connection, state, now_s)

    def forget(self, connection: Connection) -> None:
        """It is gone."""
        if connection.state == "ended":
            return
        self._leave(connection)
        connection.state = "ended"
        self.count -= 1
        self._of_network[connection.network] -= 1
        if not self._of_network[connection.network]:
            del self._of_network[connection.network]

    def _enter(self, connection: Connection, state: State, now_s: float) -> None:
        # Room is made before it is among them: it is not the one that has to go.
        idle = self._idle.get(connection.network, ())
        if len(idle) >= MAX_IDLE_OF_ADDRESS and not self.unlimited(connection.address):
            self._end_oldest(idle)
        if self.idle >= MAX_IDLE:
            self.make_room()
        connection.state = state
        self._waiting[state][connection] = now_s
        self._idle.setdefault(connection.network, OrderedDict())[connection] = None

    def _leave(self, connection: Connection) -> None:
        waiting = self._waiting.get(connection.state)
        if waiting is None or waiting.pop(connection, None) is None:
            return
        idle = self._idle[connection.network]
        del idle[connection]
        if not idle:
            del self._idle[connection.network]

    def end_overdue(self, now_s: float) -> int:
        """Ends those whose time is over; gives their number."""
        overdue = []
        for state, allowed_s in (("new", HEAD_S), ("kept", KEEP_ALIVE_S)):
            for connection, since_s in self._waiting[state].items():  # type: ignore[index]
                if now_s - since_s < allowed_s:
                    break
                overdue.append(connection)
        for connection in overdue:
            connection.end()
        return len(overdue)
