"""A TCP connection to a host: its name looked up, its addresses raced (RFC 8305)."""

import asyncio
import contextlib
import ipaddress
import itertools
import socket
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

# RFC 8305 section 5: the start that each address has on the next.
RACE_DELAY_S = 0.25

Address = tuple[int, tuple[Any, ...]]
"""A family and a socket address of it."""


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of `host`, in the order to try them; raises OSError, UnicodeError for what is no name.

    A thread of its own asks: the C library waits up to 20 s for servers that do not answer and cannot be
    interrupted. asyncio's threads would be waited for at the end of the process, a daemon is not.
    """
    with contextlib.suppress(ValueError):
        numeric = ipaddress.ip_address(host)
        if numeric.version == 4:
            return [(socket.AF_INET, (host, port))]
        return [(socket.AF_INET6, (host, port, 0, 0))]
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Address]] = loop.create_future()

    def tell(addresses: list[Address], error: Exception | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(addresses)
        else:
            found.set_exception(error)

    def look_up() -> None:
        addresses: list[Address] = []
        error: Exception | None = None
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = _alternating((family, address) for family, _, _, _, address in infos)
        except (OSError, UnicodeError) as exc:
            error = exc
        # The loop may be closed by now.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, addresses, error)

    threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
    return await found


def _alternating(addresses: Iterable[Address]) -> list[Address]:
    """One of each family in turn (RFC 8305 section 4)."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    turns = itertools.zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


async def connect_first(addresses: Sequence[Address]) -> socket.socket:
    """A socket connected to the first address that takes it; raises OSError when none does."""
    waiting = deque(addresses)
    trying: set[asyncio.Task[socket.socket]] = set()
    first_error: BaseException | None = None
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.ensure_future(_connect(*waiting.popleft())))
            patience_s = RACE_DELAY_S if waiting else None
            done, _ = await asyncio.wait(trying, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                trying.discard(task)
                error = task.exception()
                if error is None:
                    return task.result()
                first_error = first_error or error
        raise first_error or OSError("its name has no address")
    finally:
        for task in trying:
            task.cancel()
        for other in await asyncio.gather(*trying, return_exceptions=True):
            if isinstance(other, socket.socket):
                other.close()


async def _connect(family: int, address: tuple[Any, ...]) -> socket.socket:
    # With its protocol named asyncio sets TCP_NODELAY.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, address)
    except BaseException:
        opened.close()
        raise
    return opened
