"""The way of a picture from the camera to one viewer, link by link, as far as it is known here. [P]

Each link is an object of fixed members, null where a value is unknown; a link of which nothing is known is
null itself. What is told is of the viewer's own camera and session, and without credentials; how busy a
worker is with others is for operators.
"""

from common.messages import Rendition, RenditionReport, SessionReport, VideoReport, WorkerReport
from signaling.sessions import Session
from signaling.workers import CameraStatus, Worker

Link = dict[str, str | int | float | bool | list[str] | None]
Diagnosis = dict[str, Link | None]
Names = tuple[str, ...]

_OF_CAMERA = ("via", "lost_packets", "damaged", "jitter_s", "clock_offset_s", "reconnects")
_OF_VIDEO = ("codec", "profile", "width", "height", "fps", "bitrate", "gop_s", "b_frames")
_OF_BUS = ("last_access_unit_age_s", "gaps", "keyframe_cached")
_OF_WORKER = ("cpu", "loop_lag_s", "viewers")
_OF_NETWORK = (
    "state",
    "path",
    "srtp",
    "quality",
    "showing",
    "packets",
    "loss",
    "rtt_s",
    "available_bitrate",
    "retransmitted",
    "dropped_frames",
    "keyframe_requests",
)


def of_camera(status: CameraStatus, rendition: Rendition = "main") -> Diagnosis:
    """Where there is no session: how one of the camera's streams is, and the process that takes it in."""
    return {
        "camera": _camera(status, rendition),
        "ingest": {"up": status.state != "down", "age_s": status.report_age_s if status.report else None},
        "bus": None,
        "worker": None,
        "network": None,
    }


def of_session(
    session: Session,
    status: CameraStatus,
    worker: Worker | None,
    report: SessionReport | None,
    to_operator: bool,
) -> Diagnosis:
    """The whole way; `report` is what the session's worker says of it, None when it did not in time."""
    load = worker.report if worker is not None and to_operator else None
    if report is None:
        return of_camera(status, _last_shown(session, status)) | {
            "worker": _worker(session.worker, "silent", load)
        }
    state = "draining" if worker is not None and worker.draining else "up"
    return of_camera(status, report.rendition) | {
        "bus": _members(report, _OF_BUS),
        "worker": _worker(session.worker, state, load),
        "network": _members(report, _OF_NETWORK),
    }


def _members(said: RenditionReport | VideoReport | SessionReport | WorkerReport | None, names: Names) -> Link:
    return {name: getattr(said, name) if said is not None else None for name in names}


def _camera(status: CameraStatus, rendition: Rendition) -> Link:
    report = next((known for known in status.renditions if known.name == rendition), None)
    present = report if status.state != "down" else None
    return {
        "name": status.name,
        "rendition": rendition,
        "state": present.state if present is not None else status.state,
        "state_s": present.state_s + status.report_age_s if present is not None else None,
        "error": status.error_of(report),
        **_members(report, _OF_CAMERA),
        **_members(report.video if report is not None else None, _OF_VIDEO),
        "last_access_unit_age_s": status.age_s(report),
        "advice": list(report.advice) if report is not None else None,
    }


def _worker(name: str, state: str, load: WorkerReport | None) -> Link:
    return {"name": name, "state": state, **_members(load, _OF_WORKER)}


def _last_shown(session: Session, status: CameraStatus) -> Rendition:
    """As far as signaling was told; keyframes are those of the smallest stream."""
    if session.change is None or session.change.showing == "main":
        return "main"
    return status.formats[-1].name
