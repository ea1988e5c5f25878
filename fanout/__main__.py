"""`python -m fanout NUMBER`: one fanout worker."""

import argparse
import gc
import sys

from common import lifecycle, resolved
from fanout.service import Worker


def main() -> int:
    """Runs the worker until SIGTERM or SIGINT; gives the exit status."""
    parser = argparse.ArgumentParser(prog="fanout", description="A fanout worker of cctv3.")
    parser.add_argument(
        "number", type=int, help="0 for the first worker; its UDP port is media.port plus this"
    )
    number = parser.parse_args().number

    # Modules live as long as the process: a full garbage collection is short without them.
    gc.collect()
    gc.freeze()

    async def serve() -> None:
        folder = lifecycle.run_folder()
        await Worker(number, resolved.load_system(folder), resolved.load_fanout(folder), folder).run()

    name = f"fanout-{number}"
    return lifecycle.run(name, serve, worker=name)


if __name__ == "__main__":
    sys.exit(main())
