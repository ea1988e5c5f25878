"""An extension that supervisord loads (supervisord.conf): it sees ends at once, and cleans up at its own.

By itself supervisord looks once a second, so a dead program would start again up to a second late, and
ending a hundred cameras, one after the other, would take a minute.
"""

import atexit
import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import Any


class _Signals:
    """The reading end of a socket that gets an octet for every signal; in supervisord's poll set."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        # supervisord starts programs before it collects the dead, so it has to come round once more.
        with contextlib.suppress(BlockingIOError):
            if any(self._reader.recv(4096)):
                self._writer.send(b"\0")

    def handle_error(self) -> None:
        raise


class _NoCalls:
    """The extension point is meant for XML-RPC calls; there are none."""


def _remove_sockets() -> None:
    """Removes what a killed program could not; no program runs any more when supervisord ends."""
    for path in Path(os.environ["CCTV3_RUN"]).glob("*.sock"):
        path.unlink(missing_ok=True)


def _hang_up_is_for_the_keeper(supervisord: Any) -> None:
    """SIGHUP would make supervisord start everything anew; here it means: read the configuration."""
    set_signals = supervisord.options.setsignals

    def pass_on(_number: int, _frame: object) -> None:
        pid = supervisord.process_groups["keeper"].processes["keeper"].pid
        if pid:
            os.kill(pid, signal.SIGHUP)

    def set_ours_too() -> None:
        set_signals()
        signal.signal(signal.SIGHUP, pass_on)

    supervisord.options.setsignals = set_ours_too


def install(supervisord: Any) -> _NoCalls:
    """Called by supervisord when it opens its sockets."""
    _hang_up_is_for_the_keeper(supervisord)
    signals = _Signals()
    supervisord.options.get_socket_map()[signals.fileno()] = signals
    atexit.register(_remove_sockets)
    return _NoCalls()
