"""What both forms of ICE share: the session of one viewer and the agent that opens it.

The lite form (ice_lite.py) answers all viewers on the worker's one port; the full form (ice_full.py) gathers
candidates for each viewer and checks by itself (RFC 8445 section 2.5).
"""

from dataclasses import dataclass, field
from typing import Protocol

from fanout.ice.paths import Path


@dataclass(frozen=True, slots=True)
class RemoteIce:
    """The viewer's side of ICE, from its offer (RFC 8839 section 5)."""

    ufrag: str
    password: str = field(repr=False)
    candidates: tuple[str, ...] = ()
    "Candidate lines without `a=`, as the offer has them."


class Receiver(Protocol):
    """Who takes what arrives on a session's paths: the viewer. None of these may raise."""

    def on_record(self, record: bytes) -> None:
        """Takes a datagram of DTLS records."""
        ...

    def on_rtcp(self, data: bytes) -> None:
        """Takes an SRTCP packet, not yet authenticated."""
        ...

    def on_path(self, path: Path) -> None:
        """Told the selected path when it is first known, and whenever it changes."""
        ...


class IceSession(Protocol):
    """One viewer's ICE on our side."""

    ufrag: str
    password: str
    candidates: tuple[str, ...]
    "For the answer: `candidate:1 1 udp … typ host`, the best first."
    path: Path | None
    "The selected one; None before the first check, and while no path is left."

    def has_consent(self) -> bool:
        """False when the viewer was not heard for so long that it must be sent nothing (RFC 7675)."""
        ...

    def add_candidates(self, sdp_fragment: str) -> None:
        """Takes trickled candidates (RFC 8840); a lite agent has no use for them."""
        ...

    def close(self) -> None:
        """Forgets the viewer; its receiver is told nothing more."""
        ...


class IceAgent(Protocol):
    """Opens sessions for a worker's viewers."""

    lite: bool
    "The answer says `a=ice-lite`."
    rejected: int
    "Datagrams and frames dropped: not WebRTC, not authentic, or from nobody known."

    async def open(self, remote: RemoteIce, receiver: Receiver) -> IceSession:
        """A session with its candidates gathered; raises ViewerError or LocalError."""
        ...

    async def close(self) -> None:
        """Ends all sessions and frees the ports."""
        ...
