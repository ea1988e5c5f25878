"""View links: one camera each, until they expire or are revoked."""

from pathlib import Path

import pytest

from signaling.access import links
from signaling.access.links import Links
from tests.support.fake_clock import FakeClock


async def test_life(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "links.json"
    own = Links(path, clock)
    token, link = own.create("front", 3600, "anna", "for the neighbour")
    other, revoked = own.create("yard", 3600, "anna", "")
    assert token not in path.read_text() and token.startswith(links.PREFIX)
    again = Links(path, clock)
    assert again.find(token) == link and again.all() == [link, revoked]
    assert again.find(link.token) is None and again.find("") is None
    assert again.revoke(revoked.id) and not again.revoke(revoked.id)
    assert again.find(other) is None
    await clock.advance(3601)
    assert again.find(token) is None and again.get(link.id) is None and again.all() == []
    assert Links(path, clock).all() == []


async def test_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_LINKS", 1)
    clock, path = FakeClock(), tmp_path / "links.json"
    own = Links(path, clock)
    first, _ = own.create("front", 60, "anna", "")
    with pytest.raises(ValueError, match="revoke some"):
        own.create("front", 60, "anna", "")
    # One that has expired is in nobody's way, neither now nor after a restart.
    await clock.advance(61)
    again = Links(path, clock)
    for each in (own, again):
        token, link = each.create("yard", 60, "anna", "")
        assert each.find(token) == link and each.find(first) is None
        assert each.all() == [link]


async def test_those_that_have_expired_are_not_restored(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "links.json"
    Links(path, clock).create("front", 60, "anna", "")
    await clock.advance(61)
    assert Links(path, clock)._links == {}
