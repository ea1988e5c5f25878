"""How often an address may try to log in: a token bucket each (RFC 2475's policer, in small). [P]

Users have no bucket of their own, so that nobody can lock somebody else out.
"""

import ipaddress
from collections import OrderedDict

BURST = 8
REFILL_S = 10.0
"Seconds until one more failed attempt is forgotten."
MAX_ADDRESSES = 4096


def _bucket_of(address: str) -> str:
    # One customer has a whole /64 (RFC 6177).
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False))


class Attempts:
    """Failed attempts of each address."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()
        "Failures that are left, at some time."

    def _left(self, bucket: str, now_s: float) -> float:
        failures, at_s = self._failures.get(bucket, (0.0, now_s))
        return max(0.0, failures - (now_s - at_s) / REFILL_S)

    def wait_s(self, address: str, now_s: float) -> float:
        """Seconds until the address may try again; 0 when it may now."""
        over = self._left(_bucket_of(address), now_s) - BURST + 1
        return max(0.0, over * REFILL_S)

    def began(self, address: str, now_s: float) -> None:
        """An attempt is under way; it counts as failed until it is said to be right."""
        bucket = _bucket_of(address)
        self._failures[bucket] = (self._left(bucket, now_s) + 1, now_s)
        self._failures.move_to_end(bucket)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def was_right(self, address: str, now_s: float) -> None:
        """The attempt was no failure; those before it stay."""
        bucket = _bucket_of(address)
        self._failures[bucket] = (max(0.0, self._left(bucket, now_s) - 1), now_s)
