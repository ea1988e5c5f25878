"""The yardstick: plain aiortc, fed the same encoded access units (`python -m tests.bench.aiortc_sender`).

One offer as a JSON string per line on stdin, its answer in the same way on stdout.
"""

import asyncio
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import aioice.ice
import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription

from common import lifecycle
from tests.bench import clip, pacing

EncodedPacket: TypeAlias = "av.Packet[av.stream.Stream]"

MAX_QUEUED = 2 * clip.FPS


class EncodedTrack(MediaStreamTrack):
    """Hands encoded packets to aiortc's sender; drops the newest when that is 2 s behind."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._queue: asyncio.Queue[EncodedPacket] = asyncio.Queue(MAX_QUEUED)

    def push(self, packet: EncodedPacket) -> None:
        """Queues one access unit."""
        if not self._queue.full():
            self._queue.put_nowait(packet)

    async def recv(self) -> EncodedPacket:
        return await self._queue.get()


async def main(clip_file: Path, log: Path) -> None:
    """Answers offers and sends until cancelled."""
    # aioice passes loopback addresses over; here they are all that is wanted.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    tracks: list[EncodedTrack] = []
    connections: list[RTCPeerConnection] = []

    def publish(number: int, unit: clip.Unit, _now_ns: int) -> None:
        packet: EncodedPacket = av.Packet(clip.annex_b(unit))
        packet.pts, packet.time_base = number * pacing.TICKS, Fraction(1, 90_000)
        for track in tracks:
            track.push(packet)

    async def answer(sdp: str) -> str:
        connection = RTCPeerConnection()
        connections.append(connection)
        track = EncodedTrack()
        connection.addTrack(track)
        connection.on("connectionstatechange", lambda: started(connection, track))
        await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp

    def started(connection: RTCPeerConnection, track: EncodedTrack) -> None:
        if connection.connectionState == "connected":
            tracks.append(track)

    offers = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(offers), sys.stdin)
    player = asyncio.create_task(pacing.play(clip.load(clip_file), publish, log))
    try:
        while line := await offers.readline():
            print(json.dumps(await answer(json.loads(line))), flush=True)
    finally:
        player.cancel()
        await asyncio.gather(*(connection.close() for connection in connections))


if __name__ == "__main__":
    sys.exit(lifecycle.run("aiortc", lambda: main(Path(sys.argv[1]), Path(sys.argv[2]))))
