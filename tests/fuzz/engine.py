"""Damages inputs by a seed and feeds them whole, cut in two at any octet, and octet by octet."""

import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MAX_INPUT_BYTES = 8192
# Octets with a meaning to some parser: signs of text, limits of numbers, start codes.
_TOKENS = (
    *(
        bytes((value,))
        for value in (0, 1, 0x7F, 0x80, 0xFF, 0x24, 0x0A, 0x0D, 0x20, 0x22, 0x2C, 0x3A, 0x3B, 0x3D)
    ),
    b"\r\n",
    b"\r\n\r\n",
    b"\0\0\1",
    b"\xff\xff\xff\xff",
    b"4294967296",
    b"-1",
    b"%00",
    "ß\u2028".encode(),
)


@dataclass(frozen=True, slots=True)
class Target:
    """One parser."""

    name: str
    corpus: tuple[bytes, ...]
    "Good inputs to begin from."
    run: Callable[[Sequence[bytes]], None]
    "Feeds the pieces of one input to a new parser."
    allowed: tuple[type[Exception], ...]
    "What its documentation says it raises."
    streams: bool = True
    "Takes its input in pieces; the others get it whole."


@dataclass(slots=True)
class Outcome:
    """What became of the cases of one target."""

    target: str
    cases: int = 0
    seconds: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    "Documented errors, by type."
    grown_kb: int = 0
    "Growth of this process's largest resident size meanwhile."


class Finding(AssertionError):
    """An input that brought something else out than the documented error."""


def damaged(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """An input of the corpus with some of its octets changed, dropped, doubled or mixed with another's."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0 if data:
                data[at % len(data)] = rng.randrange(256)
            case 1 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 2:
                del data[at : at + rng.choice((1, 2, 4, 30))]
            case 3:
                data[at:at] = rng.choice(_TOKENS)
            case 4:
                data[at:at] = data[at : at + rng.randrange(64)] * rng.randrange(1, 4)
            case 5:
                other = rng.choice(corpus)
                begin = rng.randrange(len(other) + 1)
                data[at:] = other[begin:]
            case _:
                del data[at:]
    return bytes(data[:MAX_INPUT_BYTES])


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """The input whole, cut in two, or octet by octet."""
    match rng.randrange(4):
        case 0:
            return [data[at : at + 1] for at in range(len(data))]
        case 1 | 2:
            at = rng.randrange(len(data) + 1)
            return [data[:at], data[at:]]
    return [data]


def one_case(target: Target, seed: int, number: int) -> str | None:
    """Runs a case; the name of the documented error it ended with. Raises Finding."""
    rng = random.Random(f"{target.name}/{seed}/{number}")
    data = damaged(rng, target.corpus)
    parts = pieces(rng, data) if target.streams else [data]
    try:
        target.run(parts)
    except target.allowed as exc:
        return type(exc).__name__
    except Exception as exc:
        raise Finding(
            f"{target.name}: {type(exc).__name__}: {exc}; seed {seed}, case {number}, {len(parts)} pieces: "
            f"{data.hex()}"
        ) from exc
    return None


def run(target: Target, seed: int, cases: int) -> Outcome:
    """Runs `cases` cases; raises Finding for the first that is not as documented."""
    outcome = Outcome(target.name)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    for number in range(cases):
        refused = one_case(target, seed, number)
        if refused is not None:
            outcome.refused[refused] += 1
        outcome.cases += 1
    outcome.seconds = time.monotonic() - start
    outcome.grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    return outcome
