"""`python -m tests.bench`: CPU, memory, delay and loss of one worker, beside plain aiortc; and of ingest.

Prints figures and judges none: another machine, another day, other figures.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import (
    clip,
    floor,
    scenario_aiortc,
    scenario_cameras,
    scenario_churn,
    scenario_fanout,
    scenario_glass,
    scenario_harm,
    scenario_ingest,
    scenario_join,
    scenario_wall,
)
from tests.bench.measure import Step, Stop
from tests.bench.process import machine
from tests.bench.report import Report, table
from tests.bench.worker_box import EgressForm, Material

SCENARIOS = ("fanout", "sub", "aiortc", "join", "harm", "churn", "ingest", "cameras", "glass", "wall")
MINUTES_LONG = ("churn", "glass", "wall")
VIEWERS: dict[str, dict[EgressForm, tuple[int, ...]]] = {
    "fanout": {"kernel": (1, 60, 120, 240, 480), "python": (1, 60, 120, 240)},
    "sub": {"kernel": (500, 1000, 1500, 2000), "python": (500, 1000)},
}
AIORTC_VIEWERS = (1, 20, 60)
JOINING_VIEWERS = 100
HARMED_VIEWERS = 60
CAMERAS = 50
CHURN_S = 60.0
GLASS_JOINS = 30
WALL_TILES = (16, 36)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    usual = ", ".join(name for name in SCENARIOS if name not in MINUTES_LONG)
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; default {usual}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--seconds", type=float, default=10.0, help="to measure each step (default 10)")
    parser.add_argument("--viewers", type=int, nargs="+", metavar="N", help="viewer counts, rising")
    parser.add_argument(
        "--egress", choices=("kernel", "python"), help="the worker's send path (default: one after the other)"
    )
    parser.add_argument(
        "--no-feedback",
        dest="feedback",
        action="store_false",
        help="viewers of fanout and sub send no transport-wide feedback, which browsers do 10 times a second",
    )
    parser.add_argument("--cameras", type=int, default=CAMERAS, metavar="N", help=f"default {CAMERAS}")
    parser.add_argument(
        "--churn-seconds", type=float, default=CHURN_S, metavar="S", help=f"default {CHURN_S:g}"
    )
    parser.add_argument("--joins", type=int, default=GLASS_JOINS, metavar="N", help=f"default {GLASS_JOINS}")
    arguments = parser.parse_args()
    for scenario in arguments.scenarios:
        if scenario not in SCENARIOS:
            parser.error(f"scenario {scenario!r}; allowed: {', '.join(SCENARIOS)}")
    if not arguments.scenarios:
        arguments.scenarios = [name for name in SCENARIOS if name not in MINUTES_LONG]
    return arguments


class Bench:
    """One run of the scenarios asked for."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self._arguments = arguments
        self._folder = folder
        self._materials: dict[str, Material] = {}
        self.report = Report(
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), machine=machine(), clips={}
        )

    def _room(self, name: str) -> Path:
        room = self._folder / name
        room.mkdir()
        return room

    def _material(self, name: str) -> Material:
        """The clip of a scenario: small for `sub`, else large; made when it is first wanted."""
        small = name == "sub"
        file = self._folder / ("sub.h264" if small else "main.h264")
        if name not in self._materials:
            size = (clip.SUB_WIDTH, clip.SUB_HEIGHT) if small else (clip.WIDTH, clip.HEIGHT)
            if not file.exists():
                clip.make(file, *size, clip.SUB_BITRATE if small else clip.BITRATE)
            material = self._materials[name] = Material(name, file, clip.load(file))
            self.report.clips[file.stem] = (
                f"H.264 {size[0]}x{size[1]} {clip.FPS} fps, {material.bitrate / 1e6:.1f} Mbit/s, "
                f"GOP {clip.GOP_UNITS / clip.FPS:g} s"
            )
        return self._materials[name]

    async def run(self) -> None:
        """Fills the report."""
        for name in SCENARIOS:
            if name in self._arguments.scenarios:
                await getattr(self, f"_{name}")()

    async def _steps(self, steps: AsyncIterator[Step | Stop]) -> None:
        async for step in steps:
            if isinstance(step, Step):
                self.report.steps.append(step)
                print(table([step])[1], file=sys.stderr, flush=True)
            else:
                self.report.stops.append(step)
                print(step.text(), file=sys.stderr, flush=True)

    async def _fanout(self) -> None:
        await self._forms("fanout")

    async def _sub(self) -> None:
        await self._forms("sub")

    async def _forms(self, name: str) -> None:
        arguments = self._arguments
        program: Path | None = None
        try:
            program = floor.build(self._folder)
        except floor.NoFloor as exc:
            note = f"no floor: {exc}"
            if note not in self.report.notes:
                self.report.notes.append(note)
        for form, counts in VIEWERS[name].items():
            if arguments.egress in (None, form):
                room = self._room(f"{name}-{form}")
                wanted = arguments.viewers or list(counts)
                run = scenario_fanout.run(
                    room,
                    self._material(name),
                    wanted,
                    arguments.seconds,
                    form,
                    program,
                    feedback=arguments.feedback,
                )
                await self._steps(run)

    async def _aiortc(self) -> None:
        counts = self._arguments.viewers or list(AIORTC_VIEWERS)
        material = self._material("fanout")
        await self._steps(
            scenario_aiortc.run(self._room("aiortc"), material, counts, self._arguments.seconds)
        )

    async def _join(self) -> None:
        for count in self._arguments.viewers or [JOINING_VIEWERS]:
            room = self._room(f"join-{count}")
            step = await scenario_join.run(room, self._material("join"), count, self._arguments.seconds)
            self.report.joins.append(step)
            print(step.text(), file=sys.stderr, flush=True)

    async def _harm(self) -> None:
        for count in self._arguments.viewers or [HARMED_VIEWERS]:
            room = self._room(f"harm-{count}")
            run = scenario_harm.run(room, self._material("harm"), count, self._arguments.seconds)
            await self._steps(run)

    async def _churn(self) -> None:
        arguments = self._arguments
        self.report.churn = await scenario_churn.run(
            self._room("churn"), self._material("churn"), arguments.churn_seconds, arguments.seconds
        )

    async def _ingest(self) -> None:
        file = self._material("fanout").file
        self.report.ingest = await scenario_ingest.run(self._room("ingest"), file, self._arguments.seconds)

    async def _cameras(self) -> None:
        small = self._folder / "cameras.h264"
        clip.make(small, scenario_cameras.WIDTH, scenario_cameras.HEIGHT, scenario_cameras.BITRATE)
        self.report.cameras = await scenario_cameras.run(
            self._room("cameras"), small, self._arguments.cameras, self._arguments.seconds
        )

    async def _glass(self) -> None:
        def tell(step: scenario_glass.GlassStep | scenario_glass.SwitchStep) -> None:
            self.report.glass.append(step)
            print(step.text(), file=sys.stderr, flush=True)

        crowd = max(self._arguments.viewers or [scenario_glass.CROWD])
        await scenario_glass.run(self._room("glass"), self._arguments.joins, crowd, tell)

    async def _wall(self) -> None:
        for tiles in self._arguments.viewers or WALL_TILES:
            step = await scenario_wall.run(self._room(f"wall-{tiles}"), tiles, self._arguments.seconds)
            self.report.walls.append(step)
            print(step.text(), file=sys.stderr, flush=True)


def main() -> int:
    """Runs the benchmark and gives the exit status."""
    arguments = _arguments()
    # A socket for each viewer, and more than the usual 1,024 of them.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="cctv3-bench-") as folder:
        bench = Bench(arguments, Path(folder))
        try:
            asyncio.run(bench.run())
        except KeyboardInterrupt:
            return 130
    print(bench.report.text())
    if arguments.json:
        bench.report.write_json(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
