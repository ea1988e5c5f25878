"""The benchmark itself, as short as it goes: its figures mean nothing here, only that there are some."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.process import ROOT


def bench(tmp_path: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The figures and the text of one run."""
    output = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments, "--json", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(output.read_text())
    return figures, done.stdout


def test_senders_give_their_figures(tmp_path: Path) -> None:
    figures, text = bench(tmp_path, "fanout", "sub", "aiortc", "--viewers", "2", "--seconds", "1.2")
    assert [(step["scenario"], step["sender"].split()[0], step["viewers"]) for step in figures["steps"]] == [
        ("fanout", "worker,", 2),
        ("fanout", "worker,", 2),
        ("sub", "worker,", 2),
        ("sub", "worker,", 2),
        ("fanout", "aiortc", 2),
    ]
    assert "worker, python" in {step["sender"] for step in figures["steps"]} and not figures["stops"]
    for step in figures["steps"]:
        assert step["packets"] > (100 if step["scenario"] == "sub" else 500) and step["lost"] == 0
        assert 0 < step["delay_p50_ms"] <= step["delay_p99_ms"] <= step["delay_max_ms"]
    assert "µs/packet" in text and "aiortc at its cheapest" in text


@pytest.mark.soak
def test_joins_and_harm_give_their_figures(tmp_path: Path) -> None:
    figures, _ = bench(tmp_path, "join", "harm", "--viewers", "3", "--seconds", "1.2")
    (joined,) = figures["join"]
    assert joined["viewers"] == 3 and joined["lost"] == 0
    assert 0 < joined["answer_p50_ms"] <= joined["connected_p50_ms"] <= joined["playing_p50_ms"]
    assert [step["sender"] for step in figures["steps"]] == [
        "beside nobody else",
        "beside one that reads nothing, UDP",
        "beside one that reads nothing, TCP",
        "beside one that NACKs all it gets",
    ]
    assert all(step["lost"] == 0 for step in figures["steps"])
    assert figures["steps"][-1]["retransmitted"] > 0


@pytest.mark.soak
def test_viewers_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    figures, text = bench(tmp_path, "churn", "--churn-seconds", "120")
    print(text.splitlines()[-1])
    churn = figures["churn"]
    assert churn["joined"] + churn["failed"] == 1200 and not churn["failed"], churn["first_failure"]
    before, after = churn["before"], churn["after"]
    for kind in ("viewers", "descriptors", "threads"):
        assert after[kind] == before[kind], kind
    # CPython and the allocator keep some of what a busier time needed.
    assert after["pss_mb"] < before["pss_mb"] + 20
    assert churn["steady_lost"] == 0


def test_ingest_gives_its_figures(tmp_path: Path) -> None:
    figures, _ = bench(tmp_path, "ingest", "cameras", "--cameras", "2", "--seconds", "1.2")
    readers = [step["reader"] for step in figures["ingest"]]
    assert readers == ["ingest, TCP", "ingest, UDP", "PyAV's RTSP reader, TCP"]
    for step in figures["ingest"]:
        assert step["access_units"] > 20 and step["gaps"] == 0
        assert 0 < step["delay_p50_ms"] <= step["delay_max_ms"]
    assert figures["cameras"]["access_units"] > 40


@pytest.mark.soak
def test_a_wall_gives_its_figures(tmp_path: Path) -> None:
    figures, text = bench(tmp_path, "wall", "--viewers", "3", "--seconds", "1.2")
    (wall,) = figures["wall"]
    assert (wall["tiles"], len(wall["last"]), wall["reconnects"]) == (3, 5, 0)
    assert all(0 < first <= last for first, last in zip(wall["first"], wall["last"], strict=True))
    assert wall["shown"] > 0.5 and wall["browser_percent"] > wall["worker_percent"] > 0
    assert "wall of 3 tiles" in text
