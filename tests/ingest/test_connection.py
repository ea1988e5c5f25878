"""The connection to a camera: what goes over it, and every way in which it ends."""

import asyncio
import errno
import socket

import pytest

from common.clock import SystemClock
from common.urls import parse_camera_url
from ingest import connection as module
from ingest.dial import connect
from ingest.rtsp.events import Playing, RtpData
from tests.support.faulty_camera import (
    Close,
    Hang,
    Read,
    Reset,
    Send,
    faulty_camera,
    interleaved,
    reply,
    until_playing,
)

from .dialling import connected, failure, new_session

RTP = interleaved(0, b"\x80\x60" + bytes(10) + b"x")


async def test_plays_and_says_goodbye():
    events, played = [], asyncio.Event()

    def on_event(event):
        events.append(event)
        if isinstance(event, RtpData):
            played.set()

    script = [*until_playing(), Send(RTP), Read(), reply("200 OK"), Hang()]
    async with faulty_camera(script) as camera:
        async with connected(camera.url, on_event) as connection:
            await asyncio.wait_for(played.wait(), 5)
            assert connection.local_address[0] == connection.peer_address[0] == "127.0.0.1"
            assert connection.peer_address[1] == camera.port
        assert connection.ended.exception() is None
        assert camera.requests[-1].startswith("TEARDOWN")
    assert [type(event) for event in events][-2:] == [Playing, RtpData]


async def test_a_camera_that_does_not_answer_teardown_is_left_soon():
    async with faulty_camera([*until_playing(), Hang()]) as camera:
        playing = asyncio.Event()
        async with connected(camera.url, lambda event: playing.set()) as connection:
            await asyncio.wait_for(playing.wait(), 5)
        assert connection.ended.done()


async def test_rtcp_goes_into_the_connection():
    async with faulty_camera([*until_playing(), Hang()]) as camera:
        playing = asyncio.Event()

        def on_event(event):
            if isinstance(event, Playing):
                playing.set()

        async with connected(camera.url, on_event) as connection:
            await asyncio.wait_for(playing.wait(), 5)
            sent = []
            connection._transport.write = sent.append
            connection.send_rtcp(0, b"rtcp")
            assert sent == [b"$\x01\x00\x04rtcp"]


async def test_dead_peers_are_noticed():
    async with faulty_camera([Hang()]) as camera, connected(camera.url) as connection:
        opened = connection._transport.get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        connection.connection_lost(OSError(errno.EHOSTUNREACH, "x"))
        assert str(await failure(connection)) == "camera cannot be reached any more: No route to host"


@pytest.mark.parametrize("step", [Close(), Reset()])
async def test_the_camera_leaves(step):
    async with faulty_camera([Read(), step]) as camera, connected(camera.url) as connection:
        assert "camera closed the connection instead of answering OPTIONS" in str(await failure(connection))


async def test_what_speaks_first_is_no_camera():
    async with faulty_camera([Send(b"SSH-2.0-OpenSSH_9.2\r\n"), Hang()]) as camera:
        url = parse_camera_url(camera.url)
        connection = await connect(url, SystemClock())
        # It is not lost while sockets and session are made ready.
        await asyncio.sleep(0.05)
        connection.start(new_session(url), lambda event: None)
        assert "SSH-2.0" in str(await failure(connection))
        await connection.close()


async def test_what_comes_with_the_end_counts():
    *before, play = until_playing()
    teardown = b"TEARDOWN * RTSP/1.0\r\nCSeq: 77\r\n\r\n"
    script = [*before, Send(play.data + RTP + teardown), Read()]
    events = []
    async with faulty_camera(script) as camera, connected(camera.url, events.append) as connection:
        assert "camera ended the session by TEARDOWN" in str(await failure(connection))
        assert [type(event) for event in events][-2:] == [Playing, RtpData]
        async with asyncio.timeout(5):
            while not camera.requests[-1].startswith("RTSP/1.0 200 OK\r\nCSeq: 77"):
                await asyncio.sleep(0.01)


async def test_what_the_reader_raises_comes_out():
    fault = ValueError("sink")

    def on_event(event):
        raise fault

    async with faulty_camera(until_playing()) as camera, connected(camera.url, on_event) as connection:
        assert await failure(connection) is fault


async def test_a_camera_that_reads_nothing():
    async with faulty_camera([*until_playing(), Read(), Hang()]) as camera:
        playing = asyncio.Event()
        async with connected(camera.url, lambda event: playing.set()) as connection:
            await asyncio.wait_for(playing.wait(), 5)
            connection._transport.get_write_buffer_size = lambda: module.MAX_UNSENT_BYTES + 1
            connection.send_rtcp(0, b"x")
            assert "takes no more data" in str(await failure(connection))


async def test_close_without_a_session():
    async with faulty_camera([Hang()]) as camera:
        connection = await connect(parse_camera_url(camera.url), SystemClock())
        await connection.close()
        assert connection.ended.done()
