"""The pacer: every backlog in its turn, those that have begun first."""

import asyncio

from fanout.pacer import Pacer


class Backlog:
    def __init__(self, name: str, portions: int, order: list[str], fails: bool = False) -> None:
        self.name = name
        self.left = portions
        self.order = order
        self.fails = fails
        self.done = asyncio.Event()
        self.failures = 0

    def failed(self) -> None:
        self.failures += 1

    def pump(self, now: float) -> float | None:
        self.order.append(self.name)
        if self.fails:
            raise ValueError
        self.left -= 1
        if not self.left:
            self.done.set()
            return None
        return now + 0.002


async def test_each_is_called_until_nothing_is_left() -> None:
    order: list[str] = []
    small, large = Backlog("small", 2, order), Backlog("large", 6, order)
    pacer = Pacer()
    pacer.add(large)
    pacer.add(large)
    pacer.add(small)
    async with asyncio.timeout(5):
        await small.done.wait()
        await large.done.wait()
        assert order[:2] == ["large", "small"] and order.count("large") == 6 and order.count("small") == 2
        small.left, small.done = 1, asyncio.Event()
        pacer.add(small)
        await small.done.wait()
    pacer.close()


async def test_who_is_discarded_is_called_no_more_and_may_come_back() -> None:
    order: list[str] = []
    gone, other = Backlog("gone", 1000, order), Backlog("other", 5, order)
    pacer = Pacer()
    pacer.add(gone)
    pacer.add(other)
    async with asyncio.timeout(5):
        while order.count("gone") < 2:
            await asyncio.sleep(0)
        pacer.discard(gone)
        calls = order.count("gone")
        await other.done.wait()
        assert order.count("gone") == calls
        gone.left = 3
        pacer.add(gone)
        await gone.done.wait()
    assert order.count("gone") == calls + 3
    pacer.close()


async def test_one_that_fails_is_given_up_and_harms_nobody() -> None:
    order: list[str] = []
    bad, good = Backlog("bad", 3, order, fails=True), Backlog("good", 3, order)
    pacer = Pacer()
    pacer.add(bad)
    pacer.add(good)
    async with asyncio.timeout(5):
        await good.done.wait()
    assert order.count("bad") == bad.failures == 1
    async with asyncio.timeout(5):
        pacer.add(bad)  # and may come back
        while bad.failures < 2:
            await asyncio.sleep(0)
    pacer.close()


async def test_a_long_queue_leaves_the_loop_to_others() -> None:
    class Slow(Backlog):
        def pump(self, now: float) -> float | None:
            end = loop.time() + 0.001
            while loop.time() < end:
                pass
            return super().pump(now)

    loop = asyncio.get_running_loop()
    order: list[str] = []
    many = [Slow(str(number), 1, order) for number in range(40)]
    pacer = Pacer()
    for each in many:
        pacer.add(each)
    between = 0
    async with asyncio.timeout(5):
        while not many[-1].done.is_set():
            await asyncio.sleep(0)
            between += 1
    assert between > 5
    pacer.close()
