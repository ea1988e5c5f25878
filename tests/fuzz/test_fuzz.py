"""Each parser with a fixed set of seeds; `make soak` runs two million cases."""

import pytest

from tests.fuzz import engine
from tests.fuzz.targets import TARGETS

CASES = 250
SEEDS = (1, 2)


@pytest.mark.parametrize("name", TARGETS)
def test_good_input_is_taken(name: str) -> None:
    target = TARGETS[name]
    for data in target.corpus:
        try:
            target.run([data])
        except target.allowed as exc:
            # Recorded exchanges hold the camera's side of other requests than these; what comes to an open
            # port is not all for it.
            assert name.startswith(("session", "stun", "tcp-frames")), exc


@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_errors_come_out(name: str) -> None:
    for seed in SEEDS:
        outcome = engine.run(TARGETS[name], seed, CASES)
        assert outcome.cases == CASES


def test_a_fault_is_found_and_told_with_its_seed() -> None:
    def breaks(pieces: object) -> None:
        raise KeyError("x")

    target = engine.Target("broken", (b"abc",), breaks, (ValueError,))
    with pytest.raises(engine.Finding, match="broken: KeyError: 'x'; seed 5, case 0"):
        engine.run(target, 5, 1)
