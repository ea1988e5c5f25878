"""How often a trouble that lasts is written to the log: the longer, the less."""

FIRST_S = 1.0
MOST_S = 300.0
QUIET_S = 60.0
"So long without anything new begins it anew."


class LogPause:
    """Each line makes the wait for the next twice as long. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._pause_s = FIRST_S
        self._next_s: float | None = None

    def is_over(self, now: float) -> bool:
        """True when there may be a line; it is taken for written."""
        if self._next_s is not None:
            if now < self._next_s:
                return False
            quiet = now - self._next_s > QUIET_S
            self._pause_s = FIRST_S if quiet else min(2 * self._pause_s, MOST_S)
        self._next_s = now + self._pause_s
        return True
