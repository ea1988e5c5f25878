"""What a changed configuration touches."""

import dataclasses

from common.config import CameraConfig, Config
from common.keeper.plan import compare, restart_needed, running

A, B = CameraConfig("a", "rtsp://cam/a"), CameraConfig("b", "rtsp://cam/b")
BEFORE = Config((A, B))


def test_cameras() -> None:
    after = Config((CameraConfig("c", "rtsp://cam/c"), dataclasses.replace(B, audio=False)))
    plan = compare(BEFORE, after)
    assert (plan.added, plan.changed, plan.removed) == (("c",), ("b",), ("a",))
    assert plan.text() == "added c; changed b; removed a"
    assert compare(BEFORE, Config((B, A))).text() == ""


def test_what_waits_for_the_next_start() -> None:
    assert restart_needed(BEFORE, Config((A,))) == ()
    after = dataclasses.replace(BEFORE, http_port=81, workers=7, media_ice="full")
    assert restart_needed(BEFORE, after) == ("http.listen", "media.ice", "fanout.workers")
    # Until then all but that is in force.
    now = running(BEFORE, dataclasses.replace(after, cameras=(A,)))
    assert now == Config((A,))
