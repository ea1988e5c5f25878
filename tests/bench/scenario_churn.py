"""Scenario `churn`: viewers come and go for a long time; what they leave behind, and what others notice."""

import asyncio
import random
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.measure import Meter, Step
from tests.bench.process import descriptors, threads, usage
from tests.bench.worker_box import Material, WorkerBox, worker_box
from tests.support.viewer import Viewer

STEADY = 20
PER_S = 10
STAYS_S = (0.5, 4.0)
SETTLE_S = 3.0
# One that vanished is known until its consent runs out (RFC 7675 section 5.1: 30 s at most).
FORGOTTEN_S = 35.0


@dataclass(frozen=True, slots=True)
class Held:
    """What the worker's process holds."""

    viewers: int
    pss_mb: float
    descriptors: int
    threads: int
    history_mb: float


@dataclass(frozen=True, slots=True)
class ChurnStep:
    """Before, after, and the steady viewers at both ends."""

    seconds: float
    joined: int
    failed: int
    "Joins that did not come to a first picture."
    first_failure: str | None
    before: Held
    after: Held
    steady_before: Step
    steady_after: Step
    steady_lost: int
    "Packets that the steady viewers missed over the whole time."
    steady_dropped: int
    "Frames that the worker did not send to them."
    dropped: int
    "Frames that the worker says it dropped over the whole time: also of those who vanished."
    pss_mb: list[float]
    "Of the worker, once a minute."

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def text(self) -> str:
        """For people."""
        a, b = self.before, self.after
        failed = f", {self.failed} failed ({self.first_failure})" if self.failed else ""
        minutes = ", ".join(map(str, self.pss_mb))
        delays = f"{self.steady_before.delay_p99_ms} -> {self.steady_after.delay_p99_ms} ms"
        return (
            f"{self.joined} viewers came and went in {self.seconds:g} s beside {STEADY} steady ones{failed}: "
            f"PSS {a.pss_mb} -> {b.pss_mb} MB (by the minute {minutes}), history {a.history_mb} -> "
            f"{b.history_mb} MB, descriptors {a.descriptors} -> {b.descriptors}, threads {a.threads} -> "
            f"{b.threads}, viewers {a.viewers} -> {b.viewers}; the steady lost {self.steady_lost} packets "
            f"and {self.steady_dropped} frames, the others, some of whom vanish, {self.dropped} frames; "
            f"delay p99 {delays}"
        )


async def _held(box: WorkerBox) -> Held:
    report = await box.report()
    return Held(
        viewers=report.viewers,
        pss_mb=round(usage(box.pid).pss_kb / 1024, 1),
        descriptors=descriptors(box.pid),
        threads=threads(box.pid),
        history_mb=round(report.history_octets / 1e6, 1),
    )


def _keep_port(address: tuple[str, int]) -> None:
    """Nobody else gets the port, and with it what the worker still sends to one who vanished."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(address)
    asyncio.get_running_loop().call_later(FORGOTTEN_S, silent.close)


async def run(folder: Path, material: Material, seconds: float, measure_s: float) -> ChurnStep:
    """Steady viewers alone for `measure_s`, churn for `seconds`, and once more alone."""
    dice = random.Random(1)
    joined, failures = 0, []
    async with worker_box(folder, material) as box:

        async def visit() -> None:
            nonlocal joined
            tcp = dice.random() < 0.2
            viewer = Viewer(tcp=tcp)
            address = None if tcp else viewer.address
            try:
                session = await box.join(viewer)
                await viewer.until(lambda: viewer.reception.units > 0, 10.0)
                joined += 1
                await asyncio.sleep(dice.uniform(*STAYS_S))
                leaves = dice.random()
                if leaves < 0.25:
                    await box.end(session)
                elif leaves < 0.75:
                    viewer.close()
            except Exception as exc:
                failures.append(exc)
            finally:
                viewer.vanish()
                if address is not None:
                    _keep_port(address)

        await box.hold(STEADY)
        # The first visitors make the worker load and allocate what it then keeps.
        await asyncio.gather(*(visit() for _ in range(PER_S)))
        joined = 0
        await asyncio.sleep(SETTLE_S)
        meter = Meter("churn", "before", box.pid, material.units, box.log)
        steady_before = await meter.step(box.viewers, measure_s)
        before, first = await _held(box), await box.report()
        lost = [viewer.totals().lost for viewer in box.viewers]

        start = asyncio.get_running_loop().time()
        pss_mb = []
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * PER_S)):
                due = start + number / PER_S - asyncio.get_running_loop().time()
                await asyncio.sleep(max(0.0, due))
                if number % (60 * PER_S) == 0:
                    pss_mb.append(round(usage(box.pid).pss_kb / 1024, 1))
                group.create_task(visit())

        async with asyncio.timeout(FORGOTTEN_S):
            while (await box.report()).viewers > STEADY:
                pass
        await asyncio.sleep(SETTLE_S)
        meter = Meter("churn", "after", box.pid, material.units, box.log)
        steady_after = await meter.step(box.viewers, measure_s)
        after, last = await _held(box), await box.report()
        steady_dropped = await box.dropped_frames()
        return ChurnStep(
            seconds=seconds,
            joined=joined,
            failed=len(failures),
            first_failure=repr(failures[0]) if failures else None,
            before=before,
            after=after,
            steady_before=steady_before,
            steady_after=steady_after,
            steady_lost=sum(
                viewer.totals().lost - earlier for viewer, earlier in zip(box.viewers, lost, strict=True)
            ),
            steady_dropped=steady_dropped,
            dropped=last.dropped_frames - first.dropped_frames - steady_dropped,
            pss_mb=pss_mb,
        )
