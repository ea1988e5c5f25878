"""The relay: its arithmetic without a clock, then the process with sockets, and Chromium's way to it."""

import asyncio
import json
import shutil
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.browser import CHROMIUM, chromium
from tests.support.media_relay import (
    HOST,
    Link,
    Weather,
    media_relay,
    redirect_script,
    redirected,
)


def through(link: Link, times: list[float], size: int = 1250) -> list[float]:
    """When each datagram sent at these times arrives; -1: never."""
    arrived = [-1.0] * len(times)
    sent = iter(enumerate(times))
    number, at = next(sent, (0, None))
    while True:
        next_s = link.next_s()
        if at is not None and (next_s is None or at <= next_s):
            link.put(number.to_bytes(4, "big") + bytes(size - 4), None, at)
            number, at = next(sent, (0, None))
        elif next_s is not None:
            for data, _ in link.due(next_s):
                arrived[int.from_bytes(data[:4], "big")] = next_s
        else:
            return arrived


def test_a_clear_link_delays_and_nothing_else() -> None:
    times = [place / 1000 for place in range(100)]
    link = Link(Weather(delay_s=0.04), 1)
    assert through(link, times) == pytest.approx([time_s + 0.04 for time_s in times])
    assert link.counts.passed == 100 and link.counts.octets == 125_000


def test_loss_is_seeded() -> None:
    times = [place / 1000 for place in range(2000)]
    first, again, other = (through(Link(Weather(loss=0.1), seed), times) for seed in (1, 1, 2))
    assert first == again != other
    assert 150 < first.count(-1.0) < 250


def test_jitter_spreads_and_keeps_the_order() -> None:
    times = [place / 1000 for place in range(500)]
    arrived = through(Link(Weather(delay_s=0.01, jitter_s=0.02), 1), times)
    assert arrived == sorted(arrived)
    late = [b - a for a, b in zip(times, arrived, strict=True)]
    assert min(late) >= 0.01 and max(late) <= 0.0300001 and max(late) - min(late) > 0.01


def test_a_narrow_link_queues_and_drops_what_comes_last() -> None:
    # 10 ms for each of 1,250 octets at 1 Mbit/s; 100 ms of them wait at most.
    link = Link(Weather(rate_bps=1e6, queue_s=0.1), 1)
    arrived = through(link, [0.0] * 30)
    assert arrived[:10] == pytest.approx([0.01 * (place + 1) for place in range(10)])
    assert arrived[10:] == [-1.0] * 20 and link.counts.dropped == 20
    paced = [1 + place / 50 for place in range(50)]  # half of what it carries
    assert through(link, paced) == pytest.approx([time_s + 0.01 for time_s in paced])
    small = Link(Weather(rate_bps=1e6, queue_octets=3 * 1250), 1)
    assert through(small, [0.0] * 10).count(-1.0) == 7


def test_a_link_that_changes_keeps_the_order() -> None:
    link = Link(Weather(rate_bps=1e6, delay_s=0.05), 1)
    for number in range(5):
        link.put(bytes((number,)) * 1250, None, 0.0)
    assert not link.due(0.0)
    link.weather = Weather()
    link.put(b"\x05" * 1250, None, 0.001)
    arrived = [data[0] for at in (0.001, 0.05, 0.1, 0.2) for data, _ in link.due(at)]
    assert arrived == list(range(6))


@pytest.fixture
def worker() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        sock.setblocking(False)
        yield sock


async def test_every_client_has_its_own_way(worker: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    async with media_relay(worker.getsockname()[1]) as relay:
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        ways = []
        for number, client in enumerate(clients):
            client.setblocking(False)
            await loop.sock_sendto(client, bytes((number,)), (HOST, relay.port))
            data, way = await loop.sock_recvfrom(worker, 100)
            assert data == bytes((number,))
            ways.append(way)
        assert len(set(ways)) == 3
        for number, way in enumerate(ways):
            await loop.sock_sendto(worker, bytes((number,)) * 2, way)
        for number, client in enumerate(clients):
            data, source = await loop.sock_recvfrom(client, 100)
            assert data == bytes((number,)) * 2 and source == (HOST, relay.port)
            client.close()
        counts = await relay.counts()
        assert counts["to_worker"].passed == counts["to_viewer"].passed == 3


async def test_a_client_can_be_given_a_new_port(worker: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        async with media_relay(worker.getsockname()[1]) as relay:
            await loop.sock_sendto(client, b"first", (HOST, relay.port))
            _, before = await loop.sock_recvfrom(worker, 100)
            await relay.rebind()
            await loop.sock_sendto(client, b"then", (HOST, relay.port))
            data, after = await loop.sock_recvfrom(worker, 100)
            assert data == b"then" and after != before
            await loop.sock_sendto(worker, b"back", after)
            assert await loop.sock_recvfrom(client, 100) == (b"back", (HOST, relay.port))


async def test_its_weather_changes_while_it_runs(worker: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        async with media_relay(worker.getsockname()[1], to_worker=Weather(delay_s=0.05)) as relay:
            started = time.monotonic()
            await loop.sock_sendto(client, b"slow", (HOST, relay.port))
            assert (await loop.sock_recvfrom(worker, 100))[0] == b"slow"
            assert time.monotonic() - started >= 0.05
            await relay.set(to_worker=Weather(loss=1.0))
            await loop.sock_sendto(client, b"lost", (HOST, relay.port))
            counts = await relay.counts()
            while not counts["to_worker"].lost:
                counts = await relay.counts()
            await relay.set(to_worker=Weather())
            await loop.sock_sendto(client, b"here", (HOST, relay.port))
            assert (await loop.sock_recvfrom(worker, 100))[0] == b"here"


ANSWER = "\r\n".join(
    (
        "v=0",
        "m=video 5000 UDP/TLS/RTP/SAVPF 102",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host",
        "a=candidate:2 1 UDP 2130706430 ::1 5000 typ host",
        "a=candidate:3 1 tcp 1518280447 127.0.0.1 5000 typ host tcptype passive",
        "a=end-of-candidates",
        "",
    )
)


def test_answers_lead_to_the_relay() -> None:
    lines = redirected(ANSWER, 6000).split("\r\n")
    assert "a=candidate:1 1 udp 2130706431 127.0.0.1 6000 typ host" in lines
    assert "a=candidate:2 1 UDP 2130706430 ::1 6000 typ host" in lines
    assert not any(" tcp " in line for line in lines) and lines[1] == "m=video 5000 UDP/TLS/RTP/SAVPF 102"


@pytest.mark.skipif(shutil.which(CHROMIUM) is None, reason="Chromium is not installed")
async def test_chromium_is_led_to_the_relay_too() -> None:
    async with chromium() as browser:
        page = await browser.new_page()
        await page.add_init_script(
            "RTCPeerConnection.prototype.setRemoteDescription = async d => { window.given = d.sdp; };"
        )
        await page.add_init_script(redirect_script(6000))
        await page.goto("about:blank")
        await page.evaluate(
            f"new RTCPeerConnection().setRemoteDescription({{type: 'answer', sdp: {json.dumps(ANSWER)}}})"
        )
        assert await page.evaluate("window.given") == redirected(ANSWER, 6000)
