"""Passwords: right ones, wrong ones, nobody's."""

import asyncio

import pytest

from access.support import HASH, PASSWORD
from signaling.access import passwords
from signaling.access.passwords import Passwords, hash_password
from signaling.problems import Problem


async def test_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    verify = passwords._HASHER.verify

    class Watched:
        def verify(self, stored: str, password: str) -> bool:
            checked.append(stored)
            return verify(stored, password)

    monkeypatch.setattr(passwords, "_HASHER", Watched())
    monkeypatch.setattr(passwords, "hash_password", lambda _: HASH)
    own = Passwords()
    assert await own.verify(HASH, PASSWORD)
    for wrong in ("", PASSWORD + " ", "x" * 100_000, PASSWORD + "\0", "\ud800"):
        assert not await own.verify(HASH, wrong)
    checked.clear()
    # Nobody's password is checked like anybody's, so that the time does not tell which users there are.
    assert not await own.verify(None, PASSWORD)
    assert len(checked) == 1
    assert not await own.verify("$argon2id$rubbish", PASSWORD)
    own.close()


def test_hash_is_argon2id_and_salted() -> None:
    one, other = hash_password(PASSWORD), hash_password(PASSWORD)
    assert one != other and one.startswith("$argon2id$v=19$")


async def test_too_many_at_a_time_are_told_to_come_again() -> None:
    own = Passwords()
    many = [own.verify(HASH, "wrong") for _ in range(passwords.WAITING + passwords.THREADS + 5)]
    answers = await asyncio.gather(*many, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Problem)]
    assert len(refused) == 5 and {(each.status, each.headers["Retry-After"]) for each in refused} == {
        (503, "2")
    }
    assert answers.count(False) == passwords.WAITING + passwords.THREADS
    own.close()
