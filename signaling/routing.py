"""Which worker gets the next viewer: the least loaded one that has room. [P]"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

FULL_CPU = 0.9
"Above this share of its core a worker takes no more viewers."
CPU_BUCKET = 0.1


@dataclass(frozen=True, slots=True)
class Load:
    """What is known of one live worker."""

    worker: str
    cpu: float
    "Share of one core in the last second, 0 to 1."
    viewers: int
    "Sessions it has, with the offers that are under way to it."


def has_room(load: Load) -> bool:
    """True when the worker can take a viewer."""
    return load.cpu < FULL_CPU


def _key(load: Load) -> tuple[int, int, float, str]:
    # Measured CPU jitters by some percent from second to second and lags behind new viewers. Within one
    # bucket the count decides, so that viewers who arrive together spread out.
    return int(load.cpu / CPU_BUCKET), load.viewers, load.cpu, load.worker


def choose(loads: Iterable[Load], without: Collection[str] = ()) -> str | None:
    """The worker for the next viewer, none of `without`; None when nobody has room."""
    fitting = [load for load in loads if has_room(load) and load.worker not in without]
    return min(fitting, key=_key).worker if fitting else None
