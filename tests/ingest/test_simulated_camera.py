"""The simulated camera as a program, met by real clients."""

import asyncio
import base64
import contextlib
import itertools
import re
import socket
import struct
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import av
import psutil
import pytest

from common.rtp import RtpPacket, SenderReport, parse_rtcp, parse_rtp
from common.units import ntp_to_unix_ns, sequence_delta, timestamp_delta
from ingest.simulated.drawing import text_rows
from ingest.simulated.picture import caption
from ingest.simulated.tone import tone
from tests.support.certificates import self_signed
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, simulated_camera

DEADLINE_S = 20.0
TCP = "RTP/AVP/TCP;interleaved=0-1"


class Decoded(NamedTuple):
    """What FFmpeg made of the first moments."""

    status: int
    size: str
    sample_rate: int | None
    pictures: int
    errors: str


async def decode(url: str, *options: str) -> Decoded:
    process = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-nostdin", "-v", "error", *options, "-i", url, "-t", "0.6", "-f", "framecrc", "-"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE_S):
        output, errors = await process.communicate()
    text = output.decode()
    size = re.search(r"#dimensions 0: (\S+)", text)
    sample_rate = re.search(r"#sample_rate 1: (\d+)", text)
    return Decoded(
        process.returncode or 0,
        size[1] if size else "",
        int(sample_rate[1]) if sample_rate else None,
        sum(line.startswith("0,") for line in text.splitlines()),
        errors.decode(),
    )


@pytest.mark.peers
@pytest.mark.parametrize(
    ("codec", "audio", "transport", "sample_rate"),
    [
        ("h264", "none", "tcp", None),
        ("h264", "opus", "udp", 48_000),
        ("h264", "pcma", "http", 8_000),
        ("h265", "aac", "udp", 16_000),
        ("h265", "g722", "tcp", 16_000),
        ("jpeg", "pcmu", "tcp", 8_000),
        ("jpeg", "l16", "udp", 16_000),
    ],
)
async def test_ffmpeg_plays(codec: str, audio: str, transport: str, sample_rate: int | None) -> None:
    async with simulated_camera(free_tcp_port(), codec=codec, audio=audio, width=640, height=360) as url:
        found = await decode(url, "-rtsp_transport", transport)
        assert (found.status, found.size, found.sample_rate) == (0, "640x360", sample_rate)
        assert found.pictures >= 10
        if transport != "udp":  # which may lose packets on a machine that is busy
            assert found.errors == ""


@pytest.mark.peers
async def test_ffmpeg_plays_the_defaults_and_the_sub_stream() -> None:
    async with simulated_camera(free_tcp_port()) as url:
        assert (await decode(url))[:3] == (0, "1280x720", None)
        assert (await decode(f"{url}-sub"))[:3] == (0, "640x360", None)


@pytest.mark.peers
@pytest.mark.parametrize("auth", ["basic", "digest"])
async def test_ffmpeg_logs_in(auth: str) -> None:
    async with simulated_camera(free_tcp_port(), user="admin", password="p:w@", auth=auth) as url:
        assert (await decode(url.replace("://", "://admin:p%3Aw%40@"))).status == 0
        assert "401" in (await decode(url.replace("://", "://admin:other@"))).errors


@pytest.mark.peers
async def test_ffmpeg_plays_over_tls_where_udp_is_refused(tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    port = free_tcp_port()
    async with simulated_camera(port, tls_cert=files.certificate, tls_key=files.key):
        found = await decode(f"rtsps://127.0.0.1:{port}/simulated")
        assert (found.status, found.errors) == (0, "")


@pytest.mark.peers
@pytest.mark.parametrize("faults", ["no-marker", "marker-everywhere", "sps-only-in-sdp", "b-frames"])
async def test_ffmpeg_bears_faults(faults: str) -> None:
    async with simulated_camera(free_tcp_port(), width=640, height=360, faults=faults) as url:
        found = await decode(url, "-rtsp_transport", "tcp")
        assert (found.status, found.errors) == (0, "")


def at(url: str) -> tuple[str, int]:
    return "127.0.0.1", int(url.split(":")[2].split("/")[0])


@contextlib.asynccontextmanager
async def playing(url: str, *transports: str) -> AsyncIterator[tuple[asyncio.StreamReader, list[str]]]:
    """A client of our own, at the octets after the reply to PLAY, and the Transport headers it was given."""
    reader, writer = await asyncio.open_connection(*at(url))

    async def ask(method: str, target: str, header: str) -> str:
        writer.write(f"{method} {target} RTSP/1.0\r\nCSeq: 1\r\n{header}\r\n\r\n".encode())
        reply = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert " 200 " in reply
        return reply

    try:
        agreed = []
        for number, transport in enumerate(transports, 1):
            reply = await ask("SETUP", f"{url}/track{number}", f"Transport: {transport}")
            agreed += re.findall(r"Transport: (.*)\r", reply)
        await ask("PLAY", url, "X: y")
        yield reader, agreed
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(4)
    assert head[:1] == b"$"
    return head[1], await reader.readexactly(int.from_bytes(head[2:], "big"))


def capture_ns(packet: RtpPacket, report: SenderReport, clock_rate: int) -> int:
    ticks = timestamp_delta(packet.timestamp, report.rtp_timestamp)
    return ntp_to_unix_ns(report.ntp) + ticks * 1_000_000_000 // clock_rate


async def test_what_is_seen_and_heard_is_of_the_time_that_reports_give() -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        simulated_camera(free_tcp_port(), audio="l16", width=640, height=360) as url,
        playing(url, TCP, "RTP/AVP/TCP;interleaved=2-3") as (reader, _),
    ):
        video: list[RtpPacket] = []
        audio: list[RtpPacket] = []
        reports: dict[int, SenderReport] = {}
        while len(reports) < 2 or len(audio) < 5 or not any(packet.marker for packet in video):
            channel, data = await frame(reader)
            if channel in (0, 2):
                (video if channel == 0 else audio).append(parse_rtp(data))
            else:
                report, *_ = parse_rtcp(data)
                assert isinstance(report, SenderReport)
                reports[channel] = report
    for packet in audio:
        samples = array("h", packet.payload)
        samples.byteswap()
        position = capture_ns(packet, reports[3], 16_000) * 16_000 // 1_000_000_000
        near = tone(position - 80, len(samples) + 160, 16_000)  # 5 ms to either side
        assert samples.tobytes() in near
    utc_ns = capture_ns(video[0], reports[1], 90_000)
    decoder = av.CodecContext.create("h264", "r")
    stream = b"".join(b"\0\0\1" + nal for nal in first_picture(video))
    (picture,) = [*decoder.decode(av.Packet(stream)), *decoder.decode(None)]
    seen = memoryview(picture.planes[0])
    stride = picture.planes[0].line_size

    def difference(offset_ms: int) -> int:
        rows = text_rows(caption(utc_ns + offset_ms * 1_000_000, 0)[0], 2)
        lines = ((seen[y * stride : y * stride + len(row)], row) for y, row in enumerate(rows))
        return sum(abs(a - b) for line, row in lines for a, b in zip(line, row, strict=True))

    assert abs(min(range(-20, 21), key=difference)) <= 5


def first_picture(packets: list[RtpPacket]) -> list[bytes]:
    nals: list[bytes] = []
    for packet in packets:
        if packet.timestamp != packets[0].timestamp:
            break
        payload = packet.payload
        if payload[0] & 0x1F != 28:
            nals.append(payload)
        elif payload[1] & 0x80:
            nals.append(bytes((payload[0] & 0xE0 | payload[1] & 0x1F,)) + payload[2:])
        else:
            nals[-1] += payload[2:]
    return nals


async def test_two_clients_get_one_stream_that_begins_with_a_keyframe() -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        simulated_camera(free_tcp_port()) as url,
        playing(url, TCP) as (one, _),
        playing(url, TCP) as (two, _),
    ):
        streams = []
        for reader in (one, two):
            packets: list[RtpPacket] = []
            reports: list[SenderReport] = []
            while len({packet.timestamp for packet in packets}) < 5 or not reports:
                channel, data = await frame(reader)
                if channel == 0:
                    packets.append(parse_rtp(data))
                else:
                    reports += [item for item in parse_rtcp(data) if isinstance(item, SenderReport)]
            assert [packet.payload[0] & 0x1F for packet in packets[:2]] == [7, 8]
            steps = [sequence_delta(b.sequence, a.sequence) for a, b in itertools.pairwise(packets)]
            assert set(steps) == {1}
            streams.append((packets[0].ssrc, reports))
        (ssrc, reports), (other, _) = streams
        assert ssrc == other == reports[0].ssrc
        assert ntp_to_unix_ns(reports[0].ntp) > 1_700_000_000 * 10**9


@pytest.mark.parametrize("kind", ["unicast", "multicast"])
async def test_datagrams_with_reports(kind: str) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)]
        transport = "RTP/AVP;multicast"
        if kind == "unicast":
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            rtp_port, rtcp_port = (one.getsockname()[1] for one in sockets)
            transport = f"RTP/AVP;unicast;client_port={rtp_port}-{rtcp_port}"
        async with (
            asyncio.timeout(DEADLINE_S),
            simulated_camera(free_tcp_port(), width=320, height=240) as url,
            playing(url, transport) as (_, (agreed,)),
        ):
            if kind == "multicast":
                answered = re.search(r"destination=([\d.]+);port=(\d+)-(\d+)", agreed)
                assert answered is not None
                membership = struct.pack("4s4s", *map(socket.inet_aton, (answered[1], "127.0.0.1")))
                for one, port in zip(sockets, answered.group(2, 3), strict=True):
                    one.bind((answered[1], int(port)))
                    one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            for one in sockets:
                one.setblocking(False)
            packets = [parse_rtp(await loop.sock_recv(sockets[0], 2000)) for _ in range(20)]
            (report, *_) = parse_rtcp(await loop.sock_recv(sockets[1], 2000))
            assert isinstance(report, SenderReport)
            assert {packet.ssrc for packet in packets} == {report.ssrc}
            if kind == "unicast":
                assert f"ssrc={report.ssrc:08X}" in agreed


async def test_it_encodes_only_while_somebody_plays() -> None:
    async with asyncio.timeout(DEADLINE_S), simulated_camera(free_tcp_port(), audio="opus") as url:
        (process,) = (
            child for child in psutil.Process().children() if "ingest.simulated_camera" in child.cmdline()
        )
        async with playing(url, TCP) as (reader, _):
            await frame(reader)
        await asyncio.sleep(0.2)  # it notices within a frame
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(0.5)
        assert sum(process.cpu_times()[:2]) - before <= 0.02


async def test_a_client_that_speaks_something_else_is_cut_off_and_others_play_on() -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        simulated_camera(free_tcp_port()) as url,
        playing(url, TCP) as (reader, _),
    ):
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET /" + b"x" * 10_000,
            b"POST / HTTP/1.1\r\nx-sessioncookie: nobody's\r\n\r\n",
            b"HELLO\r\n\r\n",
        ):
            strange, writer = await asyncio.open_connection(*at(url))
            writer.write(data)
            with contextlib.suppress(ConnectionResetError):
                assert await strange.read() == b""
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        for _ in range(50):
            await frame(reader)


async def test_a_tunnel_takes_one_post_after_another() -> None:
    async with asyncio.timeout(DEADLINE_S), simulated_camera(free_tcp_port()) as url:
        http = "/simulated HTTP/1.0\r\nx-sessioncookie: c1\r\n\r\n"
        reader, writer = await asyncio.open_connection(*at(url))
        writer.write(f"GET {http}".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.0 200 OK\r\n")
        for method, status in (("OPTIONS", b"200"), ("PLAY", b"455"), ("SETUP", b"461")):
            _, post = await asyncio.open_connection(*at(url))
            request = f"{method} {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()
            post.write(f"POST {http}".encode() + base64.b64encode(request))
            assert (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1] == status
            post.close()
            await post.wait_closed()
        writer.close()
        await writer.wait_closed()


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


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--width", "100"], 78, "176x32"),
        (["--tls-key", "key.pem"], 78, "--tls-cert"),
        (["--tls-cert", "/nowhere.pem"], 1, "/nowhere.pem cannot be used: No such file"),
        (["--faults", "the-moon"], 2, "'the-moon' is unknown"),
    ],
)
def test_options_that_cannot_be(arguments: list[str], status: int, message: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ingest.simulated_camera", "--port", "0", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert ended.returncode == status
    assert message in ended.stderr


def test_an_ingest_does_not_load_it() -> None:
    code = "import sys, ingest.__main__; print([m for m in sys.modules if m == 'av' or 'simulated' in m])"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
