"""Names to addresses to a connected socket."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading

import pytest

from ingest import tcp
from ingest.tcp import connect_first, resolve

V4 = (socket.AF_INET, ("192.0.2.1", 554))
OTHER_V4 = (socket.AF_INET, ("192.0.2.2", 554))
V6 = (socket.AF_INET6, ("2001:db8::1", 554, 0, 0))


def answers(monkeypatch, *addresses):
    infos = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in addresses]
    monkeypatch.setattr(tcp.socket, "getaddrinfo", lambda *args, **options: infos)


@pytest.mark.parametrize("address", [V4, V6])
async def test_addresses_are_not_asked_for(monkeypatch, address):
    monkeypatch.delattr(tcp.socket, "getaddrinfo")
    assert await resolve(address[1][0], 554) == [address]


async def test_families_take_turns(monkeypatch):
    answers(monkeypatch, V4, OTHER_V4, V6)
    assert await resolve("cam.example", 554) == [V4, V6, OTHER_V4]


@pytest.mark.parametrize("name", ["a..b", ".local", "a" * 64 + ".local"])
async def test_what_is_no_name(name):
    with pytest.raises(UnicodeError):
        await resolve(name, 554)


async def test_a_name_that_nobody_has():
    with pytest.raises(socket.gaierror):
        await resolve("no-such-name.invalid", 554)


async def test_an_answer_that_nobody_waits_for_any_more(monkeypatch):
    asked, answer = threading.Event(), threading.Event()

    def look_up(*args, **options):
        asked.set()
        answer.wait()
        return []

    monkeypatch.setattr(tcp.socket, "getaddrinfo", look_up)
    waiting = asyncio.ensure_future(resolve("patient.example", 554))
    while not asked.is_set():
        await asyncio.sleep(0.01)
    (thread,) = (item for item in threading.enumerate() if item.name == "resolve patient.example")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    answer.set()
    while thread.is_alive():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0)


def test_the_process_ends_although_no_server_answers():
    code = """
import asyncio, contextlib, socket, threading
socket.getaddrinfo = lambda *args, **options: threading.Event().wait()
from ingest.tcp import resolve
with contextlib.suppress(TimeoutError):
    asyncio.run(asyncio.wait_for(resolve("cam.example", 554), 0.1))
"""
    subprocess.run([sys.executable, "-c", code], timeout=20, check=True)


@contextlib.contextmanager
def listening(family=socket.AF_INET, host="127.0.0.1"):
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind((host, 0))
        server.listen()
        yield server


def closed():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return socket.AF_INET, unused.getsockname()


async def test_the_first_that_takes_it():
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with (
            listening(family, host) as server,
            await connect_first([closed(), (family, server.getsockname())]) as connected,
        ):
            assert connected.getpeername() == server.getsockname()


async def test_a_slow_address_does_not_hold_up_the_next(monkeypatch):
    left = []

    async def connect(family, address):
        if address != V4[1]:
            return await slow(family, address)
        try:
            await asyncio.sleep(60)
        finally:
            left.append(address)

    slow = tcp._connect
    monkeypatch.setattr(tcp, "_connect", connect)
    with (
        listening() as server,
        await connect_first([V4, (socket.AF_INET, server.getsockname())]) as connected,
    ):
        assert connected.getpeername() == server.getsockname()
    assert left == [V4[1]]


async def test_only_one_connection_is_kept(monkeypatch):
    opened = []
    both = asyncio.Event()

    async def connect(family, address):
        opened.append(socket.socket(family))
        if len(opened) == 2:
            both.set()
        await both.wait()
        return opened[-1] if address == V4[1] else opened[0]

    monkeypatch.setattr(tcp, "RACE_DELAY_S", 0.01)
    monkeypatch.setattr(tcp, "_connect", connect)
    with await connect_first([V4, OTHER_V4]) as kept:
        assert sorted(item.fileno() == -1 for item in opened) == [False, True]
        assert kept.fileno() != -1


async def test_all_refuse():
    with pytest.raises(ConnectionRefusedError):
        await connect_first([closed(), closed()])
    with pytest.raises(OSError, match="no address"):
        await connect_first([])
