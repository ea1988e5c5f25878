"""Signaling for tests, with and without peers."""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import FrameType

import pytest
from signaling_support import System, started

TEST_LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """No test lasts longer than its limit, wherever it hangs."""

    def expired(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the test lasts longer than {TEST_LIMIT_S:g} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, TEST_LIMIT_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[System]:
    """Signaling alone."""
    system = System(tmp_path)
    await system.start()
    system.settle()
    yield system
    await system.close()


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """Signaling with a camera and a worker."""
    system = await started(tmp_path)
    yield system
    await system.close()
