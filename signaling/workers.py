"""Who is there: ingest processes and fanout workers, known by hellos and heartbeats (docs/bus.md)."""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from common.clock import Clock
from common.messages import (
    RENDITIONS,
    CameraReport,
    FanoutHello,
    IngestHello,
    RenditionFormat,
    RenditionReport,
    RenditionState,
    SessionEntry,
    WorkerReport,
)
from signaling.routing import KEPT_REPORTS

log = logging.getLogger(__name__)

# Heartbeats come every second (design: a missing worker is noticed within 2 s).
WORKER_SILENCE_S = 2.0
INGEST_SILENCE_S = 3.0

Heartbeat = IngestHello | FanoutHello | CameraReport | WorkerReport
CameraState = RenditionState | Literal["down"]
"`down`: the camera's ingest process is not heard."


@dataclass(frozen=True, slots=True)
class Ingest:
    """One camera's ingest process."""

    identity: str
    epoch: int
    media_endpoint: str
    heard_s: float
    report: CameraReport | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """One fanout worker."""

    identity: str
    epoch: int
    pid: int
    heard_s: float
    reports: tuple[WorkerReport, ...] = ()
    "Its last ones, the newest first."
    waits: tuple[float, ...] = ()
    "With each of them, the share of the time in which its process wanted a CPU and had none."
    draining: bool = False
    "It takes no more viewers."

    @property
    def report(self) -> WorkerReport | None:
        """The last one."""
        return self.reports[0] if self.reports else None


@dataclass(frozen=True, slots=True)
class HelloNeeded:
    """The peer reports but never introduced itself to this process: ask it."""


@dataclass(frozen=True, slots=True)
class SessionsStated:
    """A worker said which sessions it serves; those that it had before and does not name are over."""

    sessions: tuple[SessionEntry, ...]
    restarted: bool
    "It is another process than the one that was known by this identity."
    new: bool
    "It was not known before, or is another process now."


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """A configured camera as the outside sees it."""

    name: str
    state: CameraState
    "Of the main stream."
    report: CameraReport | None
    "The last one of the process that runs now."
    report_age_s: float
    "Seconds since that process was heard."

    @property
    def renditions(self) -> tuple[RenditionReport, ...]:
        """What is known of its streams, the main one first."""
        return self.report.renditions if self.report else ()

    @property
    def main(self) -> RenditionReport | None:
        """What is known of the main stream."""
        return self.renditions[0] if self.renditions else None

    @property
    def formats(self) -> tuple[RenditionFormat, ...]:
        """What a worker is told with an offer; the main stream is always among them."""
        known = {rendition.name: rendition for rendition in self.renditions}
        return tuple(
            RenditionFormat(name, known[name].video, known[name].audio)
            for name in RENDITIONS
            if name in known
        ) or (RenditionFormat("main", None, None),)

    def error_of(self, rendition: RenditionReport | None) -> str | None:
        """Why one of its streams gives no picture."""
        if self.state == "down":
            return "its ingest process is not heard; it is started again"
        return rendition.error if rendition is not None else None

    def age_s(self, rendition: RenditionReport | None) -> float | None:
        """Seconds since the last access unit of one of its streams; None where there was none."""
        if rendition is None or rendition.last_access_unit_age_s is None:
            return None
        return rendition.last_access_unit_age_s + self.report_age_s


class Registry:
    """Ingests by camera and workers by bus identity; time comes from `clock`."""

    def __init__(self, cameras: Sequence[str], clock: Clock) -> None:
        self.cameras = tuple(cameras)
        self._clock = clock
        self._ingests: dict[str, Ingest] = {}
        self._workers: dict[str, Worker] = {}

    def heard(
        self, identity: str, message: Heartbeat, wait: float = 0.0
    ) -> HelloNeeded | SessionsStated | None:
        """Takes a hello or report in; says what has to be done about it.

        `wait` goes with a worker's report: the share of the time in which it wanted a CPU and had none.
        """
        now = self._clock.monotonic_s()
        match message:
            case IngestHello():
                if message.camera not in self.cameras:
                    log.warning("! control: %s serves camera %.60r, not configured", identity, message.camera)
                    return None
                known = self._ingests.get(message.camera)
                same = known is not None and known.epoch == message.epoch
                report = known.report if known is not None and same else None
                self._ingests[message.camera] = Ingest(
                    identity, message.epoch, message.media_endpoint, now, report
                )
                if not same:
                    log.info(
                        "= ingest of %s is up, process %d",
                        message.camera,
                        message.pid,
                        extra={"camera": message.camera},
                    )
                return None
            case CameraReport():
                if message.camera not in self.cameras:
                    return None
                ingest = self._ingests.get(message.camera)
                if ingest is None or ingest.identity != identity:
                    return HelloNeeded()
                self._ingests[message.camera] = dataclasses.replace(ingest, heard_s=now, report=message)
                return None
            case FanoutHello():
                before = self._workers.get(identity)
                restarted = before is not None and before.epoch != message.epoch
                new = before is None or restarted
                if before is None or new:
                    self._workers[identity] = Worker(
                        identity, message.epoch, message.pid, now, draining=message.draining
                    )
                    log.info(
                        "= worker %s is up, process %d, %d sessions",
                        identity,
                        message.pid,
                        len(message.sessions),
                        extra={"worker": identity},
                    )
                else:
                    self._workers[identity] = dataclasses.replace(before, heard_s=now)
                return SessionsStated(message.entries(), restarted, new)
            case WorkerReport():
                worker = self._workers.get(identity)
                if worker is None:
                    return HelloNeeded()
                self._workers[identity] = dataclasses.replace(
                    worker,
                    heard_s=now,
                    reports=(message, *worker.reports[: KEPT_REPORTS - 1]),
                    waits=(wait, *worker.waits[: KEPT_REPORTS - 1]),
                    draining=message.draining,
                )
                return None

    def set_cameras(self, cameras: Sequence[str]) -> tuple[list[str], list[str]]:
        """The configuration names these cameras now; gives those that are new and those that are gone."""
        added = [name for name in cameras if name not in self.cameras]
        removed = [name for name in self.cameras if name not in cameras]
        self.cameras = tuple(cameras)
        for name in removed:
            self._ingests.pop(name, None)
        return added, removed

    def set_draining(self, identity: str, draining: bool) -> None:
        """A live worker was told so; its next report says it itself."""
        self._workers[identity] = dataclasses.replace(self._workers[identity], draining=draining)

    def gone(self, identity: str, pid: int) -> bool:
        """The process with this id ended; True when it was this worker until now."""
        worker = self._workers.get(identity)
        if worker is None or worker.pid != pid:
            return False
        del self._workers[identity]
        log.warning("! worker %s: its process %d ended", identity, pid, extra={"worker": identity})
        return True

    def expire(self) -> list[str]:
        """Forgets the workers that have been silent too long; gives their identities."""
        now = self._clock.monotonic_s()
        dead = [name for name, worker in self._workers.items() if now - worker.heard_s > WORKER_SILENCE_S]
        for name in dead:
            del self._workers[name]
            log.warning(
                "! worker %s is silent for %g s, taken for dead",
                name,
                WORKER_SILENCE_S,
                extra={"worker": name},
            )
        return dead

    def forgive(self, late_s: float) -> None:
        """This process itself stood still for `late_s`; that is not the others' silence."""
        for camera, ingest in self._ingests.items():
            self._ingests[camera] = dataclasses.replace(ingest, heard_s=ingest.heard_s + late_s)
        for name, worker in self._workers.items():
            self._workers[name] = dataclasses.replace(worker, heard_s=worker.heard_s + late_s)

    def workers(self) -> list[Worker]:
        """The live workers."""
        return list(self._workers.values())

    def worker(self, identity: str) -> Worker | None:
        """The live worker of that identity."""
        return self._workers.get(identity)

    def silence_s(self, worker: Worker) -> float:
        """Seconds since a worker was heard."""
        return self._clock.monotonic_s() - worker.heard_s

    def has_camera(self, name: str) -> bool:
        """True when the configuration names this camera."""
        return name in self.cameras

    def ingest(self, camera: str) -> Ingest | None:
        """The camera's ingest process; None while it is not heard."""
        ingest = self._ingests.get(camera)
        if ingest is None or self._clock.monotonic_s() - ingest.heard_s > INGEST_SILENCE_S:
            return None
        return ingest

    def status(self, camera: str) -> CameraStatus:
        """State and last report of a configured camera."""
        ingest = self._ingests.get(camera)
        if ingest is None:
            return CameraStatus(camera, "down", None, 0.0)
        age_s = self._clock.monotonic_s() - ingest.heard_s
        status = CameraStatus(camera, "down", ingest.report, age_s)
        if age_s <= INGEST_SILENCE_S:
            state = status.main.state if status.main else "connecting"
            status = dataclasses.replace(status, state=state)
        return status
