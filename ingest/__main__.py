"""`python -m ingest CAMERA`: the ingest process of one camera, started by supervisord."""

import sys

from common.lifecycle import run
from ingest.service import main

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m ingest CAMERA")
    camera = sys.argv[1]
    sys.exit(run(f"ingest-{camera}", lambda: main(camera), camera=camera))
