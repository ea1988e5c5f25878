"""A program of its own: a camera that is simulated, seen by others as any RTSP camera (RFC 2326).

python -m ingest.simulated_camera --port 8554 [--host 127.0.0.1]
"""

import argparse
import sys

from common import lifecycle
from common.clock import SystemClock
from ingest.simulated.server import SimulatedCamera


def main() -> int:
    """Serves until SIGTERM; gives the exit status."""
    parser = argparse.ArgumentParser(description="A simulated RTSP camera with the clock drawn in.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()

    async def serve() -> None:
        await SimulatedCamera(SystemClock()).run(args.host, args.port)

    return lifecycle.run("simulated-camera", serve)


if __name__ == "__main__":
    sys.exit(main())
