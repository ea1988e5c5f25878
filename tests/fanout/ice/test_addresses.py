"""Which addresses are offered, and as what candidates."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import ifaddr
import pytest
from aioice import Candidate

from common.errors import LocalError
from common.resolved import SystemConfig
from fanout.ice.addresses import candidate_addresses, host_candidates

Entry = str | tuple[str, int, int]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the machine's addresses, as ifaddr tells them."""

    def have(*entries: Entry) -> None:
        adapter = SimpleNamespace(ips=[SimpleNamespace(ip=entry) for entry in entries])
        monkeypatch.setattr(ifaddr, "get_adapters", lambda: [adapter])

    return have


def config(advertise: tuple[str, ...] = (), loopback: bool = False) -> SystemConfig:
    """As much of one as is looked at."""
    return cast(SystemConfig, SimpleNamespace(media_advertise=advertise, media_loopback=loopback))


LOOPBACKS: tuple[Entry, ...] = ("127.0.0.1", ("::1", 0, 0))


def test_addresses_of_both_kinds_take_turns(machine: Callable[..., None]) -> None:
    machine(
        *LOOPBACKS,
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
        "169.254.3.4",
        ("2001:db8::1", 0, 0),
        ("fd00::1", 0, 0),
        ("fe80::1", 0, 2),
        "192.0.2.1",
    )
    assert candidate_addresses(config()) == (
        "2001:db8::1", "192.0.2.1", "fd00::1", "192.0.2.2", "192.0.2.3"
    )  # fmt: skip


def test_what_is_configured_is_offered_instead(machine: Callable[..., None]) -> None:
    machine(*LOOPBACKS, "10.0.0.1")
    configured = ("203.0.113.7", "2001:db8::7")
    assert candidate_addresses(config(configured)) == configured


def test_loopback_comes_first_where_pages_are_on_loopback(machine: Callable[..., None]) -> None:
    machine(*LOOPBACKS, "192.0.2.1")
    assert candidate_addresses(config(loopback=True)) == ("127.0.0.1", "::1", "192.0.2.1")
    assert candidate_addresses(config(("203.0.113.7", "::1"), loopback=True)) == (
        "127.0.0.1", "203.0.113.7", "::1"
    )  # fmt: skip


def test_without_ipv6_only_the_ipv4_loopback(machine: Callable[..., None]) -> None:
    machine("127.0.0.1")
    assert candidate_addresses(config(loopback=True)) == ("127.0.0.1",)


def test_no_address_at_all_is_an_error_that_names_the_key(machine: Callable[..., None]) -> None:
    machine(*LOOPBACKS)
    with pytest.raises(LocalError, match=r"media\.advertise"):
        candidate_addresses(config())


def test_this_machine_can_be_asked() -> None:
    assert candidate_addresses(config(loopback=True))[0] == "127.0.0.1"


def test_candidates_are_read_by_an_independent_agent_in_order() -> None:
    lines = host_candidates(("192.0.2.1", "2001:db8::1"), 8189)
    read = [Candidate.from_sdp(line.removeprefix("candidate:")) for line in lines]
    assert [(one.transport, one.host, one.port, one.type, one.tcptype) for one in read] == [
        ("udp", "192.0.2.1", 8189, "host", None),
        ("udp", "2001:db8::1", 8189, "host", None),
        ("tcp", "192.0.2.1", 8189, "host", "passive"),
        ("tcp", "2001:db8::1", 8189, "host", "passive"),
    ]
    priorities = [one.priority for one in read]
    assert priorities == sorted(priorities, reverse=True) and len(set(priorities)) == 4
    assert all(0 < priority < 1 << 31 for priority in priorities)
    assert len({one.foundation for one in read}) == 4
    # RFC 6544 section 4.2: direction preference 4 in the upper three bits of the local preference.
    assert read[2].priority >> 24 == 90 and read[2].priority >> 21 & 7 == 4
