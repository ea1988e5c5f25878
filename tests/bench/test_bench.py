"""The benchmark itself, as short as it goes: its figures mean nothing here, only that there are some."""

import json
import subprocess
import sys
from pathlib import Path

from tests.bench.process import ROOT


def test_every_scenario_gives_its_figures(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    arguments = ["--viewers", "2", "--cameras", "2", "--seconds", "1.2", "--json", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(output.read_text())
    assert [(step["sender"], step["viewers"]) for step in figures["steps"]] == [("fanout", 2), ("aiortc", 2)]
    for step in figures["steps"]:
        assert step["packets"] > 500 and step["lost"] == 0
        assert 0 < step["delay_p50_ms"] <= step["delay_p99_ms"] <= step["delay_max_ms"]
    readers = [step["reader"] for step in figures["ingest"]]
    assert readers == ["ingest, TCP", "ingest, UDP", "PyAV's RTSP reader, TCP"]
    for step in figures["ingest"]:
        assert step["access_units"] > 20 and step["gaps"] == 0
        assert 0 < step["delay_p50_ms"] <= step["delay_max_ms"]
    assert figures["cameras"]["access_units"] > 40
    assert "µs/packet" in done.stdout
