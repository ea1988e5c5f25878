"""Requests that no HTTP library would send, octet by octet."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import urlsplit

DEADLINE_S = 15.0


class RawAnswer(NamedTuple):
    """What came back; status 0: nothing but the end of the connection."""

    status: int
    headers: dict[str, str]
    body: bytes


def parsed(answer: bytes) -> RawAnswer:
    """The first response in these octets."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1."):
        return RawAnswer(0, {}, answer)
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return RawAnswer(int(first.split()[1]), headers, body)


async def send(url: str, octets: bytes) -> RawAnswer:
    """Sends to the server of `url` and reads until it closes; the request should ask for that."""
    parts = urlsplit(url)
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(octets)
                await writer.drain()
            received = b""
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(65_536):
                    received += piece
            return parsed(received)
        finally:
            writer.close()


async def ask(
    url: str, target: str, headers: dict[str, str], method: str = "GET", body: bytes = b""
) -> RawAnswer:
    """A request with its target exactly as given."""
    every = {"Host": urlsplit(url).netloc, "Connection": "close", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in every.items())
    return await send(url, f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)


@contextlib.asynccontextmanager
async def connections(
    url: str, number: int, first: bytes = b"", addresses: int = 1
) -> AsyncIterator[list[socket.socket]]:
    """That many connections from that many loopback addresses; each has sent `first` and nothing more."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    opened: list[socket.socket] = []
    try:
        for index in range(number):
            each = socket.socket()
            opened.append(each)
            each.setblocking(False)
            each.bind((f"127.1.{index % addresses // 250}.{index % addresses % 250 + 1}", 0))
            await loop.sock_connect(each, (parts.hostname, parts.port))
            if first:
                await loop.sock_sendall(each, first)
        yield opened
    finally:
        for each in opened:
            each.close()


def ended(opened: list[socket.socket]) -> int:
    """How many of them the server has closed."""
    count = 0
    for each in opened:
        try:
            count += each.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            pass
        except ConnectionError:
            count += 1
    return count
