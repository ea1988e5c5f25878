"""Floods a worker's UDP port from many ports: `python -m tests.fanout.flooder PORT SECONDS UFRAGS`.

UFRAGS is a viewer's USERNAME, `local:remote`. Prints how many datagrams of each kind it sent.
"""

import os
import secrets
import socket
import sys
import time
from collections import Counter

from aioice import stun

from tests.fuzz.corpus_media import HELLO

PORTS = 200
PER_S = 10_000
"Of checks, and as many of ClientHellos."
STEP_S = 0.005
CHECKS = 256
"Different ones, made before."


def check(username: str) -> bytes:
    """A connectivity check in order, made with a password that nobody has."""
    message = stun.Message(
        stun.Method.BINDING,
        stun.Class.REQUEST,
        attributes={
            "USERNAME": username,
            "PRIORITY": 1_845_501_695,
            "ICE-CONTROLLING": secrets.randbits(64),
            "USE-CANDIDATE": None,
        },
    )
    message.add_message_integrity(secrets.token_bytes(24))
    return bytes(message)


def main(port: int, seconds: float, username: str) -> None:
    """Sends at PER_S of both kinds for so long."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(PORTS)]
    for sock in sockets:
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
    for_nobody = [check(f"{secrets.token_hex(4)}:{secrets.token_hex(2)}") for _ in range(CHECKS)]
    for_a_viewer = [check(username) for _ in range(CHECKS)]
    hellos = [HELLO[:27] + os.urandom(32) + HELLO[59:] for _ in range(CHECKS)]
    kinds = (("for nobody", for_nobody), ("hello", hellos), ("for a viewer", for_a_viewer), ("hello", hellos))
    sent = Counter[str]()
    number = 0
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < seconds:
        while number < elapsed * 2 * PER_S:
            name, datagrams = kinds[number % len(kinds)]
            try:
                sockets[number % PORTS].send(datagrams[number // len(kinds) % CHECKS])
                sent[name] += 1
            except OSError:  # the way is full
                sent["not taken"] += 1
            number += 1
        time.sleep(STEP_S)
    print(", ".join(f"{count} {name}" for name, count in sent.items()))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
