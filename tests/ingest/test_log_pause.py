"""How often a trouble that lasts is written to the log."""

import itertools

from ingest.log_pause import FIRST_S, MOST_S, LogPause


def written(pause: LogPause, start: float, seconds: int) -> list[float]:
    """When lines were written of what is new ten times a second."""
    times = [start + step / 10 for step in range(seconds * 10)]
    return [time for time in times if pause.is_over(time)]


def test_a_day_of_trouble_is_a_few_hundred_lines() -> None:
    lines = written(LogPause(), 1000.0, 86_400)
    gaps = [after - before for before, after in itertools.pairwise(lines)]
    assert lines[0] == 1000.0 and 1 <= gaps[0] <= FIRST_S + 0.11 and len(lines) < 310
    assert all(after >= before - 0.11 for before, after in itertools.pairwise(gaps))
    assert max(gaps) <= MOST_S + 0.2


def test_what_is_new_after_a_quiet_time_is_told_at_once() -> None:
    pause = LogPause()
    last = written(pause, 1000.0, 600)[-1]
    again = written(pause, last + MOST_S + 200, 20)
    assert again[0] == last + MOST_S + 200 and again[1] - again[0] < FIRST_S + 0.11
