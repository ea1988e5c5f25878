"""`cctv3 status`: cameras, workers and viewers of the system of this machine, at a glance.

The exit status is 0 when all is well, 1 when something needs attention, 2 when nothing runs.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from common import supervision
from common.commands.local_api import ApiRefused, LocalApi, NotRunning, run_folder
from common.commands.overview import Overview, parse_cameras, parse_settings, parse_workers
from common.commands.status_screen import Style, render
from common.errors import LocalError

EXIT_ATTENTION = 1
EXIT_NOT_RUNNING = 2
WATCH_EVERY_S = 1.0

# xterm's private modes 1049 (alternate screen) and 25 (cursor); ECMA-48 for the rest.
_ENTER = "\x1b[?1049h\x1b[?25l"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def _fetch(api: LocalApi) -> dict[str, Any]:
    """The three answers that a overview is made of; raises LocalError."""
    try:
        configuration = api.get("configuration")
    except ApiRefused as exc:
        if exc.status != 503:
            raise
        configuration = None  # the keeper is not heard
    return {
        "cameras": api.get("cameras"),
        "workers": api.get("workers"),
        "configuration": configuration,
    }


def _overview(fetched: dict[str, Any]) -> Overview:
    settings = fetched["configuration"]
    return Overview(
        parse_cameras(fetched["cameras"]),
        parse_workers(fetched["workers"]),
        parse_settings(settings) if settings is not None else None,
    )


def _style() -> Style:
    colours = (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    )
    return Style(shutil.get_terminal_size().columns, colours)


def _without_signaling(api: LocalApi, failure: LocalError) -> int:
    """Says what runs where the API does not answer."""
    try:
        found = supervision.status(api.folder)
    except LocalError:
        print(failure, file=sys.stderr)
        return EXIT_NOT_RUNNING if isinstance(failure, NotRunning) else EXIT_ATTENTION
    programs = ", ".join(f"{program.name} {program.state}" for program in found)
    print(f"signaling does not answer; the processes in {api.folder}: {programs}", file=sys.stderr)
    return EXIT_ATTENTION


def _once(api: LocalApi, as_json: bool) -> int:
    try:
        fetched = _fetch(api)
    except LocalError as exc:
        return _without_signaling(api, exc)
    overview = _overview(fetched)
    if as_json:
        print(json.dumps({**fetched, "attention": overview.needs_attention}, indent=2))
    else:
        print("\n".join(render(overview, _style())))
    return EXIT_ATTENTION if overview.needs_attention else 0


@contextmanager
def _alternate_screen() -> Iterator[None]:
    def ended(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    sys.stdout.write(_ENTER)
    try:
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _draw(lines: Sequence[str], height: int) -> None:
    """As many lines as the terminal has; the last one says how many are missing."""
    if len(lines) > height:
        lines = [*lines[: height - 1], f"… {len(lines) - height + 1} more lines"]
    sys.stdout.write(_HOME + "\r\n".join(line + _CLEAR_LINE for line in lines) + _CLEAR_BELOW)
    sys.stdout.flush()


def _watch(api: LocalApi) -> int:
    """Draws every second until ctrl-C; what was last known stays while signaling is away."""
    overview: Overview | None = None
    away_since: str | None = None
    with _alternate_screen():
        while True:
            now = datetime.now().astimezone().strftime("%H:%M:%S")
            head = f"{now}  ctrl-C ends"
            try:
                overview = _overview(_fetch(api))
                away_since = None
            except LocalError as exc:
                away_since = away_since or now
                head = f"{now}  not heard since {away_since}, trying again: {exc}"
            style = _style()
            lines = [head[: style.width], "", *(render(overview, style) if overview else ())]
            _draw(lines, shutil.get_terminal_size().lines)
            time.sleep(WATCH_EVERY_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit status."""
    parser = argparse.ArgumentParser(prog="cctv3 status", description="Shows cameras, workers and viewers.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true", help="draw anew every second until ctrl-C")
    how.add_argument("--json", action="store_true", help="for programs: what the API says")
    options = parser.parse_args(arguments)
    api = LocalApi(run_folder())
    if not options.watch:
        return _once(api, options.json)
    if not sys.stdout.isatty():
        parser.error("--watch needs a terminal")
    try:
        return _watch(api)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
