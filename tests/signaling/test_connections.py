"""Who has to go when too many wait, and that the busy never do."""

import random

from hypothesis import given
from hypothesis import strategies as st

from signaling.connections import (
    HEAD_S,
    KEEP_ALIVE_S,
    MAX_IDLE,
    MAX_IDLE_OF_ADDRESS,
    Connection,
    Connections,
    network,
)


class Crowd:
    """Connections by name, and which were ended."""

    def __init__(self, most: int = 8192) -> None:
        self.table = Connections(most)
        self.ended: list[str] = []

    def come(self, name: str, address: str, now_s: float = 0.0) -> Connection | None:
        connection = Connection(self.table, address, lambda: self.ended.append(name))
        return connection if self.table.admit(connection, now_s) else None


def address_of(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def test_a_head_has_its_time_however_slowly_it_comes() -> None:
    crowd = Crowd()
    slow = crowd.come("slow", "192.0.2.1", 0.0)
    assert slow is not None
    for second in range(int(HEAD_S)):
        slow.received(lambda now_s=float(second): now_s)
        crowd.table.end_overdue(float(second))
    assert not crowd.ended
    assert crowd.table.end_overdue(HEAD_S) == 1
    assert crowd.ended == ["slow"] and crowd.table.count == 0
    slow.closed()
    assert crowd.table.count == 0


def test_the_busy_stay_and_the_kept_have_longer() -> None:
    crowd = Crowd()
    one = crowd.come("one", "192.0.2.1", 0.0)
    assert one is not None
    one.requested(1.0)
    crowd.table.end_overdue(1000.0)
    one.answered(1000.0)
    crowd.table.end_overdue(1000.0 + KEEP_ALIVE_S - 1)
    assert not crowd.ended
    one.received(lambda: 1000.0 + KEEP_ALIVE_S - 1)
    crowd.table.end_overdue(1000.0 + KEEP_ALIVE_S)
    assert not crowd.ended, "a request has begun"
    crowd.table.end_overdue(1000.0 + KEEP_ALIVE_S - 1 + HEAD_S)
    assert crowd.ended == ["one"]


def test_idle_ones_of_one_address_displace_each_other() -> None:
    crowd = Crowd()
    for number in range(MAX_IDLE_OF_ADDRESS):
        assert crowd.come(str(number), "192.0.2.1", float(number))
    assert crowd.come("other", "192.0.2.2", 100.0) and not crowd.ended
    assert crowd.come("more", "192.0.2.1", 100.0) and crowd.ended == ["0"]
    assert crowd.table.idle == MAX_IDLE_OF_ADDRESS + 1


def test_a_proxy_stands_for_many() -> None:
    crowd = Crowd()
    crowd.table.unlimited = lambda address: address == "192.0.2.1"
    for number in range(2 * MAX_IDLE_OF_ADDRESS):
        assert crowd.come(str(number), "192.0.2.1")
    assert not crowd.ended


def test_ten_thousand_idle_ones_lock_nobody_out() -> None:
    crowd = Crowd()
    viewer = crowd.come("viewer", "192.0.2.1")
    page = crowd.come("page", "192.0.2.2")
    assert viewer and page
    viewer.requested(0.0)
    page.requested(0.0)
    page.answered(0.0)
    for number in range(10_000):
        assert crowd.come(str(number), address_of(number), 1.0)
    assert crowd.table.idle == MAX_IDLE
    assert "viewer" not in crowd.ended
    assert "page" not in crowd.ended, "those that never asked anything go before"
    late = crowd.come("late", "192.0.2.3", 1.0)
    assert late and late.state == "new"


def test_kept_ones_lock_nobody_out() -> None:
    crowd = Crowd()
    for number in range(MAX_IDLE):
        kept = crowd.come(f"kept {number}", address_of(number))
        assert kept
        kept.requested(0.0)
        kept.answered(float(number))
    # A page opens some at once.
    came = [crowd.come(f"new {number}", f"192.0.2.{number}", 1.0) for number in range(6)]
    assert [each.state for each in came if each] == ["new"] * 6
    assert crowd.ended == [f"kept {number}" for number in range(6)]
    assert crowd.table.idle == MAX_IDLE


def test_when_all_are_busy_no_more_come() -> None:
    crowd = Crowd(most=4)
    busy = [crowd.come(str(number), address_of(number)) for number in range(4)]
    for each in busy:
        assert each
        each.requested(0.0)
    assert crowd.come("more", "192.0.2.1") is None
    assert busy[2]
    busy[2].closed()
    assert crowd.come("more", "192.0.2.1") and not crowd.ended


def test_one_network_cannot_have_all() -> None:
    crowd = Crowd(most=8)
    for number in range(4):
        each = crowd.come(str(number), f"2001:db8::{number}")
        assert each
        each.requested(0.0)
    assert crowd.come("more", "2001:db8::ffff:1") is None
    assert crowd.come("neighbour", "2001:db8:0:1::1")


def test_networks() -> None:
    assert network("192.0.2.1") == network("::ffff:192.0.2.1") == "192.0.2.1"
    assert network("2001:db8::1") == network("2001:db8::2") == "2001:db8::/64"
    assert network("fe80::1%eth0") == "fe80::/64"
    assert network("local") == "local"


@given(st.randoms(use_true_random=False), st.integers(2, 12))
def test_the_counts_are_right_whatever_happens(chance: random.Random, most: int) -> None:
    crowd = Crowd(most)
    alive: list[Connection] = []
    now_s = 0.0
    for number in range(200):
        now_s += chance.random() * 3
        each = chance.choice(alive) if alive else None
        match chance.randrange(6):
            case 0 | 1:
                came = crowd.come(str(number), address_of(chance.randrange(3)), now_s)
                alive += [came] if came else []
            case 2 if each:
                each.requested(now_s)
            case 3 if each:
                each.answered(now_s)
            case 4 if each:
                each.closed()
            case 5:
                crowd.table.end_overdue(now_s)
        states = [one.state for one in alive]
        assert crowd.table.count == len(states) - states.count("ended") <= most
        assert crowd.table.idle == states.count("new") + states.count("kept")
    for one in alive:
        one.closed()
    assert crowd.table.count == crowd.table.idle == 0
