"""`cctv3 drain WORKER`: the worker takes no more viewers, and its own move to others without a gap.

Waits until it has none, so that it can be restarted. The exit status is 0 then, 1 when it was refused or
came to nothing, 2 when nothing runs.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from urllib.parse import quote

from common.commands.local_api import LocalApi, NotRunning, run_folder
from common.commands.overview import Worker, parse_workers
from common.errors import LocalError

EXIT_REFUSED = 1
EXIT_NOT_RUNNING = 2
EXIT_INTERRUPTED = 130
LOOK_EVERY_S = 0.5
BEGIN_WITHIN_S = 5.0
"Workers report every second."
GONE_AFTER_S = 5.0
"A signaling process that was started again knows a worker only by its next report."


def _find(api: LocalApi, name: str) -> Worker | None:
    return next((worker for worker in parse_workers(api.get("workers")) if worker.name == name), None)


class _Progress:
    """How many are left: in one line of a terminal, else in a line at each change."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._said: str | None = None

    def say(self, text: str) -> None:
        if text != self._said:
            print(
                f"\r{text}\x1b[K" if self._terminal else text, end="" if self._terminal else "\n", flush=True
            )
            self._said = text

    def close(self) -> None:
        if self._terminal and self._said is not None:
            print()


class _Drain:
    """What one look after the other says of the worker."""

    def __init__(self, name: str, now_s: float) -> None:
        self._name = name
        self._begun = False
        self._begin_by_s = now_s + BEGIN_WITHIN_S
        self._missing_since_s: float | None = None

    def away(self) -> None:
        """Nobody could be asked, so nothing is known of the worker."""
        self._missing_since_s = None

    def ended(self, worker: Worker | None, now_s: float) -> str | None:
        """What became of it, None while that is open; raises LocalError when it does not drain."""
        name = self._name
        if worker is None:
            self._missing_since_s = now_s if self._missing_since_s is None else self._missing_since_s
            return f"{name} has ended" if now_s - self._missing_since_s > GONE_AFTER_S else None
        self._missing_since_s = None
        if worker.draining is None:
            return None
        if self._begun and not worker.draining:
            raise LocalError(f"{name} drains no more: it was restarted, or somebody undid the drain")
        self._begun = worker.draining
        if not self._begun and now_s > self._begin_by_s:
            raise LocalError(f"{name} did not begin to drain; its log may say why")
        if self._begun and not worker.viewers:
            return (
                f"{name} has no viewers and takes none until it is restarted, or until "
                f"`cctv3 drain {name} --undo`"
            )
        return None


def _wait(api: LocalApi, name: str) -> str:
    """Waits until the worker is without viewers; gives what became of it. Raises LocalError."""
    progress = _Progress()
    drain = _Drain(name, time.monotonic())
    try:
        while True:
            try:
                worker = _find(api, name)
            except NotRunning:
                # Signaling may be starting again: the worker drains on.
                drain.away()
                progress.say("signaling is away, trying again")
            else:
                ended = drain.ended(worker, time.monotonic())
                if ended is not None:
                    return ended
                if worker is None or worker.draining is None:
                    progress.say(f"{name} has not reported yet")
                else:
                    progress.say(f"{name}: {worker.viewers} left")
            time.sleep(LOOK_EVERY_S)
    finally:
        progress.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="cctv3 drain", description="Moves the viewers of a worker to the others, without a gap."
    )
    parser.add_argument("worker", help="as `cctv3 status` names it: fanout-0")
    parser.add_argument("--undo", action="store_true", help="let it take viewers again")
    options = parser.parse_args(arguments)
    name: str = options.worker
    api = LocalApi(run_folder())
    path = f"workers/{quote(name, safe='')}/drain"
    try:
        if options.undo:
            api.request("DELETE", path)
            print(f"{name} takes viewers again")
        else:
            api.request("POST", path)
            print(_wait(api, name))
    except NotRunning as exc:
        print(exc, file=sys.stderr)
        return EXIT_NOT_RUNNING
    except LocalError as exc:
        print(exc, file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        print(f"{name} drains on; `cctv3 drain {name} --undo` takes it back")
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
