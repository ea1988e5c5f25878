"""Ages of pictures from RTP timestamps, some numbers read from pictures, and the camera's log."""

from pathlib import Path

import pytest

from tests.bench import pacing
from tests.bench.glass_page import Frame, Numbers, Seen, SentLog, ages, settled_ms

UNITS = 250
FRAME_MS = 40
SENT_MS = 1_000_000.0
"UTC of picture 0."
LAST_CACHED = 300
CACHED = 51
"Of pictures 250 to 300."
DELAY_MS = 20.0


def camera(tmp_path: Path) -> SentLog:
    """A camera's log of its first 600 pictures."""
    log = tmp_path / "sent"
    records = ((number, int((SENT_MS + number * FRAME_MS) * 1e6)) for number in range(600))
    log.write_bytes(b"".join(pacing.RECORD.pack(*record) for record in records))
    return SentLog(log, UNITS)


def joined(numbers: dict[int, int]) -> Seen:
    """A page that joined at picture 300: the past within one frame interval, then 60 live pictures.

    `numbers` are read wrongly, by picture.
    """
    edge = 4_000_000_000
    step = pacing.TICKS // CACHED
    base = LAST_CACHED * FRAME_MS + DELAY_MS
    frames = [
        Frame(base + back, base + back, None, edge - step * (CACHED - 1 - back), 1920)
        for back in range(CACHED)
    ]
    for number in range(LAST_CACHED + 2, LAST_CACHED + 60):
        shown = number * FRAME_MS + DELAY_MS
        timestamp = edge + (number - LAST_CACHED) * pacing.TICKS
        frames.append(Frame(shown, shown, None, timestamp, 1920))
    read = [
        (edge + (number - LAST_CACHED) * pacing.TICKS, numbers.get(number, number % UNITS))
        for number in range(350, 357)
    ]
    return Seen({}, frames, read, [], SENT_MS)


def test_ages_of_the_past_and_of_live_pictures(tmp_path: Path) -> None:
    seen = joined({351: 100})
    numbers = Numbers(seen, seen.frames[0], camera(tmp_path), UNITS)
    assert numbers.cached == CACHED
    aged = ages(seen, seen.frames, numbers)
    at, age = aged[0]
    assert at == 0 and age == pytest.approx((CACHED - 1) * FRAME_MS + DELAY_MS)
    assert [age for _, age in aged[CACHED:]] == pytest.approx([DELAY_MS] * (len(aged) - CACHED))
    assert settled_ms(aged, 150, 3000) == CACHED - 3


def test_pictures_whose_numbers_contradict_each_other_are_told(tmp_path: Path) -> None:
    seen = joined({350: 1, 351: 7, 352: 30, 353: 99})
    with pytest.raises(ValueError, match="do not fit"):
        Numbers(seen, seen.frames[0], camera(tmp_path), UNITS)


def test_settled_means_for_good() -> None:
    assert settled_ms([(0, 900), (20, 100), (40, 160), (60, 149), (5000, 300)], 150, 3000) == 60
    assert settled_ms([(0, 900), (20, 100), (40, 160)], 150, 3000) is None


def test_the_longest_gap_is_within_its_interval() -> None:
    seen = joined({})
    past_end, end = seen.frames[CACHED - 1].now, seen.frames[-1].now
    assert seen.longest_gap_ms(0, past_end) == pytest.approx(1)
    assert seen.longest_gap_ms(0, end) == pytest.approx(FRAME_MS)
    assert seen.longest_gap_ms(end, end + 1) == 0
