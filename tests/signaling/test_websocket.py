"""The WebSocket over real HTTP and the real bus."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signaling_support import (
    ANSWER,
    FRAGMENT,
    OFFER,
    USER,
    FakeWorker,
    System,
    eventually,
    started,
    users,
    worker_report,
)

from common.access_config import UserConfig
from common.messages import (
    CandidateRequest,
    CloseRequest,
    Refused,
    SelectRequest,
    SessionChanged,
    SessionsRequest,
)
from signaling.broker import WITHDRAWN
from signaling.sessions import ORPHAN_GRACE_S
from signaling.websocket import MAX_REQUESTS, UNAUTHORIZED

Socket = aiohttp.ClientWebSocketResponse

CLOSED = {"type": "close", "final": False}
ANNA = UserConfig("anna", "viewer", ("front",))
OLGA = UserConfig("olga", "operator")


@asynccontextmanager
async def connected(system: System, user: str | None = None) -> AsyncIterator[Socket]:
    headers = {USER: user} if user is not None else {}
    async with system.client.ws_connect(f"{system.url}/ws", headers=headers) as socket:
        yield socket


async def said(socket: Socket) -> dict[str, object]:
    """The next message that is not an event."""
    while True:
        message: dict[str, object] = await socket.receive_json()
        if message["type"] != "event":
            return message


async def ask(socket: Socket, **message: object) -> dict[str, object]:
    await socket.send_json(message)
    return await said(socket)


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
        assert reply == {**CLOSED, "session": session, "reason": "closed by the viewer"}
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


async def test_an_offer_says_what_to_begin_with(system: System) -> None:
    async with connected(system) as socket:
        reply = await ask(socket, type="offer", camera="front", sdp=OFFER, quality="keyframes")
        assert reply["type"] == "answer"
        await opened(socket)
        assert [offer.quality for offer in system.worker.offers()] == ["keyframes", "auto"]


async def test_the_time_is_told_at_once(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.clock, "utc_ns", lambda: 1_760_000_000_000_125_000)
    system.worker.silent = True
    async with connected(system) as socket:
        for _ in range(MAX_REQUESTS):
            await socket.send_json({"type": "offer", "camera": "front", "sdp": OFFER})
        reply = await ask(socket, type="time", id=7)
        assert reply == {"type": "time", "id": 7, "utc_ms": 1_760_000_000_000.125}


async def test_diagnose(system: System) -> None:
    other = await system.add_worker("w1")
    async with connected(system) as socket:
        session = await opened(socket)
        reply = await ask(socket, type="diagnose", session=session, id="d")
        links = ["camera", "ingest", "bus", "worker", "network"]
        assert list(reply) == ["type", "id", "session", *links] and all(reply[link] for link in links)
        assert (reply["type"], reply["id"], reply["session"]) == ("diagnosis", "d", session)
        asked = [request for worker in (system.worker, other) for request in worker.requests]
        assert [each for each in asked if isinstance(each, SessionsRequest)] == [SessionsRequest(session)]
        system.worker.silent = other.silent = True
        reply = await ask(socket, type="diagnose", session=session)
        assert (reply["type"], reply["bus"], reply["network"]) == ("diagnosis", None, None)
        assert reply["camera"] and reply["worker"]["state"] == "silent"  # type: ignore[index]


async def test_diagnose_of_a_session_that_the_worker_forgot(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
        system.worker.sessions.clear()
        await socket.send_json({"type": "diagnose", "session": session})
        replies = {message["type"]: message for message in [await said(socket), await said(socket)]}
        assert replies["close"] == {**CLOSED, "session": session, "reason": "the media worker forgot it"}
        assert replies["error"]["status"] == 404


async def test_diagnose_where_there_is_no_session(system: System) -> None:
    async with connected(system) as socket:
        reply = await ask(socket, type="diagnose", camera="yard", id=3)
        assert (reply["type"], reply["id"], reply["session"]) == ("diagnosis", 3, None)
        assert reply["camera"]["state"] == "down"  # type: ignore[index]
        assert reply["ingest"] == {"up": False, "age_s": None}
        assert reply["bus"] is reply["worker"] is reply["network"] is None
        assert not system.worker.requests


async def test_what_is_shown_is_told_after_the_answer(system: System) -> None:
    system.worker.notices = (SessionChanged("", "sub", "the link carries 300 kbit/s"),)
    async with connected(system) as socket:
        session = await opened(socket)
        shown = {"session": session, "showing": "sub", "reason": "the link carries 300 kbit/s"}
        assert await said(socket) == {"type": "showing", **shown}
        system.worker.change(session, "main", "asked for")
        reply = await said(socket)
        assert (reply["type"], reply["showing"], reply["reason"]) == ("showing", "main", "asked for")


async def test_only_the_sessions_own_worker_says_what_is_shown(system: System) -> None:
    other = await system.add_worker("w1")
    async with connected(system) as socket:
        session = await opened(socket)
        serving = system.worker if session in system.worker.sessions else other
        (other if serving is system.worker else system.worker).change(session, "sub", "not mine")
        serving.change(session, "keyframes", "mine")
        assert (await said(socket))["reason"] == "mine"


async def test_several_sessions_on_one_socket(system: System) -> None:
    await system.add_ingest("yard")
    async with connected(system) as socket:
        sessions = [await opened(socket, "front"), await opened(socket, "yard")]
        system.worker.end(sessions[0], "DTLS closed")
        reply = await said(socket)
        assert reply == {**CLOSED, "session": sessions[0], "reason": "DTLS closed"}
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
        reply = await said(socket)
        assert reply == {**CLOSED, "session": session, "reason": "the media worker was restarted"}


async def test_a_dead_worker_ends_its_sessions(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
        system.clock.now_s += 2.1
        system.broker.tick()
        reply = await said(socket)
        assert reply == {**CLOSED, "session": session, "reason": "the media worker died"}


async def test_a_lost_socket_may_be_replaced(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
    await eventually(lambda: system.broker.sessions._orphans)
    attached = {"type": "attached", "session": session, "id": "a"}
    async with connected(system) as socket:
        reply = await ask(socket, type="attach", session=session, id="a")
        assert reply == {**attached, "showing": None, "reason": None}
    system.worker.change(session, "keyframes", "slow link")
    await eventually(lambda: system.broker.sessions.all()[0].change)
    async with connected(system) as socket:
        reply = await ask(socket, type="attach", session=session, id="a")
        assert reply == {**attached, "showing": "keyframes", "reason": "slow link"}
        system.worker.end(session, "over")
        assert (await said(socket))["type"] == "close"


async def test_an_unclaimed_session_is_ended(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
    await eventually(lambda: system.broker.sessions._orphans)
    system.clock.now_s += ORPHAN_GRACE_S
    system.broker.registry.forgive(ORPHAN_GRACE_S)
    system.broker.tick()
    await eventually(lambda: CloseRequest(session) in system.worker.requests)
    assert system.broker.sessions.get(session) is None


async def test_a_page_that_is_left_ends_its_sessions(system: System) -> None:
    async with connected(system) as socket, connected(system) as other:
        session, kept = await opened(socket), await opened(other)
        await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
        await eventually(lambda: CloseRequest(session) in system.worker.requests)
        assert [each.id for each in system.broker.sessions.all()] == [kept]
        assert not system.broker.sessions._orphans


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
        ({"type": "offer", "camera": "front", "sdp": OFFER, "quality": "best"}, 400),
        ({"type": "diagnose", "session": "nope"}, 404),
        ({"type": "diagnose", "camera": "nowhere"}, 404),
        ({"type": "diagnose"}, 400),
        ({"type": "dance"}, 400),
    ],
)
async def test_errors(system: System, message: dict[str, object], status: int) -> None:
    async with connected(system) as socket:
        reply = await ask(socket, **message, id="x")
        expected = {"type", "status", "title", "detail", "id"} | ({"session"} & message.keys())
        assert reply.keys() == expected | ({"retry_after"} if status == 503 else set())
        assert (reply["type"], reply["status"], reply["id"]) == ("error", status, "x")


async def test_refusals_of_the_worker(system: System) -> None:
    system.worker.reply = Refused("not-acceptable", "no H.264")
    async with connected(system) as socket:
        reply = await ask(socket, type="offer", camera="front", sdp=OFFER)
        assert (reply["status"], reply["detail"]) == (406, "no H.264")


@pytest.mark.parametrize("kind", ["attach", "select"])
async def test_a_fault_of_signaling_is_told_and_leaves_the_socket(
    system: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    def fail(*_: object) -> None:
        raise OverflowError

    async with connected(system) as socket:
        session = await opened(socket)
        monkeypatch.setattr(system.broker, kind, fail)
        reply = await ask(socket, type=kind, session=session, quality="sub")
        assert (reply["type"], reply["status"], reply["session"]) == ("error", 500, session)
        assert (await ask(socket, type="time"))["type"] == "time"
    assert f"{kind.capitalize()} over WebSocket failed" in caplog.text


async def test_binary_messages_are_errors(system: System) -> None:
    async with connected(system) as socket:
        await socket.send_bytes(b"\x00")
        assert (await said(socket))["status"] == 400
        await opened(socket)


async def test_a_megabyte_ends_the_socket(system: System) -> None:
    async with connected(system) as socket:
        await socket.send_str("x" * (1 << 20))
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
    async with connected(system) as socket:
        await socket.send_str("x" * (100 << 10))
        assert (await said(socket))["status"] == 413
        await opened(socket)


async def test_too_many_requests_at_a_time(system: System) -> None:
    async with connected(system) as socket:
        session = await opened(socket)
        system.worker.silent = True
        for number in range(MAX_REQUESTS + 1):
            await socket.send_json({"type": "select", "session": session, "quality": "sub", "id": number})
        reply = await said(socket)
        assert (reply["status"], reply["id"], reply["retry_after"]) == (429, MAX_REQUESTS, 1)


WALL = 64
"Sessions of the largest page."
WALL_OFFER: dict[str, object] = {"type": "offer", "camera": "front", "sdp": OFFER, "quality": "sub"}


async def burst(socket: Socket, messages: list[dict[str, object]]) -> list[dict[str, object]]:
    """Sends all of them before it reads an answer."""
    for number, message in enumerate(messages):
        await socket.send_json({**message, "id": number})
    return [await said(socket) for _ in messages]


async def opened_wall(socket: Socket) -> list[str]:
    replies = await burst(socket, [WALL_OFFER] * WALL)
    assert {reply["type"] for reply in replies} == {"answer"}
    return [str(reply["session"]) for reply in replies]


async def test_a_wall_comes_back_and_attaches_to_all_of_its_sessions(system: System) -> None:
    """The messages arrive together, and none of them is one too many."""
    async with connected(system) as socket:
        sessions = await opened_wall(socket)
    await eventually(lambda: len(system.broker.sessions._orphans) == WALL)
    async with connected(system) as socket:
        replies = await burst(socket, [{"type": "attach", "session": session} for session in sessions])
        assert [(reply["type"], reply["session"]) for reply in replies] == [
            ("attached", session) for session in sessions
        ]
        assert not system.broker.sessions._orphans
        selected = await burst(
            socket, [{"type": "select", "session": session, "quality": "main"} for session in sessions]
        )
        assert {reply["type"] for reply in selected} == {"selected"}
        # They are this socket's now.
        system.clock.now_s += 2.1
        system.broker.tick()
        closes = [await said(socket) for _ in sessions]
        assert {(close["type"], close["session"]) for close in closes} == {("close", id) for id in sessions}


async def test_a_wall_is_changed_for_another_at_once(system: System) -> None:
    async with connected(system) as socket:
        sessions = await opened_wall(socket)
        closes: list[dict[str, object]] = [{"type": "close", "session": session} for session in sessions]
        kinds = [reply["type"] for reply in await burst(socket, [*closes, *[WALL_OFFER] * WALL])]
        assert (kinds.count("close"), kinds.count("answer")) == (WALL, WALL)


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
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
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
    kinds = st.sampled_from(["offer", "attach", "candidate", "select", "close", "diagnose"])
    keys = st.sampled_from(["id", "session", "camera", "sdp", "candidate", "quality", "replaces"])

    async def exchange(socket: Socket, message: dict[str, object]) -> None:
        reply = await ask(socket, **message)
        assert reply["type"] == "error"
        assert reply["status"] in {400, 404, 413}
        assert not system.worker.requests

    with asyncio.Runner() as runner:
        system = runner.run(started(tmp_path))
        socket = runner.run(system.client.ws_connect(f"{system.url}/ws"))

        @settings(max_examples=80)
        @given(st.dictionaries(keys, values), kinds)
        def fuzz(content: dict[str, object], kind: str) -> None:
            runner.run(exchange(socket, {**content, "type": kind}))

        try:
            fuzz()
        finally:
            runner.run(socket.close())
            runner.run(system.close())


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[System]:
    """A system that anna, who may see `front`, and the operator olga use."""
    system = await started(tmp_path, config=users(ANNA, OLGA))
    await system.add_ingest("yard")
    yield system
    await system.close()


async def test_a_hidden_camera_is_no_camera(guarded: System) -> None:
    async with connected(guarded, "anna") as socket:
        hidden = await ask(socket, type="offer", camera="yard", sdp=OFFER)
        unknown = await ask(socket, type="offer", camera="nowhere", sdp=OFFER)
        assert str(hidden["detail"]).replace("yard", "nowhere") == unknown["detail"]
        assert hidden["status"] == unknown["status"] == 404
        await opened(socket)


async def test_a_hidden_camera_is_not_diagnosed(guarded: System) -> None:
    async with connected(guarded, "anna") as anna, connected(guarded, "olga") as olga:
        hidden = await ask(anna, type="diagnose", camera="yard")
        unknown = await ask(anna, type="diagnose", camera="nowhere")
        assert str(hidden["detail"]).replace("yard", "nowhere") == unknown["detail"]
        assert hidden["status"] == unknown["status"] == 404
        assert (await ask(anna, type="diagnose", camera="front"))["type"] == "diagnosis"
        assert (await ask(olga, type="diagnose", camera="yard"))["type"] == "diagnosis"


async def test_a_viewer_is_not_told_how_busy_the_worker_is(guarded: System) -> None:
    async with connected(guarded, "anna") as anna, connected(guarded, "olga") as olga:
        session = await opened(anna)
        guarded.worker.report(cpu=0.5)
        worker = {"name": "fanout-w0", "state": "up", "cpu": 0.5, "loop_lag_s": 0.002, "viewers": 1}
        while (reply := await ask(olga, type="diagnose", session=session))["worker"] != worker:
            assert reply["type"] == "diagnosis"
        reply = await ask(anna, type="diagnose", session=session)
        assert reply["worker"] == {**worker, "cpu": None, "loop_lag_s": None, "viewers": None}


async def test_a_session_is_its_viewers_and_the_operators(guarded: System) -> None:
    bert = UserConfig("bert", "viewer")
    guarded.authority.configure(users(ANNA, OLGA, bert))
    async with connected(guarded, "anna") as anna, connected(guarded, "bert") as other:
        session = await opened(anna)
        for message in (
            {"type": "attach"},
            {"type": "candidate", "candidate": FRAGMENT},
            {"type": "select", "quality": "keyframes"},
            {"type": "diagnose"},
            {"type": "close"},
        ):
            reply = await ask(other, session=session, **message)
            unknown = await ask(other, session="unknown", **message)
            assert (reply["status"], reply["detail"]) == (404, unknown["detail"])
        assert len(guarded.worker.requests) == 1  # the offer
        async with connected(guarded, "olga") as olga:
            reply = await ask(olga, type="select", session=session, quality="keyframes")
            assert reply["type"] == "selected"


async def test_withdrawn_access_ends_sessions_and_says_so(guarded: System) -> None:
    async with connected(guarded, "anna") as socket:
        session = await opened(socket)
        guarded.authority.configure(users(dataclasses.replace(ANNA, cameras=()), OLGA))
        reply = await said(socket)
        assert reply == {"type": "close", "session": session, "reason": WITHDRAWN, "final": True}
        await eventually(lambda: CloseRequest(session) in guarded.worker.requests)
        assert (await ask(socket, type="offer", camera="front", sdp=OFFER))["status"] == 404


async def test_a_socket_of_somebody_who_is_gone_is_closed(guarded: System) -> None:
    async with connected(guarded, "anna") as socket:
        session = await opened(socket)
        guarded.authority.configure(users(OLGA))
        assert (await said(socket))["session"] == session
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, UNAUTHORIZED)
    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        async with connected(guarded, "anna"):
            pass
    assert raised.value.status in (401, 403)


async def test_everybody_hears_of_his_cameras(guarded: System) -> None:
    async with connected(guarded, "anna") as anna, connected(guarded, "olga") as olga:
        guarded.broker.events.tell("camera", "removed", "yard", camera="yard")
        guarded.broker.events.tell("worker", "died", "fanout-0", worker="fanout-0")
        guarded.broker.events.tell("camera", "stalled", "front", camera="front")
        message = await anna.receive_json()
        assert (message["type"], message["kind"], message["camera"]) == ("event", "camera", "front")
        assert [(await olga.receive_json())["what"] for _ in range(2)] == ["removed", "stalled"]


async def test_a_full_system_says_when_to_come_back(system: System) -> None:
    system.worker.client.notify(worker_report("w0", cpu=0.95))
    await eventually(lambda: any(load.cpu > 0.9 for load in system.broker._loads()))
    async with connected(system) as socket:
        reply = await ask(socket, type="offer", camera="front", sdp=OFFER)
        assert (reply["status"], reply["retry_after"]) == (503, 5)
        assert "the server is full" in str(reply["detail"])
