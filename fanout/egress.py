"""The way out of a worker: RTP headers, SRTP and the send of whole runs, which is what each packet costs.

Two forms with one interface, which `egress_python.py` documents: `TransportLog`, `Lane` and `Egress`.

- `kernel`: `egress_kernel.c` over OpenSSL's libcrypto, built when the package is installed where a C compiler
  and the headers of OpenSSL and Python are. Sends without the GIL.
- `python`: everywhere else, and with CCTV3_EGRESS=python in the environment, to compare the two.

What a lane sends, octet for octet, and every error are the same in both.
"""

import contextlib
import os
import socket
from struct import Struct
from typing import TYPE_CHECKING, Literal

from fanout.egress_python import MOST_DELAY, Extensions

FORM: Literal["kernel", "python"]
if TYPE_CHECKING or os.environ.get("CCTV3_EGRESS") == "python":
    from fanout.egress_python import Egress, Lane, TransportLog

    FORM = "python"
else:
    try:
        from fanout._egress import Egress, Lane, TransportLog

        FORM = "kernel"
    except ImportError:
        from fanout.egress_python import Egress, Lane, TransportLog

        FORM = "python"

__all__ = ["FORM", "MOST_DELAY", "Egress", "Extensions", "Lane", "TransportLog", "segmentation_offload"]

_SOL_UDP = 17
_UDP_SEGMENT = 103
_SEGMENT_SIZE = Struct("=H")


def segmentation_offload() -> bool:
    """True when this kernel takes datagram trains; tried on a socket of its own."""
    control = [(_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(1))]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.sendmsg([b"12"], control, 0, probe.getsockname()) == 2
    return False
