"""View links: whoever has one sees one camera until it expires or is revoked; kept over restarts, hashed."""

import dataclasses
import secrets
from dataclasses import dataclass
from pathlib import Path

from common.clock import Clock
from signaling.access import kept
from signaling.access.logins import token_id

PREFIX = "view-"
"Tells a link's token from others."
MAX_LINKS = 10_000
SHORTEST_S, LONGEST_S = 60, 366 * 86_400


@dataclass(frozen=True, slots=True)
class Link:
    """One camera for whoever has the token."""

    id: str
    token: str
    "Its SHA-256, hexadecimal."
    camera: str
    expires_at: float
    "UTC seconds since 1970."
    created_by: str
    note: str


class Links:
    """All links by id; `path` is read at the start."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        restored = (_restored(entry) for entry in kept.read_entries(path))
        self._links = {link.id: link for link in restored if link is not None}
        self._ids: dict[str, str] = {}
        self._drop_expired()

    def _drop_expired(self) -> None:
        self._links = {link.id: link for link in self.all()}
        self._ids = {link.token: link.id for link in self._links.values()}

    def _store(self) -> None:
        self._drop_expired()
        kept.write_entries(self._path, [dataclasses.asdict(link) for link in self._links.values()])

    def create(self, camera: str, seconds: int, created_by: str, note: str) -> tuple[str, Link]:
        """The token (256 bits) and the link; raises ValueError when there are too many."""
        if len(self.all()) >= MAX_LINKS:
            raise ValueError(f"there are {MAX_LINKS} links already; revoke some")
        token = PREFIX + secrets.token_urlsafe(32)
        expires_at = float(self._clock.utc_ns() // 10**9 + seconds)
        link = Link(secrets.token_hex(6), token_id(token), camera, expires_at, created_by, note)
        self._links[link.id] = link
        self._store()
        return token, link

    def all(self) -> list[Link]:
        """Those that hold."""
        now = self._clock.utc_ns() / 1e9
        return [link for link in self._links.values() if link.expires_at > now]

    def find(self, token: str) -> Link | None:
        """The link of a token, while it holds."""
        return self.get(self._ids.get(token_id(token), ""))

    def get(self, link_id: str) -> Link | None:
        """The link of that id, while it holds."""
        link = self._links.get(link_id)
        return link if link is not None and link.expires_at > self._clock.utc_ns() / 1e9 else None

    def revoke(self, link_id: str) -> bool:
        """Ends a link; False when it was not there."""
        if self._links.pop(link_id, None) is None:
            return False
        self._store()
        return True


def _restored(entry: dict[str, object]) -> Link | None:
    match entry:
        case {
            "id": str(link_id),
            "token": str(token),
            "camera": str(camera),
            "expires_at": float(expires_at),
            "created_by": str(created_by),
            "note": str(note),
        }:
            return Link(link_id, token, camera, expires_at, created_by, note)
    return None
