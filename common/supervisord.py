"""`python -m common.supervisord`: supervisord, whose own lines have the form of all the others (log.py)."""

import logging
import sys
from typing import Any

from supervisor import loggers, supervisord

from common.log import configure

log = logging.getLogger(__name__)


class _Lines:
    """A handler of supervisord's logger; its levels are those of the standard library."""

    level = logging.INFO

    def emit(self, record: Any) -> None:
        glyph = "=" if record.level < logging.WARNING else "!"
        log.log(record.level, "%s %s", glyph, record.asdict()["message"].strip())

    def close(self) -> None:
        """Nothing to do: it is no file."""


def _use_lines(logger: Any, _form: str) -> None:
    logger.addHandler(_Lines())


def main() -> None:
    """Runs until supervisord ends; its options are in sys.argv."""
    configure("supervisord", stream=sys.stdout)  # the lines of its programs go there, too
    loggers.handle_stdout = _use_lines
    supervisord.main()


if __name__ == "__main__":
    main()
