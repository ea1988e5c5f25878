"""What is said of each link, and what is not said."""

import dataclasses
import json
from typing import Literal

import pytest
from signaling_support import SUB, session_report, worker_report

from common.messages import ANYBODY, CameraReport, SessionChanged, SessionReport
from signaling import diagnosis
from signaling.sessions import Session
from signaling.workers import CameraStatus, Worker
from tests.support.reports import VIDEO, WELL

SESSION = Session("s" * 22, "front", "fanout-w0", ANYBODY)
SMALL = dataclasses.replace(
    WELL,
    name="sub",
    state="stalled",
    state_s=5.0,
    error="no video for 2 s",
    video=dataclasses.replace(VIDEO, width=640, height=360, b_frames=None),
    advice=("set a shorter GOP",),
)
STATUS = CameraStatus("front", "live", CameraReport("front", (WELL, SMALL)), 0.25)
DOWN = dataclasses.replace(STATUS, state="down", report_age_s=9.0)
WORKER = Worker("fanout-w0", 1, 100, 0.0, (worker_report("w0", cpu=0.5, viewers=40),))
REPORT = session_report(SESSION.id, "front")


def shows(showing: Literal["main", "sub", "keyframes"]) -> Session:
    return dataclasses.replace(SESSION, change=SessionChanged(SESSION.id, showing, "narrow link"))


def test_the_whole_way() -> None:
    report = dataclasses.replace(REPORT, rendition="sub", showing="keyframes", rtt_s=None)
    assert diagnosis.of_session(SESSION, STATUS, WORKER, report, True) == {
        "camera": {
            "name": "front",
            "rendition": "sub",
            "state": "stalled",
            "state_s": 5.25,
            "error": "no video for 2 s",
            "via": "RTSP over TCP",
            "lost_packets": 0,
            "damaged": 0,
            "jitter_s": 0.004,
            "clock_offset_s": -0.2,
            "reconnects": 0,
            "codec": "H264",
            "profile": "High",
            "width": 640,
            "height": 360,
            "fps": 25.0,
            "bitrate": 4_000_000,
            "gop_s": 2.0,
            "b_frames": None,
            "last_access_unit_age_s": pytest.approx(0.27),
            "advice": ["set a shorter GOP"],
        },
        "ingest": {"up": True, "age_s": 0.25},
        "bus": {"last_access_unit_age_s": 0.03, "gaps": 2, "keyframe_cached": True},
        "worker": {"name": "fanout-w0", "state": "up", "cpu": 0.5, "loop_lag_s": 0.002, "viewers": 40},
        "network": {
            "state": "connected",
            "path": "udp 192.0.2.7:5000",
            "srtp": "SRTP_AEAD_AES_128_GCM",
            "quality": "auto",
            "showing": "keyframes",
            "packets": 1000,
            "loss": 0.01,
            "rtt_s": None,
            "available_bitrate": None,
            "retransmitted": 4,
            "dropped_frames": 0,
            "keyframe_requests": 1,
        },
    }


def test_what_is_not_known_has_its_members_all_the_same() -> None:
    well = diagnosis.of_session(SESSION, STATUS, WORKER, REPORT, True)
    begun = dataclasses.replace(STATUS, state="connecting", report=CameraReport("front", (SUB,)))
    for status in (CameraStatus("front", "down", None, 0.0), begun):
        found = diagnosis.of_session(SESSION, status, None, REPORT, True)
        for link, known in well.items():
            said = found[link]
            assert said is not None and known is not None and said.keys() == known.keys()
        camera, worker = found["camera"], found["worker"]
        assert camera is not None and worker is not None
        assert {camera[name] for name in camera.keys() - {"name", "rendition", "state", "error"}} == {None}
        assert worker == {
            "name": "fanout-w0",
            "state": "up",
            "cpu": None,
            "loop_lag_s": None,
            "viewers": None,
        }


@pytest.mark.parametrize(
    ("session", "rendition"),
    [(SESSION, "main"), (shows("main"), "main"), (shows("sub"), "sub"), (shows("keyframes"), "sub")],
)
def test_a_worker_that_says_nothing(session: Session, rendition: str) -> None:
    """What it said last tells which stream it is about."""
    found = diagnosis.of_session(session, STATUS, dataclasses.replace(WORKER, draining=True), None, True)
    camera, worker = found["camera"], found["worker"]
    assert camera is not None and camera["rendition"] == rendition
    assert worker is not None and (worker["state"], worker["viewers"]) == ("silent", 40)
    assert found["bus"] is found["network"] is None


def test_a_worker_that_drains() -> None:
    found = diagnosis.of_session(SESSION, STATUS, dataclasses.replace(WORKER, draining=True), REPORT, True)
    assert found["worker"] is not None and found["worker"]["state"] == "draining"


@pytest.mark.parametrize("report", [REPORT, None])
def test_how_busy_a_worker_is_is_for_operators(report: SessionReport | None) -> None:
    operator = diagnosis.of_session(SESSION, STATUS, WORKER, report, True)
    viewer = diagnosis.of_session(SESSION, STATUS, WORKER, report, False)
    worker = operator["worker"]
    assert worker is not None and (worker["cpu"], worker["loop_lag_s"], worker["viewers"]) == (0.5, 0.002, 40)
    assert viewer == operator | {"worker": worker | {"cpu": None, "loop_lag_s": None, "viewers": None}}


def test_an_ingest_that_is_not_heard() -> None:
    """What it said last is still told, but not as how things are now."""
    found = diagnosis.of_camera(DOWN)
    camera = found["camera"]
    assert camera is not None and (camera["state"], camera["state_s"]) == ("down", None)
    assert camera["error"] == "its ingest process is not heard; it is started again"
    assert (camera["codec"], camera["last_access_unit_age_s"]) == ("H264", pytest.approx(9.02))
    assert found["ingest"] == {"up": False, "age_s": 9.0}
    assert found["bus"] is found["worker"] is found["network"] is None


def test_it_is_json() -> None:
    for found in (diagnosis.of_camera(DOWN), diagnosis.of_session(SESSION, STATUS, WORKER, REPORT, True)):
        assert json.loads(json.dumps(found)) == found
