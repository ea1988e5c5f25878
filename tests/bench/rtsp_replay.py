"""A camera that costs next to nothing: the clip over RTSP, by TCP (RFC 2326 section 10.12) or UDP.

Says only what a client needs to play (`python -m tests.bench.rtsp_replay`); every request is answered 200.
"""

import asyncio
import base64
import contextlib
import re
import socket
import sys
import time
from pathlib import Path
from struct import pack

from common import lifecycle
from common.h264 import NAL_PPS, NAL_SPS
from tests.bench import clip, pacing

MAX_PAYLOAD = 1400  # what cameras commonly send
_SSRC = 0x0BE7C401
_PAYLOAD_TYPE = 96


def _payloads(nal: bytes) -> list[bytes]:
    if len(nal) <= MAX_PAYLOAD:
        return [nal]
    indicator, kind = nal[0] & 0xE0 | 28, nal[0] & 0x1F
    parts = [nal[at : at + MAX_PAYLOAD - 2] for at in range(1, len(nal), MAX_PAYLOAD - 2)]
    flags = [0x80, *(0 for _ in parts[2:]), 0x40]
    return [bytes((indicator, flag | kind)) + part for flag, part in zip(flags, parts, strict=True)]


def packets(unit: clip.Unit, timestamp: int, sequence: int) -> list[bytes]:
    """One access unit as RTP packets."""
    payloads = [payload for nal in unit for payload in _payloads(nal)]
    made = []
    for position, payload in enumerate(payloads):
        marker = 0x80 if position == len(payloads) - 1 else 0
        header = pack(
            "!BBHII", 0x80, marker | _PAYLOAD_TYPE, sequence & 0xFFFF, timestamp & 0xFFFF_FFFF, _SSRC
        )
        made.append(header + payload)
        sequence += 1
    return made


def _description(units: list[clip.Unit], url: str) -> str:
    sets = [nal for nal in units[0] if nal[0] & 0x1F in (NAL_SPS, NAL_PPS)]
    sprop = ",".join(base64.b64encode(nal).decode() for nal in sets)
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=bench",
        "t=0 0",
        f"a=control:{url}",
        f"m=video 0 RTP/AVP {_PAYLOAD_TYPE}",
        "c=IN IP4 0.0.0.0",
        f"a=rtpmap:{_PAYLOAD_TYPE} H264/90000",
        f"a=fmtp:{_PAYLOAD_TYPE} packetization-mode=1;profile-level-id={sets[0][1:4].hex()};"
        f"sprop-parameter-sets={sprop}",
        f"a=control:{url}/trackID=0",
    ]
    return "\r\n".join(lines) + "\r\n"


async def main(clip_file: Path, port: int, log: Path) -> None:
    """Serves any number of clients until cancelled; `log` gets when the last packet of each unit was sent."""
    units = clip.load(clip_file)
    sent = log.open("ab", buffering=0)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        player: asyncio.Task[None] | None = None
        sequence = 1
        datagrams: socket.socket | None = None

        def publish(number: int, unit: clip.Unit, _now_ns: int) -> None:
            nonlocal sequence
            for packet in packets(unit, number * pacing.TICKS, sequence):
                sequence += 1
                if datagrams is not None:
                    with contextlib.suppress(ConnectionRefusedError):
                        datagrams.send(packet)
                else:  # each written by itself, as cameras do
                    writer.write(b"$\0" + pack("!H", len(packet)) + packet)
            sent.write(pacing.RECORD.pack(number, time.time_ns()))

        try:
            while True:
                if (first := await reader.readexactly(1)) == b"$":  # the client's RTCP
                    size = int.from_bytes((await reader.readexactly(3))[1:], "big")
                    await reader.readexactly(size)
                    continue
                request = first + await reader.readuntil(b"\r\n\r\n")
                lines = request.decode().split("\r\n")
                method, url, _ = lines[0].split()
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines[1:])
                }
                if length := int(headers.get("content-length", "0")):
                    await reader.readexactly(length)
                answer = ["RTSP/1.0 200 OK", f"CSeq: {headers['cseq']}", "Session: 1;timeout=60"]
                body = ""
                if method == "OPTIONS":
                    answer.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
                elif method == "DESCRIBE":
                    body = _description(units, url)
                    answer += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
                elif method == "SETUP":
                    wanted = re.search(r"client_port=(\d+)-(\d+)", headers["transport"])
                    if wanted:
                        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        datagrams.bind(("127.0.0.1", 0))
                        datagrams.connect(("127.0.0.1", int(wanted[1])))
                        own = datagrams.getsockname()[1]
                        answer.append(
                            f"Transport: RTP/AVP;unicast;{wanted[0]};server_port={own}-{own + 1 & 0xFFFF}"
                        )
                    else:
                        answer.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
                writer.write(("\r\n".join(answer) + "\r\n\r\n" + body).encode())
                if method == "PLAY" and player is None:
                    player = asyncio.create_task(pacing.play(units, publish, Path("/dev/null")))
                elif method == "TEARDOWN":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if player is not None:
                player.cancel()
            if datagrams is not None:
                datagrams.close()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(client, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    sys.exit(lifecycle.run("replay", lambda: main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
