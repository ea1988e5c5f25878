"""Offers go to the worker with the most headroom, then to another one."""

import asyncio

import pytest
from signaling_support import System, eventually, worker_report

from common.messages import Refused
from signaling.problems import Problem


async def test_offers_under_way_and_new_sessions_count(system: System) -> None:
    await system.open()
    system.worker.silent = True
    waiting = asyncio.ensure_future(system.open())
    await eventually(lambda: len(system.worker.offers()) == 2)
    (load,) = system.broker._loads()
    assert (load.viewers, load.cameras, load.reports) == (2, {"front"}, ())
    with pytest.raises(Problem, match="did not answer"):
        await waiting
    (load,) = system.broker._loads()
    assert load.viewers == 1


async def test_a_worker_that_does_not_answer_gets_no_more(system: System) -> None:
    other = await system.add_worker("w1")
    system.worker.silent = True
    waiting = [asyncio.ensure_future(system.open()) for _ in range(2)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert len(system.worker.offers()) == len(other.sessions) == 1
    system.clock.now_s += 0.4
    system.broker.registry.forgive(0.4)
    opened = await asyncio.gather(*(system.open() for _ in range(6)))
    assert {session.worker for session in opened} == {"fanout-w1"}
    assert len(system.worker.offers()) == 1
    assert len(other.offers()) == 7
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_what_a_report_says_is_used(system: System) -> None:
    report = worker_report("w0", cpu=0.3)
    system.worker.client.notify(report)
    await eventually(lambda: system.broker._loads()[0].reports == (report,))
    (load,) = system.broker._loads()
    assert load.cameras == {"front"}
    assert system.broker.headrooms() == {"fanout-w0": pytest.approx(0.74)}


async def test_who_refuses_is_passed_over_once(system: System) -> None:
    others = [await system.add_worker(name) for name in ("w1", "w2")]
    for worker in (system.worker, *others):
        worker.reply = Refused("overloaded", "full")
    with pytest.raises(Problem, match="full") as raised:
        await system.open()
    assert raised.value.status == 503
    assert sum(len(worker.offers()) for worker in (system.worker, *others)) == 2


async def test_a_bad_offer_is_not_given_to_the_next(system: System) -> None:
    other = await system.add_worker("w1")
    for worker in (system.worker, other):
        worker.reply = Refused("bad-offer", "no H.264")
    with pytest.raises(Problem) as raised:
        await system.open()
    assert raised.value.status == 400
    assert len(system.worker.offers()) + len(other.offers()) == 1


async def test_joins_at_once_spread_over_all(system: System) -> None:
    workers = [system.worker, *[await system.add_worker(name) for name in ("w1", "w2", "w3")]]
    await asyncio.gather(*(system.open() for _ in range(200)))
    assert [len(worker.sessions) for worker in workers] == [50, 50, 50, 50]
