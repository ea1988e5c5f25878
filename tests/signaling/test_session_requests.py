"""What is asked of workers about sessions, and workers that answer strangely or not at all."""

import pytest
from signaling_support import OFFER, System

from common.messages import Done, Refused, SelectRequest, SessionsRequest
from signaling.problems import Problem


async def test_a_strange_reply_is_an_internal_error(system: System) -> None:
    system.worker.reply = Done()
    async with await system.post() as response:
        assert response.status == 500
    async with system.client.ws_connect(f"{system.url}/ws") as socket:
        await socket.send_json({"type": "offer", "camera": "front", "sdp": OFFER})
        assert (await socket.receive_json())["status"] == 500


async def test_a_selection_that_is_not_answered(system: System) -> None:
    session = await system.open()
    system.worker.silent = True
    with pytest.raises(Problem, match="did not answer in time"):
        await system.broker.select(session, "sub")
    assert SelectRequest(session.id, "sub") in system.worker.requests


async def test_a_selection_of_a_session_that_the_worker_forgot(system: System) -> None:
    session = await system.open()
    system.worker.sessions.clear()
    with pytest.raises(Problem) as raised:
        await system.broker.select(session, "sub")
    assert raised.value.status == 404
    assert system.broker.sessions.get(session.id) is None


async def test_only_a_sessions_own_worker_is_asked_of_it(system: System) -> None:
    other = await system.add_worker("w1")
    sessions = [await system.open() for _ in range(2)]
    assert {session.worker for session in sessions} == {"fanout-w0", "fanout-w1"}
    for session in sessions:
        report = await system.broker._requests.report(session)
        assert report is not None and report.session == session.id
    for worker in (system.worker, other):
        asked = [each for each in worker.requests if isinstance(each, SessionsRequest)]
        assert asked == [SessionsRequest(own.id) for own in sessions if own.worker == f"fanout-{worker.name}"]


async def test_a_session_of_which_its_worker_says_nothing(system: System) -> None:
    session = await system.open()
    system.worker.reply = Done()
    with pytest.raises(Problem, match="unexpected answer"):
        await system.broker._requests.report(session)
    system.worker.reply = Refused("internal", "it failed")
    with pytest.raises(Problem, match="it failed"):
        await system.broker._requests.report(session)
    system.worker.reply, system.worker.silent = None, True
    assert await system.broker._requests.report(session) is None
    assert system.broker.sessions.get(session.id) is not None
    system.worker.silent = False
    system.worker.sessions.clear()
    with pytest.raises(Problem) as raised:
        await system.broker._requests.report(session)
    assert raised.value.status == 404
    assert system.broker.sessions.get(session.id) is None


async def test_every_worker_is_asked_for_its_sessions(system: System) -> None:
    deaf, odd = await system.add_worker("w1"), await system.add_worker("w2")
    session = await system.open()
    serving = {"fanout-w0": system.worker, "fanout-w1": deaf, "fanout-w2": odd}.pop(session.worker)
    others = [worker for worker in (system.worker, deaf, odd) if worker is not serving]
    others[0].silent, others[1].reply = True, Done()
    reports = await system.broker.session_reports()
    assert [report.session for report in reports[session.worker] or ()] == [session.id]
    assert [reports[f"fanout-{worker.name}"] for worker in others] == [None, None]
