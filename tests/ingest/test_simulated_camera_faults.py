"""Which faults there are, and what they do to marker bits and clocks."""

import pytest

from ingest.simulated.faults import DEFAULT_AFTER_S, HOUR_NS, Faults, parse_faults

NOW = 1_800_000_000 * 10**9
UNITS = [[b"sps"], [b"pps"], [b"one", b"two"]]


def test_no_faults() -> None:
    assert parse_faults("") == Faults()
    assert Faults().wall_clock_ns(NOW, 1e6) == NOW
    assert not Faults().silent(1e6)


def test_all_faults() -> None:
    text = (
        "clock-jump=1,sps-change=2.5,stop-after,no-marker,marker-everywhere,"
        "sps-only-in-sdp,no-rtcp,b-frames,bad-clock"
    )
    assert parse_faults(text) == Faults(1.0, 2.5, DEFAULT_AFTER_S, True, True, True, True, True, True)


@pytest.mark.parametrize("text", ["the-moon", "no-marker=1", "stop-after=soon", "no-marker no-rtcp"])
def test_unknown_faults(text: str) -> None:
    with pytest.raises(ValueError):
        parse_faults(text)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("", ["two"]),
        ("no-marker", []),
        ("marker-everywhere", ["sps", "pps", "two"]),
        ("marker-everywhere,no-marker", ["sps", "pps", "two"]),
    ],
)
def test_marker_bits(text: str, marked: list[str]) -> None:
    found = parse_faults(text).marked(UNITS)
    assert [payload for payload, _ in found] == [b"sps", b"pps", b"one", b"two"]
    assert [payload.decode() for payload, marker in found if marker] == marked


def test_nothing_to_mark() -> None:
    assert Faults().marked([]) == []


def test_clocks() -> None:
    jump = parse_faults("clock-jump=3")
    assert [jump.wall_clock_ns(NOW, played_s) - NOW for played_s in (0, 2.9, 3)] == [0, 0, HOUR_NS]
    assert parse_faults("bad-clock").wall_clock_ns(NOW, 1.5) == 1_500_000_000


def test_silence() -> None:
    stop = parse_faults("stop-after=3")
    assert [stop.silent(played_s) for played_s in (0, 2.9, 3)] == [False, False, True]
