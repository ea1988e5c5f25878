"""The yardstick of ingest: PyAV's RTSP reader, told to be quick, writing down what it reads when.

python -m tests.bench.pyav_reader URL tcp|udp LOG
"""

import sys
import time
from pathlib import Path

import av

from common.h264 import split_annex_b
from tests.bench import clip, pacing


def main(url: str, transport: str, log: Path) -> None:
    """Reads until it is ended."""
    options = {"rtsp_transport": transport, "fflags": "nobuffer", "flags": "low_delay", "max_delay": "0"}
    with av.open(url, options=options) as container, log.open("ab", buffering=0) as file:
        for packet in container.demux(video=0):
            now_ns = time.time_ns()
            file.write(pacing.RECORD.pack(clip.fingerprint(split_annex_b(bytes(packet))), now_ns))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
