"""`python -m tests.bench`: CPU, memory, delay and loss of one worker, beside plain aiortc; and of ingest.

Prints figures and judges none: another machine, another day, other figures.
"""

import argparse
import asyncio
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import clip, scenario_aiortc, scenario_cameras, scenario_fanout, scenario_ingest
from tests.bench.process import machine
from tests.bench.report import Report, table

SCENARIOS = ("fanout", "aiortc", "ingest", "cameras")
FANOUT_VIEWERS = (1, 20, 60, 120)
AIORTC_VIEWERS = (1, 20, 60)
CAMERAS = 50


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--seconds", type=float, default=10.0, help="to measure each step (default 10)")
    parser.add_argument("--viewers", type=int, nargs="+", metavar="N", help="rising viewer counts")
    parser.add_argument("--cameras", type=int, default=CAMERAS, metavar="N", help=f"default {CAMERAS}")
    arguments = parser.parse_args()
    for scenario in arguments.scenarios:
        if scenario not in SCENARIOS:
            parser.error(f"scenario {scenario!r}; allowed: {', '.join(SCENARIOS)}")
    return arguments


async def measure(arguments: argparse.Namespace, folder: Path) -> Report:
    """Runs the scenarios asked for, one after the other."""
    scenarios = arguments.scenarios or SCENARIOS
    clip_file = folder / "clip.h264"
    clip.make(clip_file)
    units = clip.load(clip_file)
    rate = sum(len(nal) for unit in units for nal in unit) * 8 * clip.FPS / len(units) / 1e6
    report = Report(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine(),
        clip=f"H.264 {clip.WIDTH}x{clip.HEIGHT} {clip.FPS} fps, {rate:.1f} Mbit/s, "
        f"GOP {clip.GOP_UNITS / clip.FPS:g} s",
    )
    senders = {
        "fanout": (scenario_fanout.run, FANOUT_VIEWERS),
        "aiortc": (scenario_aiortc.run, AIORTC_VIEWERS),
    }
    for name, (run, counts) in senders.items():
        if name not in scenarios:
            continue
        room = folder / name
        room.mkdir()
        async for step in run(room, clip_file, units, arguments.viewers or list(counts), arguments.seconds):
            report.steps.append(step)
            print(table([step])[1], file=sys.stderr, flush=True)
    if "ingest" in scenarios:
        room = folder / "ingest"
        room.mkdir()
        report.ingest = await scenario_ingest.run(room, clip_file, arguments.seconds)
    if "cameras" in scenarios:
        room = folder / "cameras"
        room.mkdir()
        small = folder / "small.h264"
        clip.make(small, scenario_cameras.WIDTH, scenario_cameras.HEIGHT, scenario_cameras.BITRATE)
        report.cameras = await scenario_cameras.run(room, small, arguments.cameras, arguments.seconds)
    return report


def main() -> int:
    """Runs the benchmark and gives the exit status."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="cctv3-bench-") as folder:
        try:
            report = asyncio.run(measure(arguments, Path(folder)))
        except KeyboardInterrupt:
            return 130
    print(report.text())
    if arguments.json:
        report.write_json(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
