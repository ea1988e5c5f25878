"""The simulated camera as a program, met by real clients."""

import asyncio
import contextlib
import itertools
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import psutil
import pytest

from common.rtp import SenderReport, parse_rtcp, parse_rtp
from common.units import ntp_to_unix_ns, sequence_delta
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, simulated_camera

DEADLINE_S = 20.0


async def probe(url: str, transport: str, *options: str) -> tuple[int, dict]:
    process = await asyncio.create_subprocess_exec(
        *("ffprobe", "-v", "error", "-rtsp_transport", transport, *options, "-of", "json", url),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    async with asyncio.timeout(DEADLINE_S):
        output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output or b"{}")


@contextlib.asynccontextmanager
async def playing(url: str) -> AsyncIterator[asyncio.StreamReader]:
    """A client of our own, at the octets after the reply to PLAY."""
    host, port = "127.0.0.1", int(url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection(host, port)
    try:
        for method, header in (("SETUP", "Transport: RTP/AVP/TCP;interleaved=0-1"), ("PLAY", "X: y")):
            writer.write(f"{method} {url} RTSP/1.0\r\nCSeq: 1\r\n{header}\r\n\r\n".encode())
            reply = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in reply
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(4)
    assert head[:1] == b"$"
    return head[1], await reader.readexactly(int.from_bytes(head[2:], "big"))


@pytest.mark.peers
async def test_ffmpeg_plays_it_over_tcp_and_is_refused_udp() -> None:
    async with simulated_camera(free_tcp_port()) as url:
        entries = "stream=codec_name,width,height,r_frame_rate,has_b_frames"
        status, found = await probe(url, "tcp", "-show_entries", entries)
        assert (status, found["streams"]) == (
            0,
            [
                {
                    "codec_name": "h264",
                    "width": 1280,
                    "height": 720,
                    "has_b_frames": 0,
                    "r_frame_rate": "25/1",
                }
            ],
        )
        status, _ = await probe(url, "udp")
        assert status != 0


async def test_two_clients_get_one_stream_that_begins_with_a_keyframe() -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        simulated_camera(free_tcp_port()) as url,
        playing(url) as one,
        playing(url) as two,
    ):
        streams = []
        for reader in (one, two):
            packets, reports = [], []
            while len({packet.timestamp for packet in packets}) < 5 or not reports:
                channel, data = await frame(reader)
                if channel == 0:
                    packets.append(parse_rtp(data))
                else:
                    reports += parse_rtcp(data)
                if reader is two and len({packet.timestamp for packet in packets}) >= 5:
                    break
            assert [packet.payload[0] & 0x1F for packet in packets[:2]] == [7, 8]
            steps = [sequence_delta(b.sequence, a.sequence) for a, b in itertools.pairwise(packets)]
            assert set(steps) == {1}
            streams.append((packets[0].ssrc, reports))
        (ssrc, reports), (other, _) = streams
        assert ssrc == other
        report = reports[0]
        assert isinstance(report, SenderReport)
        assert report.ssrc == ssrc
        assert ntp_to_unix_ns(report.ntp) > 1_700_000_000 * 10**9


async def test_it_encodes_only_while_somebody_plays() -> None:
    async with asyncio.timeout(DEADLINE_S), simulated_camera(free_tcp_port()) as url:
        (process,) = (
            child for child in psutil.Process().children() if "ingest.simulated_camera" in child.cmdline()
        )
        async with playing(url) as reader:
            await frame(reader)
        await asyncio.sleep(0.2)  # it notices within a frame
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(0.5)
        assert sum(process.cpu_times()[:2]) - before <= 0.02


async def test_a_client_that_speaks_something_else_is_cut_off_and_others_play_on() -> None:
    async with asyncio.timeout(DEADLINE_S), simulated_camera(free_tcp_port()) as url, playing(url) as reader:
        strange, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].split("/")[0]))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await strange.read() == b""
        writer.close()
        await writer.wait_closed()
        for _ in range(50):
            await frame(reader)


def test_a_port_in_use_is_said_in_one_line() -> None:
    port = free_tcp_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        ended = subprocess.run(
            [sys.executable, "-m", "ingest.simulated_camera", "--port", str(port)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "cannot listen" in ended.stderr


def test_an_ingest_does_not_load_it() -> None:
    code = "import sys, ingest.__main__; print([m for m in sys.modules if m == 'av' or 'simulated' in m])"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
