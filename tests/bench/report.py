"""The benchmark's figures as aligned text and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.measure import Step
from tests.bench.scenario_cameras import CamerasStep
from tests.bench.scenario_ingest import IngestStep

_COLUMNS = (
    ("sender", "sender"),
    ("viewers", "viewers"),
    ("us_per_packet", "µs/packet"),
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
    ("dropped", "dropped"),
    ("unmatched", "unmatched"),
    ("loop_lag_ms", "loop lag ms"),
    ("viewers_cpu_percent", "viewers' CPU %"),
    ("srtp", "SRTP"),
)


@dataclass(slots=True)
class Report:
    """What was measured so far."""

    date: str
    machine: dict[str, str]
    clip: str
    steps: list[Step] = field(default_factory=list)
    ingest: list[IngestStep] = field(default_factory=list)
    cameras: CamerasStep | None = None

    def ratios(self) -> dict[int, float]:
        """aiortc's CPU time for each packet over the worker's, by viewer count."""
        cost = {(step.sender, step.viewers): step.us_per_packet for step in self.steps}
        return {
            viewers: round(cost["aiortc", viewers] / own, 1)
            for (sender, viewers), own in cost.items()
            if sender == "fanout" and own and ("aiortc", viewers) in cost
        }

    def best_ratio(self) -> float | None:
        """aiortc's cheapest step over the worker's step with the most viewers."""
        own = [step for step in self.steps if step.sender == "fanout" and step.us_per_packet]
        yardstick = [step.us_per_packet for step in self.steps if step.sender == "aiortc"]
        if not own or not yardstick:
            return None
        largest = max(own, key=lambda step: step.viewers)
        return round(min(yardstick) / largest.us_per_packet, 1)

    def text(self) -> str:
        """For people."""
        lines = [f"{self.date}  {self.clip}"]
        lines.append("  ".join(f"{name} {value}" for name, value in self.machine.items()))
        if self.steps:
            lines += ["", *table(self.steps)]
        for viewers, ratio in self.ratios().items():
            lines.append(f"{viewers} viewers: plain aiortc takes {ratio} times the CPU time for each packet")
        best = self.best_ratio()
        if best is not None:
            lines.append(
                f"aiortc at its cheapest against the worker at its fullest: {best} times the CPU time"
            )
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
        return "\n".join(lines)

    def write_json(self, path: Path) -> None:
        """For machines."""
        content = {
            "date": self.date,
            "machine": self.machine,
            "clip": self.clip,
            "steps": [step.as_dict() for step in self.steps],
            "aiortc_over_fanout": self.ratios(),
            "aiortc_cheapest_over_fanout_fullest": self.best_ratio(),
            "ingest": [step.as_dict() for step in self.ingest],
            "cameras": self.cameras.as_dict() if self.cameras else None,
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
