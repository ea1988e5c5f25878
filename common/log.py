"""Logs: one line per event on stderr, where supervisord collects them; URLs lose their credentials.

Glyphs: `<` in, `>` out, `=` state, `%` keep-alive, `!` fault.
"""

import logging
import os
import sys
import time

from common.urls import redact


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def configure(name: str) -> None:
    """Sends every log line to stderr as `time level name: message`, UTC with milliseconds."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Formatter(f"%(asctime)s.%(msecs)03dZ %(levelname)s {name}: %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    logging.basicConfig(level=os.environ.get("CCTV3_LOG", "INFO").upper(), handlers=[handler], force=True)
    # Libraries report each connection at INFO; their faults stay visible.
    for library in ("aiohttp.access", "aioice", "aiortc"):
        logging.getLogger(library).setLevel(logging.WARNING)
