"""Requests to workers end when the worker does."""

import asyncio

import pytest
from signaling_support import System, eventually

from common.bus import BusTimeout, PeerUnreachable
from common.messages import SessionsReport, SessionsRequest


async def test_an_answer_comes_through(system: System) -> None:
    assert await system.broker._calls.request("fanout-w0", SessionsRequest()) == SessionsReport(())


async def test_a_death_ends_what_is_under_way(system: System) -> None:
    system.worker.silent = True
    calls = system.broker._calls
    waiting = [asyncio.ensure_future(calls.request("fanout-w0", SessionsRequest())) for _ in range(2)]
    await eventually(lambda: len(system.worker.requests) == 2)
    calls.died("fanout-w0")
    calls.died("fanout-w0")
    for request in waiting:
        with pytest.raises(PeerUnreachable, match="died"):
            await request
    system.worker.silent = False
    assert await calls.request("fanout-w0", SessionsRequest()) == SessionsReport(())


async def test_silence_and_absence(system: System) -> None:
    system.worker.silent = True
    with pytest.raises(BusTimeout, match="did not answer"):
        await system.broker._calls.request("fanout-w0", SessionsRequest())
    with pytest.raises(PeerUnreachable):
        await system.broker._calls.request("fanout-w9", SessionsRequest())
