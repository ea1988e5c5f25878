"""supervisord's own lines beside those of its programs."""

import asyncio
import json
from datetime import datetime

import pytest

from tests.support.system import running_system


async def test_every_line_of_a_system_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCTV3_LOG_FORMAT", "json")
    async with running_system({"door": {"url": "rtsp://127.0.0.1:1/x"}}) as system:
        killed = system.kill("ingest-door")
        await system.until(lambda: system.pid("ingest-door") != killed)
        await asyncio.sleep(0.2)
        await system.stop()
        events = [json.loads(line) for line in system.log_text().splitlines()]
    own = [event["message"] for event in events if event["process"] == "supervisord"]
    assert any(message.startswith("= spawned: 'fanout-0'") for message in own)
    assert any(message.startswith("! exited: ingest-door (terminated by SIGKILL") for message in own)
    assert {event["camera"] for event in events if event["process"] == "ingest-door"} == {"door"}
    assert {event["worker"] for event in events if event["process"] == "fanout-0"} == {"fanout-0"}
    assert all(datetime.fromisoformat(event["time"]).tzinfo is not None for event in events)
