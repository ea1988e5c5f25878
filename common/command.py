"""`cctv3 COMMAND …`: runs the module of a command, found by name, so that no room imports another."""

import runpy
import sys
from collections.abc import Sequence

COMMANDS = {
    "run": ("common.supervision", "start everything in the foreground; ctrl-C stops it"),
    "status": ("common.commands.status", "show cameras, workers and viewers of the running system"),
    "reload": ("common.commands.reload", "read the configuration file now, and say what came of it"),
    "drain": ("common.commands.drain", "move a worker's viewers to the others, without a gap"),
    "user": ("common.commands.user", "who may log in: add, remove; hash of a password"),
    "probe": ("ingest.probe", "play one camera and say what it sends, and what to set in it"),
}
EXIT_USAGE = 2


def _usage() -> str:
    lines = [f"  {name:8}{summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        ["usage: cctv3 COMMAND ...", "", *lines, "", "`cctv3 COMMAND --help` says what a command takes."]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Ends with the exit status of the command; 2 when there is no such command."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if name not in COMMANDS:
        if name:
            print(f"cctv3: there is no command {name!r}", file=sys.stderr)
        print(_usage(), file=sys.stderr)
        return EXIT_USAGE
    sys.argv = [f"cctv3 {name}", *rest]
    runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
