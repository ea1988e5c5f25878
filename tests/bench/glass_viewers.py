"""Test viewers in a process of their own, so that they and what is measured do not wait for each other.

`python -m tests.bench.glass_viewers URL CAMERA COUNT` says `playing` when all have pictures; asked `totals`
it says packets and losses, as JSON.
"""

import asyncio
import contextlib
import json
import sys

import aiohttp

from common import lifecycle
from tests.support.viewer import Viewer
from tests.support.viewer_carriers import Refusal, whep

JOINING = 4
"Joins that are under way at a time."
AGAIN_S = 1.0
"Many joins at a time bring a worker to its limit for a moment."


async def main(url: str, camera: str, count: int) -> None:
    """Holds the viewers until stdin ends."""
    viewers = [Viewer() for _ in range(count)]
    places = asyncio.Semaphore(JOINING)

    async def join(client: aiohttp.ClientSession, viewer: Viewer) -> None:
        async with places:
            while True:
                with contextlib.suppress(Refusal):
                    await whep(client, f"{url}/whep/{camera}", viewer)
                    break
                await asyncio.sleep(AGAIN_S)
            await viewer.until(lambda: viewer.reception.units > 0)

    async with aiohttp.ClientSession() as client:
        await asyncio.gather(*(join(client, viewer) for viewer in viewers))
    print("playing", flush=True)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        totals = [viewer.totals() for viewer in viewers]
        packets, lost = sum(each.packets for each in totals), sum(each.lost for each in totals)
        print(json.dumps({"packets": packets, "lost": lost}), flush=True)
    for viewer in viewers:
        viewer.close()


if __name__ == "__main__":
    sys.exit(lifecycle.run("viewers", lambda: main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
