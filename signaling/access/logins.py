"""Logins: who has given a password, and is known by a cookie from then on; kept over restarts.

Of the cookie's token only the SHA-256 is kept: whoever reads the file cannot log in with it.
"""

import dataclasses
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.access_config import ROLES, Role
from common.clock import Clock
from signaling.access import kept

IDLE_S = 7 * 86_400.0
LONGEST_S = 30 * 86_400.0
NOTE_SEEN_S = 3600.0
"How exactly the time of the last use is kept."
MAX_OF_USER = 32
"Further logins end the oldest."


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody who has logged in."""

    id: str
    "SHA-256 of the token, hexadecimal."
    user: str
    fingerprint: str
    "Of the password hash: a login ends when the password is changed. Empty for users of an external service."
    began_at: float
    "UTC seconds, as the next."
    seen_at: float
    role: Role | None = None
    "As an external service has said; None: as configured."
    cameras: tuple[str, ...] = ()

    @property
    def longest_at(self) -> float:
        """When it ends however much it is used; UTC seconds since 1970."""
        return self.began_at + LONGEST_S

    @property
    def expires_at(self) -> float:
        """When it ends if it is not used again; UTC seconds since 1970."""
        return min(self.longest_at, self.seen_at + IDLE_S)


def fingerprint(password_hash: str) -> str:
    """Tells two password hashes apart."""
    return hashlib.sha256(password_hash.encode()).hexdigest()[:16]


def token_id(token: str) -> str:
    """What is kept of a token."""
    # A header may hold octets that are not UTF-8 (PEP 383).
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


class Logins:
    """All logins by id; `path` is read at the start."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._logins: dict[str, Login] = {}
        for entry in kept.read_entries(path):
            login = _restored(entry)
            if login is not None:
                self._logins[login.id] = login

    def _now(self) -> float:
        return self._clock.utc_ns() / 1e9

    def _store(self) -> None:
        now = self._now()
        self._logins = {key: login for key, login in self._logins.items() if login.expires_at > now}
        kept.write_entries(self._path, [dataclasses.asdict(login) for login in self._logins.values()])

    def begin(
        self, user: str, password_fingerprint: str, role: Role | None = None, cameras: tuple[str, ...] = ()
    ) -> tuple[str, Login]:
        """The token for the cookie (256 bits), and the login."""
        token = secrets.token_urlsafe(32)
        now = self._now()
        login = Login(token_id(token), user, password_fingerprint, now, now, role, cameras)
        mine = sorted((each for each in self._logins.values() if each.user == user), key=lambda e: e.seen_at)
        for old in mine[: max(0, len(mine) - MAX_OF_USER + 1)]:
            del self._logins[old.id]
        self._logins[login.id] = login
        self._store()
        return token, login

    def find(self, token: str) -> Login | None:
        """The login of a cookie's token, which counts as used now."""
        login = self.get(token_id(token))
        if login is not None and self._now() - login.seen_at > NOTE_SEEN_S:
            login = dataclasses.replace(login, seen_at=self._now())
            self._logins[login.id] = login
            self._store()
        return login

    def get(self, login_id: str) -> Login | None:
        """The login of that id, while it holds."""
        login = self._logins.get(login_id)
        return login if login is not None and login.expires_at > self._now() else None

    def end(self, login_id: str) -> None:
        """Logs out."""
        if self._logins.pop(login_id, None) is not None:
            self._store()

    def end_where(self, gone: Callable[[Login], bool]) -> None:
        """Ends every login that is `gone`."""
        left = {key: login for key, login in self._logins.items() if not gone(login)}
        if len(left) < len(self._logins):
            self._logins = left
            self._store()


def _restored(entry: dict[str, object]) -> Login | None:
    match entry:
        case {
            "id": str(login_id),
            "user": str(user),
            "fingerprint": str(mark),
            "began_at": float(began_at),
            "seen_at": float(seen_at),
            "role": role,
            "cameras": list(cameras),
        } if role in (None, *ROLES):
            patterns = tuple(each for each in cameras if isinstance(each, str))
            return Login(login_id, user, mark, began_at, seen_at, role, patterns)
    return None
