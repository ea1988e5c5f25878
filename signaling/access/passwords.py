"""Passwords: argon2 (RFC 9106) in threads of its own, as each check takes tens of milliseconds."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from signaling.problems import Problem

MAX_PASSWORD = 1024
"Characters; longer ones are wrong."
THREADS = 1
WAITING = 16
"Checks that wait for a thread; further ones are told to come again."

_HASHER = PasswordHasher()


def hash_password(password: str) -> str:
    """A hash in PHC form with the library's parameters (RFC 9106 section 4); takes tens of milliseconds."""
    return _HASHER.hash(password)


class Passwords:
    """Checks passwords."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._under_way = 0
        self._nobodys: str | None = None

    async def verify(self, stored: str | None, password: str) -> bool:
        """True when the password is the one of the hash; None is never anybody's, and takes as long.

        Raises Problem 503 while too many checks wait.
        """
        if self._under_way >= WAITING + THREADS:
            raise Problem(503, "too many logins at a time; try again", 2)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._check, stored, password
            )
        finally:
            self._under_way -= 1

    def _check(self, stored: str | None, password: str) -> bool:
        if stored is None and self._nobodys is None:
            self._nobodys = hash_password("")
        try:
            # JSON can write half a surrogate pair, which is no UTF-8 (RFC 8259 section 8.2).
            octets = password[:MAX_PASSWORD].encode(errors="surrogatepass")
            right = _HASHER.verify(stored or self._nobodys or "", octets)
        except (VerificationError, InvalidHashError):
            return False
        return right and stored is not None and len(password) <= MAX_PASSWORD

    def close(self) -> None:
        """Lets the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)
