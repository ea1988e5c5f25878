"""How the time of a function grows with its input: what cameras send must not cost its square."""

from collections.abc import Callable
from time import thread_time
from typing import TypeVar

_Input = TypeVar("_Input")

SMALL = 4000
TIMES = 8
# 8 where the cost is linear, 64 where it is quadratic.
MOST_TIMES = 28
# Below this the measurement is noise, and the cost no harm.
NO_HARM_S = 0.02


def assert_linear(function: Callable[[_Input], object], of_size: Callable[[int], _Input]) -> None:
    """Asserts that a larger input costs more in proportion; CPU seconds of this thread, the best of a few."""
    small, large = of_size(SMALL), of_size(SMALL * TIMES)
    cost = _cost(function, large)
    assert cost < NO_HARM_S or cost < MOST_TIMES * _cost(function, small)


def _cost(function: Callable[[_Input], object], value: _Input) -> float:
    costs = []
    for _ in range(3):
        begun = thread_time()
        function(value)
        costs.append(thread_time() - begun)
    return min(costs)
