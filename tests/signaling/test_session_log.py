"""What remains of a session: events, counters, lines in the audit log."""

import json

from signaling_support import System


async def test_a_session_leaves_its_traces(system: System) -> None:
    session = await system.open()
    system.clock.now_s += 1.5
    await system.broker.end(session)
    told = [event for event in system.broker.events._kept if event.kind == "session"]
    assert [(event.what, event.camera, event.worker, event.viewer) for event in told] == [
        ("opened", "front", "fanout-w0", "anonymous"),
        ("ended", "front", "fanout-w0", "anonymous"),
    ]
    assert all(session.id not in f"{event.session}{event.text}" for event in told)
    written = (system.folder / "state" / "audit.log").read_text()
    assert [json.loads(line)["action"] for line in written.splitlines()] == ["open", "end"]
    assert session.id not in written
