"""What may harm the process that does it, or take long, is done by another one: `python -m MODULE …`."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent.parent


class Ended(NamedTuple):
    """What a process left."""

    status: int
    out: bytes
    said: str
    "The last line of its stderr."


async def run(module: str, arguments: Sequence[str], given: bytes, deadline_s: float) -> Ended:
    """Runs a module to its end, `given` on its stdin; raises TimeoutError. It never outlives the call.

    All users of the machine can read arguments; what is secret is to be `given`.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=PROJECT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(deadline_s):
            out, err = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out, err.decode(errors="replace").strip().rpartition("\n")[2])
