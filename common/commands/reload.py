"""`cctv3 reload`: the running system reads its configuration file now, and says what came of it.

The file is watched, so this is for those who want to see the answer. The exit status is 0 when the file is in
force, 78 when it is refused and the one before stays in force, 2 when nothing runs.
"""

import argparse
import sys
from collections.abc import Sequence

from common.commands.local_api import ApiRefused, LocalApi, NotRunning, run_folder
from common.commands.overview import Settings, parse_settings
from common.errors import LocalError
from common.lifecycle import EXIT_CONFIG, EXIT_FAILED
from common.log import printable

EXIT_NOT_RUNNING = 2
_REFUSED = (400, 409, 422)


def changes(before: Settings, after: Settings) -> list[str]:
    """What a reload did, a line for each thing. [P]"""
    lines = []
    for sign, names in (
        ("+", [name for name in after.cameras if name not in before.cameras]),
        ("-", [name for name in before.cameras if name not in after.cameras]),
    ):
        lines += [f"{sign} camera {name}" for name in names]
    if not lines and after.revision != before.revision:
        lines.append("= the same cameras; something of theirs, of users or access changed")
    if after.revision == before.revision:
        lines.append("= nothing changed")
    lines += [f"! {key} takes effect at the next start" for key in after.restart_needed]
    return lines


def _reload(api: LocalApi) -> int:
    before = parse_settings(api.get("configuration"))
    try:
        after = parse_settings(api.request("POST", "configuration/reload"))
    except ApiRefused as exc:
        if exc.status not in _REFUSED:
            raise
        return _refused(str(exc))
    if after.error is not None:
        return _refused(after.error)
    print("\n".join(printable(line) for line in changes(before, after)))
    return 0


def _refused(reason: str) -> int:
    print(f"{printable(reason)}\nThe configuration before stays in force.", file=sys.stderr)
    return EXIT_CONFIG


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="cctv3 reload", description="Makes the running system read its configuration file now."
    )
    parser.parse_args(arguments)
    try:
        return _reload(LocalApi(run_folder()))
    except NotRunning as exc:
        print(exc, file=sys.stderr)
        return EXIT_NOT_RUNNING
    except LocalError as exc:
        print(exc, file=sys.stderr)
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
