"""Failed logins of an address: some at once, then slowly."""

from signaling.access import attempts
from signaling.access.attempts import BURST, MAX_ADDRESSES, REFILL_S, Attempts


def test_a_burst_then_one_at_a_time() -> None:
    own = Attempts()
    for _ in range(BURST):
        assert own.wait_s("198.51.100.1", 0.0) == 0
        own.began("198.51.100.1", 0.0)
    assert own.wait_s("198.51.100.1", 0.0) == REFILL_S
    assert own.wait_s("198.51.100.2", 0.0) == 0
    assert own.wait_s("198.51.100.1", REFILL_S) == 0
    own.began("198.51.100.1", REFILL_S)
    assert own.wait_s("198.51.100.1", REFILL_S) == REFILL_S


def test_a_right_one_does_not_count() -> None:
    own = Attempts()
    for _ in range(3 * BURST):
        own.began("::1", 0.0)
        own.was_right("::1", 0.0)
        assert own.wait_s("::1", 0.0) == 0
    for _ in range(BURST):
        own.began("::1", 0.0)
    own.began("::1", 0.0)
    own.was_right("::1", 0.0)
    assert own.wait_s("::1", 0.0) > 0


def test_a_network_of_ipv6_is_one() -> None:
    own = Attempts()
    for number in range(BURST):
        own.began(f"2001:db8::{number:x}", 0.0)
    assert own.wait_s("2001:db8::ffff", 0.0) > 0
    assert own.wait_s("2001:db8:0:1::1", 0.0) == 0


def test_memory_is_bounded() -> None:
    own = Attempts()
    for number in range(MAX_ADDRESSES + 10):
        own.began(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(own._failures) == attempts.MAX_ADDRESSES
