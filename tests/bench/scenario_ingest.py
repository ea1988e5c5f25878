"""Scenario `ingest`: cost and delay of one camera of 4 Mbit/s, beside PyAV's RTSP reader."""

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time_ns
from typing import Literal

from common import config, wire
from common.access_unit import AccessUnit
from common.bus import ControlServer, MediaSubscriber, ipc_endpoint
from common.errors import BusError
from common.messages import CameraReport, IngestHello, Message
from common.resolved import store_resolved
from tests.bench import clip, pacing
from tests.bench.measure import percentile
from tests.bench.process import running, usage
from tests.support.ports import free_tcp_port

CAMERA = "bench"
START_DEADLINE_S = 15.0
SETTLE_S = 2.0
LIVE_TOPIC = wire.live_topic("main", "video")

Carrier = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class IngestStep:
    """One row: one reader of one camera."""

    reader: str
    seconds: float
    access_units: int
    gaps: int
    "Breaks in the access units' sequence numbers."
    lost_packets: int | None
    cpu_percent: float
    "Of one core."
    pss_mb: float
    delay_p50_ms: float
    "From the last RTP packet of a frame sent to the frame in the reader's hands (ingest: over the bus)."
    delay_p99_ms: float
    delay_max_ms: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def delays(
    received: Iterable[tuple[int, int]], units: Sequence[clip.Unit], sent: dict[int, int]
) -> list[float]:
    """Milliseconds, sorted, for each (fingerprint, UTC ns) that belongs to a unit of the clip in `sent`."""
    places = {clip.fingerprint(unit): place for place, unit in enumerate(units)}
    by_place: dict[int, list[int]] = {}
    for number, at_ns in sorted(sent.items()):
        by_place.setdefault(number % len(units), []).append(at_ns)
    found = []
    for fingerprint, at_ns in received:
        # The clip loops every few seconds, and nothing is that late.
        before = [sent_ns for sent_ns in by_place.get(places.get(fingerprint, -1), ()) if sent_ns <= at_ns]
        if before:
            found.append((at_ns - before[-1]) / 1e6)
    return sorted(found)


def _figures(times: Sequence[float]) -> dict[str, float]:
    return {
        "delay_p50_ms": round(percentile(times, 0.5), 2),
        "delay_p99_ms": round(percentile(times, 0.99), 2),
        "delay_max_ms": round(times[-1], 2) if times else 0.0,
    }


async def run(folder: Path, clip_file: Path, seconds: float) -> list[IngestStep]:
    """Measures ingest over TCP and UDP, then PyAV over TCP, each for `seconds`."""
    units = clip.load(clip_file)
    steps = []
    for carrier in ("tcp", "udp"):
        room = folder / carrier
        room.mkdir()
        steps.append(await _ingest(room, clip_file, units, seconds, carrier))
    room = folder / "pyav"
    room.mkdir()
    steps.append(await _pyav(room, clip_file, units, seconds, "tcp"))
    return steps


async def _ingest(
    folder: Path, clip_file: Path, units: Sequence[clip.Unit], seconds: float, carrier: Carrier
) -> IngestStep:
    port, log = free_tcp_port(), folder / "sent"
    camera = config.CameraConfig(CAMERA, f"rtsp://127.0.0.1:{port}/bench", transport=(carrier,))
    store_resolved(config.Config(cameras=(camera,)), folder)
    hello: asyncio.Future[IngestHello] = asyncio.get_running_loop().create_future()
    reports: list[CameraReport] = []
    received: list[AccessUnit] = []
    times: list[int] = []
    first = asyncio.Event()

    def on_control(_identity: str, message: Message) -> None:
        if isinstance(message, IngestHello) and not hello.done():
            hello.set_result(message)
        elif isinstance(message, CameraReport):
            reports.append(message)

    def on_media(frames: list[bytes]) -> None:
        now_ns = time_ns()
        with contextlib.suppress(BusError):
            unit = wire.decode_media(frames)
            if isinstance(unit, AccessUnit):
                received.append(unit)
                times.append(now_ns)
                first.set()

    async with contextlib.AsyncExitStack() as stack:
        server = ControlServer(ipc_endpoint(folder, "control"), on_control)
        stack.callback(server.close)
        await stack.enter_async_context(
            running("tests.bench.rtsp_replay", str(clip_file), str(port), str(log))
        )
        ingest = await stack.enter_async_context(
            running("ingest", CAMERA, environment={"CCTV3_RUN": str(folder)})
        )
        async with asyncio.timeout(START_DEADLINE_S):
            said = await hello
            subscriber = MediaSubscriber(said.media_endpoint, on_media)
            stack.callback(subscriber.close)
            subscriber.subscribe(LIVE_TOPIC)
            await first.wait()
        await asyncio.sleep(SETTLE_S)
        received.clear()
        times.clear()
        before = usage(ingest.pid)
        await asyncio.sleep(seconds)
        after = usage(ingest.pid)
        units_seen, at = list(received), list(times)
    pairs = itertools.pairwise(units_seen)
    seen = ((clip.fingerprint(unit.nals), at_ns) for unit, at_ns in zip(units_seen, at, strict=True))
    return IngestStep(
        reader=f"ingest, {carrier.upper()}",
        seconds=seconds,
        access_units=len(units_seen),
        gaps=sum(later.sequence != earlier.sequence + 1 for earlier, later in pairs),
        lost_packets=reports[-1].renditions[0].lost_packets if reports else 0,
        cpu_percent=round(100 * (after.cpu_s - before.cpu_s) / seconds, 2),
        pss_mb=round(after.pss_kb / 1024, 1),
        **_figures(delays(seen, units, pacing.published(log))),
    )


async def _pyav(
    folder: Path, clip_file: Path, units: Sequence[clip.Unit], seconds: float, carrier: Carrier
) -> IngestStep:
    port, log, read = free_tcp_port(), folder / "sent", folder / "read"
    url = f"rtsp://127.0.0.1:{port}/bench"
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(
            running("tests.bench.rtsp_replay", str(clip_file), str(port), str(log))
        )
        await asyncio.sleep(1.0)  # PyAV dials once
        reader = await stack.enter_async_context(running("tests.bench.pyav_reader", url, carrier, str(read)))
        async with asyncio.timeout(START_DEADLINE_S):
            while not read.exists() or not read.stat().st_size:
                await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLE_S)
        before, start_ns = usage(reader.pid), time_ns()
        await asyncio.sleep(seconds)
        after = usage(reader.pid)
    seen = [(fingerprint, at_ns) for fingerprint, at_ns in pacing.records(read) if at_ns >= start_ns]
    return IngestStep(
        reader=f"PyAV's RTSP reader, {carrier.upper()}",
        seconds=seconds,
        access_units=len(seen),
        gaps=0,
        lost_packets=None,
        cpu_percent=round(100 * (after.cpu_s - before.cpu_s) / seconds, 2),
        pss_mb=round(after.pss_kb / 1024, 1),
        **_figures(delays(seen, units, pacing.published(log))),
    )
