"""The WebSocket over real HTTP and the real bus."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signaling_support import ANSWER, FRAGMENT, OFFER, FakeWorker, System, eventually, started

from common.messages import CandidateRequest, CloseRequest, Refused, SelectRequest, SessionChanged
from signaling.sessions import ORPHAN_GRACE_S
from signaling.websocket import MAX_REQUESTS

Socket = aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def connected(system: System) -> AsyncIterator[Socket]:
    async with system.client.ws_connect(f"{system.url}/ws") as socket:
        yield socket


async def ask(socket: Socket, **message: object) -> dict[str, object]:
    await socket.send_json(message)
    reply: dict[str, object] = await socket.receive_json()
    return reply


async def opened(socket: Socket, camera: str = "front") -> str:
    reply = await ask(socket, type="offer", camera=camera, sdp=OFFER, id=1)
    assert (reply["type"], reply["id"], reply["sdp"]) == ("answer", 1, ANSWER), reply
    return str(reply["session"])


async def test_offer_candidate_close(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
        await socket.send_json({"type": "candidate", "session": session, "candidate": FRAGMENT})
        await eventually(lambda: CandidateRequest(session, FRAGMENT) in system.worker.requests)
        reply = await ask(socket, type="close", session=session)
        assert reply == {"type": "close", "session": session, "reason": "closed by the viewer"}
        await eventually(lambda: CloseRequest(session) in system.worker.requests)


async def test_select(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
        reply = await ask(socket, type="select", session=session, quality="sub", id=2)
        assert reply == {"type": "selected", "id": 2, "session": session, "quality": "sub"}
        assert SelectRequest(session, "sub") in system.worker.requests
        system.worker.reply = Refused("not-acceptable", "the camera has no sub stream")
        reply = await ask(socket, type="select", session=session, quality="sub")
        assert (reply["status"], reply["detail"]) == (406, "the camera has no sub stream")


async def test_what_is_shown_is_told_after_the_answer(system: System) -> None:
    system.worker.notices = (SessionChanged("", "sub", "the link carries 300 kbit/s"),)
    async with connected(system) as socket:
        session = await opened(socket)
        shown = {"session": session, "showing": "sub", "reason": "the link carries 300 kbit/s"}
        assert await socket.receive_json() == {"type": "showing", **shown}
        system.worker.change(session, "main", "asked for")
        reply = await socket.receive_json()
        assert (reply["type"], reply["showing"], reply["reason"]) == ("showing", "main", "asked for")


async def test_only_the_sessions_own_worker_says_what_is_shown(system: System) -> None:
    other = await system.add_worker("w1")
    async with connected(system) as socket:
        session = await opened(socket)
        serving = system.worker if session in system.worker.sessions else other
        (other if serving is system.worker else system.worker).change(session, "sub", "not mine")
        serving.change(session, "keyframes", "mine")
        assert (await socket.receive_json())["reason"] == "mine"


async def test_several_sessions_on_one_socket(system: System) -> None:
    await system.add_ingest("yard")
    async with connected(system) as socket:
        sessions = [await opened(socket, "front"), await opened(socket, "yard")]
        system.worker.end(sessions[0], "DTLS closed")
        reply = await socket.receive_json()
        assert reply == {"type": "close", "session": sessions[0], "reason": "DTLS closed"}
        assert system.broker.sessions.get(sessions[1]) is not None


async def test_only_the_sessions_own_worker_may_end_it(system: System) -> None:
    other = await system.add_worker("w1")
    async with connected(system) as socket:
        session = await opened(socket)
        other.sessions[session] = "front"
        other.end(session, "not mine")
        other.report(cpu=0.5)
        await eventually(lambda: any(load.cpu == 0.5 for load in system.broker._loads()))
        assert system.broker.sessions.get(session) is not None


async def test_a_restarted_worker_ends_its_old_sessions_at_once(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
        system.worker.client.close()
        system.peers.append(FakeWorker("w0", system.endpoint, epoch=2).start().client)
        reply = await socket.receive_json()
        assert reply == {"type": "close", "session": session, "reason": "the media worker was restarted"}


async def test_a_dead_worker_ends_its_sessions(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
        system.clock.now_s += 2.1
        system.broker.tick()
        reply = await socket.receive_json()
        assert reply == {"type": "close", "session": session, "reason": "the media worker died"}


async def test_a_lost_socket_may_be_replaced(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
    await eventually(lambda: system.broker.sessions._orphans)
    attached = {"type": "attached", "session": session, "id": "a"}
    async with connected(system) as socket:
        reply = await ask(socket, type="attach", session=session, id="a")
        assert reply == {**attached, "showing": None, "reason": None}
    system.worker.change(session, "keyframes", "slow link")
    await eventually(lambda: system.broker.find(session).change)
    async with connected(system) as socket:
        reply = await ask(socket, type="attach", session=session, id="a")
        assert reply == {**attached, "showing": "keyframes", "reason": "slow link"}
        system.worker.end(session, "over")
        assert (await socket.receive_json())["type"] == "close"


async def test_an_unclaimed_session_is_ended(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
    await eventually(lambda: system.broker.sessions._orphans)
    system.clock.now_s += ORPHAN_GRACE_S
    system.broker.registry.forgive(ORPHAN_GRACE_S)
    system.broker.tick()
    await eventually(lambda: CloseRequest(session) in system.worker.requests)
    assert system.broker.sessions.get(session) is None


async def test_sessions_survive_a_restart_of_signaling(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
        await system.stop()
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    await system.start()
    async with connected(system) as socket:
        system.worker.report()
        while (reply := await ask(socket, type="attach", session=session))["type"] == "error":
            assert reply["status"] == 503
            await asyncio.sleep(0.05)
            system.worker.report()  # the first one may have gone to the server that died
        assert reply["type"] == "attached"


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ({"type": "offer", "camera": "nowhere", "sdp": OFFER}, 404),
        ({"type": "offer", "camera": "yard", "sdp": OFFER}, 503),
        ({"type": "offer", "camera": "front", "sdp": "hello"}, 400),
        ({"type": "attach", "session": "nope"}, 404),
        ({"type": "candidate", "session": "nope", "candidate": FRAGMENT}, 404),
        ({"type": "close", "session": "nope"}, 404),
        ({"type": "select", "session": "nope", "quality": "sub"}, 404),
        ({"type": "select", "session": "nope", "quality": "best"}, 400),
        ({"type": "dance"}, 400),
    ],
)
async def test_errors(system: System, message: dict[str, object], status: int) -> None:
    async with connected(system) as socket:
        reply = await ask(socket, **message, id="x")
        expected = {"type", "status", "title", "detail", "id"} | ({"session"} & message.keys())
        assert reply.keys() == expected
        assert (reply["type"], reply["status"], reply["id"]) == ("error", status, "x")


async def test_refusals_of_the_worker(system: System) -> None:
    system.worker.reply = Refused("not-acceptable", "no H.264")
    async with connected(system) as socket:
        reply = await ask(socket, type="offer", camera="front", sdp=OFFER)
        assert (reply["status"], reply["detail"]) == (406, "no H.264")


async def test_binary_messages_are_errors(system: System) -> None:
    async with connected(system) as socket:
        await socket.send_bytes(b"\x00")
        assert (await socket.receive_json())["status"] == 400
        await opened(socket)


async def test_a_megabyte_ends_the_socket(system: System) -> None:
    async with connected(system) as socket:
        await socket.send_str("x" * (1 << 20))
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
    async with connected(system) as socket:
        await socket.send_str("x" * (100 << 10))
        assert (await socket.receive_json())["status"] == 413
        await opened(socket)


async def test_too_many_requests_at_a_time(system: System) -> None:
    system.worker.silent = True
    async with connected(system) as socket:
        for number in range(MAX_REQUESTS + 1):
            await socket.send_json({"type": "offer", "camera": "front", "sdp": OFFER, "id": number})
        reply = await socket.receive_json()
        assert (reply["status"], reply["id"]) == (429, MAX_REQUESTS)


async def test_a_socket_that_goes_away_drops_its_offers(system: System) -> None:
    system.worker.silent = True
    async with connected(system) as socket:
        await socket.send_json({"type": "offer", "camera": "front", "sdp": OFFER})
        await eventually(system.worker.offers)
    session = system.worker.offers()[0].session
    await eventually(lambda: CloseRequest(session) in system.worker.requests)


async def test_a_viewer_who_does_not_read_is_dropped(system: System) -> None:
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", system.port))
        _, writer = await asyncio.open_connection(sock=raw, limit=4096)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        nonsense = b"\x81\x81\0\0\0\0x" * 1000  # masked text frames of one letter
        with pytest.raises(ConnectionError):
            while True:
                writer.write(nonsense)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()
    assert (await system.post()).status == 201


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 101),
        ({"Origin": "https://cctv.example", "X-Forwarded-Host": "cctv.example"}, 101),
    ],
)
async def test_pages_of_other_sites_are_refused(system: System, headers: dict[str, str], status: int) -> None:
    try:
        async with system.client.ws_connect(f"{system.url}/ws", headers=headers):
            assert status == 101
    except aiohttp.WSServerHandshakeError as exc:
        assert exc.status == status


async def test_plain_http_is_told_to_upgrade(system: System) -> None:
    async with system.client.get(f"{system.url}/ws") as response:
        assert (response.status, response.headers["Upgrade"]) == (426, "websocket")


def test_any_message_gets_a_reply(tmp_path: Path) -> None:
    values = st.none() | st.integers() | st.text(st.characters(), max_size=10) | st.just(OFFER)
    kinds = st.sampled_from(["offer", "attach", "candidate", "select", "close"])
    keys = st.sampled_from(["id", "session", "camera", "sdp", "candidate", "quality"])

    async def exchange(socket: Socket, message: dict[str, object]) -> None:
        reply = await ask(socket, **message)
        assert reply["type"] == "error"
        assert reply["status"] in {400, 404, 413}
        assert not system.worker.requests

    with asyncio.Runner() as runner:
        system = runner.run(started(tmp_path))
        socket = runner.run(system.client.ws_connect(f"{system.url}/ws"))

        @settings(max_examples=80, deadline=None)
        @given(st.dictionaries(keys, values), kinds)
        def fuzz(content: dict[str, object], kind: str) -> None:
            runner.run(exchange(socket, {**content, "type": kind}))

        try:
            fuzz()
        finally:
            runner.run(socket.close())
            runner.run(system.close())
