"""Strangers flood a worker's port and its control channel: who watches loses nothing.

The worker is a process of its own. Figures are printed (`pytest -s`); nothing is asserted of time.
CCTV3_TEST_FLOOD_SECONDS makes the floods longer.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.messages import WorkerReport
from tests.bench import clip
from tests.bench.measure import Meter, Step
from tests.bench.process import running
from tests.bench.worker_box import Material, WorkerBox, worker_box
from tests.support.viewer import Viewer

SECONDS = float(os.environ.get("CCTV3_TEST_FLOOD_SECONDS", "2"))
WATCHING = 6
CONNECTIONS = 400
OFFERS = 200
JUNK = (
    b"",
    b"GET / HTTP/1.1\r\nHost: camera\r\n\r\n",
    b"\0\x1c" + bytes(28),
    b"\xff\xff",
    b"\0\x04\x16\xfe\xff\0" + bytes(100),
)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    file = tmp_path_factory.mktemp("clip") / "clip.h264"
    clip.make(file, clip.SUB_WIDTH, clip.SUB_HEIGHT, clip.SUB_BITRATE)
    return Material("sub", file, clip.load(file))


@dataclass
class Box:
    """A worker with viewers that play."""

    worker: WorkerBox
    meter: Meter
    before: Step
    report: WorkerReport

    @property
    def port(self) -> int:
        remote = self.worker.viewers[0].remote
        assert remote is not None
        return remote[1]

    async def still_plays(self, viewer: Viewer) -> None:
        seen = viewer.reception.units
        await viewer.until(lambda: viewer.reception.units > seen + 5)

    async def unharmed(self, name: str, during: Step) -> WorkerReport:
        """Asserts that nobody who watches lost anything, and prints what it cost."""
        for viewer in self.worker.viewers:
            await self.still_plays(viewer)
        report = await self.worker.report()
        for what, step in (("before", self.before), (name, during)):
            print(
                f"\n{what}: delay p50 {step.delay_p50_ms}, p99 {step.delay_p99_ms}, "
                f"max {step.delay_max_ms} ms; worker {step.cpu_percent} % of a core, {step.pss_mb} MB, "
                f"{step.packets} packets",
                end="",
            )
        print(f"; rejected {report.rejected - self.report.rejected}")
        assert during.lost == 0 and sum(viewer.totals().lost for viewer in self.worker.viewers) == 0
        assert report.dropped_frames == self.report.dropped_frames
        assert self.worker.signaling.ended == []
        assert all(not viewer.faults and not viewer.closed_by_peer for viewer in self.worker.viewers)
        return report


@pytest.fixture
async def box(tmp_path: Path, material: Material) -> AsyncIterator[Box]:
    async with worker_box(tmp_path, material) as worker:
        await worker.hold(WATCHING)
        meter = Meter("floods", "worker", worker.pid, material.units, worker.log)
        for viewer in worker.viewers:
            # Behind the cached GOP, which comes faster than it was published.
            await viewer.until(lambda viewer=viewer: viewer.reception.units > clip.GOP_UNITS + 5, 10)
        before = await meter.step(worker.viewers, SECONDS)
        yield Box(worker, meter, before, await worker.report())


async def test_datagrams_of_strangers(box: Box) -> None:
    watching = box.worker.viewers[0]
    assert watching.answer is not None
    names = f"{watching.answer.ice_ufrag}:{watching._ice.ufrag}"
    async with running("tests.fanout.flooder", str(box.port), str(SECONDS + 1), names) as flooder:
        late = Viewer()
        box.worker.viewers.append(late)
        await box.worker.join(late)  # amid the flood
        await box.still_plays(late)
        step = await box.meter.step(box.worker.viewers[:WATCHING], SECONDS)
        assert await flooder.wait() == 0
    report = await box.unharmed("20,000 datagrams a second", step)
    assert report.rejected - box.report.rejected > 1000


@contextlib.asynccontextmanager
async def _connections(port: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """A list whose connections are closed in the end."""
    open_ones: list[asyncio.StreamWriter] = []
    try:
        yield open_ones
    finally:
        for each in open_ones:
            each.close()
        for each in open_ones:
            with contextlib.suppress(OSError):
                await each.wait_closed()


def _noise() -> Iterator[bytes]:
    rng = random.Random(1)
    while True:
        yield from JUNK
        yield rng.randbytes(300)


@pytest.mark.soak
async def test_connections_of_strangers(box: Box) -> None:
    async with _connections(box.port) as open_ones:

        async def flood() -> None:
            for _, junk in zip(range(CONNECTIONS), _noise(), strict=False):
                _, writer = await asyncio.open_connection("127.0.0.1", box.port)
                open_ones.append(writer)
                if junk:
                    writer.write(junk)
                await asyncio.sleep(SECONDS / CONNECTIONS / 2)

        flooding = asyncio.create_task(flood())
        step = await box.meter.step(box.worker.viewers, SECONDS)
        await flooding
        # As many as are kept are open and say nothing: who comes with a check is let in.
        late = Viewer(tcp=True)
        box.worker.viewers.append(late)
        await box.worker.join(late)
        await box.still_plays(late)
    await box.unharmed(f"{CONNECTIONS} connections", step)


@pytest.mark.soak
async def test_offers_that_never_connect(box: Box) -> None:
    async def flood() -> None:
        for _ in range(OFFERS):
            nobody = Viewer()
            await box.worker.offer(nobody)
            nobody.vanish()

    flooding = asyncio.create_task(flood())
    step = await box.meter.step(box.worker.viewers, SECONDS)
    await flooding
    report = await box.unharmed(f"{OFFERS} offers", step)
    assert report.viewers == WATCHING + OFFERS
