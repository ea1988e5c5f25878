"""What protecting and sending the same packets costs at least on this machine (floor.c)."""

import asyncio
import shutil
import subprocess
from pathlib import Path

from fanout.packetizing.h264 import payloads
from fanout.packetizing.packetized import group
from tests.bench import clip
from tests.support.viewer_rtp import Reception
from tests.support.viewer_socket import Address, UdpSocket

SOURCE = Path(__file__).with_name("floor.c")
SECONDS = 3.0


class NoFloor(Exception):
    """There is no floor on this machine, with the reason."""


class _Reader:
    """Reads one socket as a viewer does and counts."""

    def __init__(self) -> None:
        self.reception = Reception()
        self.socket = UdpSocket("127.0.0.1", self._on_train, lambda exc: None)

    def _on_train(self, data: bytearray, length: int, size: int, received_ns: int, source: Address) -> None:
        if size == length or not self.reception.take_train(data, length, size, received_ns):
            for at in range(0, length, size):
                self.reception.take(data, at, min(at + size, length), received_ns)


def build(folder: Path) -> Path:
    """Compiles the program; raises NoFloor."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NoFloor("no C compiler")
    program = folder / "floor"
    done = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(SOURCE), "-lcrypto"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NoFloor(f"floor.c does not compile: {done.stderr.strip().splitlines()[0]}")
    return program


async def measure(program: Path, units: list[clip.Unit], viewers: int, seconds: float = SECONDS) -> float:
    """Microseconds of CPU time for each packet that arrived at so many readers; raises NoFloor."""
    runs = [group(payloads(unit)) for unit in units]
    shapes = program.with_name("shapes")
    shapes.write_text(
        "".join(" ".join(",".join(str(len(p)) for p in run) for run in unit) + "\n" for unit in runs)
    )
    readers = [_Reader() for _ in range(viewers)]
    try:
        process = await asyncio.create_subprocess_exec(
            str(program),
            str(shapes),
            str(seconds),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        ports = " ".join(str(reader.socket.address[1]) for reader in readers)
        output, _ = await process.communicate(ports.encode())
        if process.returncode:
            raise NoFloor(f"floor ended with {process.returncode}")
        sent, refused, spent_ns = map(int, output.split())
        if not sent:
            raise NoFloor(f"the kernel refused all {refused} packets: it has no UDP_SEGMENT")
    finally:
        for reader in readers:
            reader.socket.close()
    return spent_ns / 1000 / sent
