"""Free ports on loopback."""

import contextlib
import random
import socket


def free_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_media_ports(count: int) -> int:
    """The first of `count` neighbouring ports that are free for UDP and for TCP."""
    for _ in range(100):
        first = random.randrange(20_000, 30_000)  # below Linux's ephemeral ports
        with contextlib.ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                        probe = probes.enter_context(socket.socket(socket.AF_INET, kind))
                        probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports for media")
