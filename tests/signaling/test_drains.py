"""A worker is emptied: viewers with a socket are asked to move, the others are closed after a while."""

import aiohttp
import pytest
from signaling_support import OFFER, FakeWorker, System, eventually

from common.messages import CloseRequest, Refused
from signaling.broker import DRAINED
from signaling.drains import DRAIN_WHEP_S
from signaling.problems import Problem

Socket = aiohttp.ClientWebSocketResponse


def workers_told(system: System) -> list[tuple[str | None, str]]:
    return [(event.worker, event.what) for event in system.broker.events._kept if event.kind == "worker"]


async def opened(socket: Socket, **more: str) -> str:
    await socket.send_json({"type": "offer", "camera": "front", "sdp": OFFER, **more})
    reply = await socket.receive_json()
    assert reply["type"] == "answer", reply
    return str(reply["session"])


async def of_type(socket: Socket, kind: str) -> dict[str, object]:
    """The next message of that type."""
    while True:
        message: dict[str, object] = await socket.receive_json()
        if message["type"] == kind:
            return message


async def test_a_page_is_asked_to_move_and_leaves_by_itself(system: System) -> None:
    async with system.client.ws_connect(f"{system.url}/ws") as socket:
        old = await opened(socket)
        other = await system.add_worker("w1")
        await system.broker.drain("fanout-w0", True, by="olga")
        assert await of_type(socket, "move") == {"type": "move", "session": old}
        system.broker.tick()  # it is not asked twice
        new = await opened(socket, replaces=old)
        assert new in other.sessions
        assert old in system.worker.sessions
        await socket.send_json({"type": "close", "session": old})
        assert (await of_type(socket, "close"))["session"] == old
        system.broker.tick()
        expected = [("fanout-w0", "up"), ("fanout-w1", "up"), ("fanout-w0", "draining")]
        assert workers_told(system) == [*expected, ("fanout-w0", "drained")]
        told = [(event.what, event.viewer) for event in system.broker.events._kept if event.kind == "session"]
        assert told == [("opened", "anonymous"), ("moved", "anonymous"), ("ended", "anonymous")]


async def test_a_draining_worker_gets_no_viewers(system: System) -> None:
    await system.broker.drain("fanout-w0", True, by="olga")
    assert system.worker.draining
    with pytest.raises(Problem, match="draining") as raised:
        await system.open()
    assert (raised.value.status, raised.value.headers["Retry-After"]) == (503, "5")
    await system.broker.drain("fanout-w0", False, by="olga")
    await system.open()
    assert workers_told(system)[-1] == ("fanout-w0", "up")


async def test_whep_viewers_are_closed_when_there_is_room_elsewhere(system: System) -> None:
    session = await system.open()
    await system.broker.drain("fanout-w0", True, by="olga")
    system.clock.now_s += DRAIN_WHEP_S + 0.1
    system.broker.registry.forgive(DRAIN_WHEP_S + 0.1)
    system.broker.tick()
    assert system.broker.sessions.get(session.id) is not None
    await system.add_worker("w1")
    system.broker.tick()
    assert system.broker.sessions.get(session.id) is None
    await eventually(lambda: CloseRequest(session.id) in system.worker.requests)
    ended = [event for event in system.broker.events._kept if event.what == "ended"]
    assert [event.text for event in ended] == [DRAINED]


async def test_a_page_that_was_away_is_asked_when_it_is_back(system: System) -> None:
    async with system.client.ws_connect(f"{system.url}/ws") as socket:
        session = await opened(socket)
    await eventually(lambda: system.broker.sessions._orphans)
    await system.broker.drain("fanout-w0", True, by="olga")
    for _ in range(2):
        async with system.client.ws_connect(f"{system.url}/ws") as socket:
            await socket.send_json({"type": "attach", "session": session})
            assert (await of_type(socket, "attached"))["session"] == session
            system.broker.tick()
            assert (await of_type(socket, "move"))["session"] == session
        await eventually(lambda: system.broker.sessions._orphans)


async def test_a_worker_says_itself_that_it_drains(system: System) -> None:
    """So it is after a restart of signaling."""
    system.worker.draining = True
    system.worker.report()
    await eventually(lambda: any(worker.draining for worker in system.broker.registry.workers()))
    system.broker.tick()
    assert workers_told(system)[1:] == [("fanout-w0", "draining"), ("fanout-w0", "drained")]
    system.worker.client.close()
    system.peers.append(FakeWorker("w0", system.endpoint, epoch=2).start().client)
    await eventually(lambda: not any(worker.draining for worker in system.broker.registry.workers()))
    system.broker.tick()
    await system.open()


async def test_who_cannot_be_drained(system: System) -> None:
    with pytest.raises(Problem) as raised:
        await system.broker.drain("fanout-w7", True, by="olga")
    assert raised.value.status == 404
    system.worker.reply = Refused("internal", "no")
    with pytest.raises(Problem) as raised:
        await system.broker.drain("fanout-w0", True, by="olga")
    assert raised.value.status == 500
    system.worker.reply, system.worker.silent = None, True
    with pytest.raises(Problem) as raised:
        await system.broker.drain("fanout-w0", True, by="olga")
    assert raised.value.status == 504
