"""The benchmark's figures as aligned text and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.measure import Step, Stop
from tests.bench.scenario_cameras import CamerasStep
from tests.bench.scenario_churn import ChurnStep
from tests.bench.scenario_glass import GlassStep, SwitchStep
from tests.bench.scenario_ingest import IngestStep
from tests.bench.scenario_join import JoinStep
from tests.bench.scenario_wall import WallStep

_COLUMNS = (
    ("sender", "sender"),
    ("viewers", "viewers"),
    ("us_per_packet", "µs/packet"),
    ("over_floor", "x floor"),
    ("cpu_percent", "CPU %"),
    ("cpu_percent_per_viewer", "CPU %/viewer"),
    ("pss_mb", "PSS MB"),
    ("pss_kb_per_viewer", "kB/viewer"),
    ("delay_p50_ms", "delay p50 ms"),
    ("delay_p99_ms", "p99 ms"),
    ("delay_max_ms", "max ms"),
    ("delay_keyframe_p99_ms", "keyframe p99 ms"),
    ("packets", "packets"),
    ("lost", "lost"),
    ("retransmitted", "again"),
    ("switches", "switches"),
    ("dropped", "dropped"),
    ("unmatched", "unmatched"),
    ("loop_lag_ms", "loop lag ms"),
    ("viewers_cpu_percent", "viewers' CPU %"),
    ("others_cpu_percent", "others' CPU %"),
    ("srtp", "SRTP"),
)


@dataclass(slots=True)
class Report:
    """What was measured so far."""

    date: str
    machine: dict[str, str]
    clips: dict[str, str]
    steps: list[Step] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    joins: list[JoinStep] = field(default_factory=list)
    churn: ChurnStep | None = None
    ingest: list[IngestStep] = field(default_factory=list)
    cameras: CamerasStep | None = None
    glass: list[GlassStep | SwitchStep] = field(default_factory=list)
    walls: list[WallStep] = field(default_factory=list)

    def _fanout(self) -> list[Step]:
        return [step for step in self.steps if step.scenario == "fanout" and step.us_per_packet]

    def ratios(self) -> dict[str, dict[int, float]]:
        """aiortc's CPU time for each packet over the worker's, by its form and the viewer count."""
        yardstick = {s.viewers: s.us_per_packet for s in self._fanout() if s.sender == "aiortc"}
        ratios: dict[str, dict[int, float]] = {}
        for step in self._fanout():
            if step.sender != "aiortc" and step.viewers in yardstick:
                ratio = round(yardstick[step.viewers] / step.us_per_packet, 1)
                ratios.setdefault(step.sender, {})[step.viewers] = ratio
        return ratios

    def best_ratios(self) -> dict[str, float]:
        """aiortc's cheapest step over the worker's step with the most viewers, by its form."""
        yardstick = [step.us_per_packet for step in self._fanout() if step.sender == "aiortc"]
        fullest = {step.sender: step for step in self._fanout() if step.sender != "aiortc"}
        if not yardstick:
            return {}
        return {name: round(min(yardstick) / step.us_per_packet, 1) for name, step in fullest.items()}

    def text(self) -> str:
        """For people."""
        lines = [self.date, "  ".join(f"{name} {value}" for name, value in self.machine.items())]
        lines += [f"{name}: {description}" for name, description in self.clips.items()]
        lines += self.notes
        for scenario in dict.fromkeys(row.scenario for row in (*self.steps, *self.stops)):
            steps = [step for step in self.steps if step.scenario == scenario]
            lines += ["", scenario, *table(steps)]
            lines += [stop.text() for stop in self.stops if stop.scenario == scenario]
        for sender, ratios in self.ratios().items():
            said = ", ".join(f"{ratio} times at {viewers}" for viewers, ratio in ratios.items())
            lines.append(f"{sender}: plain aiortc takes {said} viewers the CPU time for each packet")
        for sender, ratio in self.best_ratios().items():
            lines.append(f"{sender} at its fullest: aiortc at its cheapest takes {ratio} times the CPU time")
        for joined in self.joins:
            lines += ["", joined.text()]
        if self.churn is not None:
            lines += ["", self.churn.text()]
        if self.ingest:
            lines.append("")
        for step in self.ingest:
            lost = "" if step.lost_packets is None else f", {step.lost_packets} packets lost"
            lines.append(
                f"{step.reader}, one camera: {step.cpu_percent} % of a core, {step.pss_mb} MB PSS, "
                f"{step.access_units} access units in {step.seconds:g} s, {step.gaps} gaps{lost}; "
                f"delay after the last packet p50 {step.delay_p50_ms} ms"
                f", p99 {step.delay_p99_ms}, max {step.delay_max_ms}"
            )
        if self.cameras is not None:
            many = self.cameras
            lines += [
                "",
                f"{many.cameras} cameras of 1 Mbit/s: {many.cpu_percent} % of a core, {many.pss_mb} MB PSS "
                f"in all, {many.access_units} access units in {many.seconds:g} s, {many.gaps} gaps, "
                f"{many.lost_packets} packets lost, {many.reconnects} reconnections",
            ]
        for seen in (*self.glass, *self.walls):
            lines += ["", seen.text()]
        return "\n".join(lines)

    def write_json(self, path: Path) -> None:
        """For machines."""
        content = {
            "date": self.date,
            "machine": self.machine,
            "clips": self.clips,
            "notes": self.notes,
            "steps": [step.as_dict() for step in self.steps],
            "stops": [stop.as_dict() for stop in self.stops],
            "aiortc_over_fanout": self.ratios(),
            "aiortc_cheapest_over_fanout_fullest": self.best_ratios(),
            "join": [step.as_dict() for step in self.joins],
            "churn": self.churn.as_dict() if self.churn else None,
            "ingest": [step.as_dict() for step in self.ingest],
            "cameras": self.cameras.as_dict() if self.cameras else None,
            "glass": [step.as_dict() for step in self.glass],
            "wall": [step.as_dict() for step in self.walls],
        }
        path.write_text(json.dumps(content, indent=2) + "\n")


def table(steps: Sequence[Step]) -> list[str]:
    """Aligned rows under a heading."""
    rows = [[title for _, title in _COLUMNS]]
    for step in steps:
        fields = step.as_dict()
        rows.append(["-" if fields[name] is None else str(fields[name]) for name, _ in _COLUMNS])
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return [
        "  ".join(
            cell.ljust(width) if column in (0, len(_COLUMNS) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
