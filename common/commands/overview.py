"""What the API says of a system at one moment, as `cctv3 status` shows it. [P]"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_TROUBLED = ("stalled", "backing_off", "failed", "down")

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Camera:
    """One entry of `GET /api/v1/cameras`: its main stream."""

    name: str
    state: str
    codec: str | None
    width: int | None
    height: int | None
    fps: float | None
    bitrate: float | None
    "Bits per second."
    viewers: int
    age_s: float | None
    "Since the last picture."
    error: str | None

    @property
    def needs_attention(self) -> bool:
        """It should send pictures and does not."""
        return self.state in _TROUBLED or (self.state == "connecting" and self.error is not None)


@dataclass(frozen=True, slots=True)
class Worker:
    """One entry of `GET /api/v1/workers`."""

    name: str
    viewers: int
    cpu: float | None
    "Of one core; None until it has reported, as the following."
    loop_lag_s: float | None
    packets_per_s: float | None
    dropped_frames: int | None
    draining: bool | None


@dataclass(frozen=True, slots=True)
class Settings:
    """`GET /api/v1/configuration`: what the keeper says."""

    revision: int
    cameras: tuple[str, ...]
    error: str | None
    restart_needed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it."""

    cameras: tuple[Camera, ...]
    workers: tuple[Worker, ...]
    settings: Settings | None
    "None while the keeper is not heard."

    @property
    def needs_attention(self) -> bool:
        """Somebody has to look."""
        return (
            not self.workers
            or self.settings is None
            or self.settings.error is not None
            or any(camera.needs_attention for camera in self.cameras)
        )


def parse_cameras(content: object) -> tuple[Camera, ...]:
    """Entries that are not understood are left out of the figures, not of the list."""
    return tuple(
        Camera(
            name=_text(entry, "name") or "?",
            state=_text(entry, "state") or "?",
            codec=_text(entry, "codec"),
            width=_whole(entry, "width"),
            height=_whole(entry, "height"),
            fps=_number(entry, "fps"),
            bitrate=_number(entry, "bitrate"),
            viewers=_whole(entry, "viewers") or 0,
            age_s=_number(entry, "age"),
            error=_text(entry, "error"),
        )
        for entry in _entries(content)
    )


def parse_workers(content: object) -> tuple[Worker, ...]:
    """The workers by name."""
    workers = []
    for entry in _entries(content):
        report = entry.get("report")
        report = report if isinstance(report, Mapping) else {}
        workers.append(
            Worker(
                name=_text(entry, "worker") or "?",
                viewers=_whole(entry, "sessions") or 0,
                cpu=_number(report, "cpu"),
                loop_lag_s=_number(report, "loop_lag_s"),
                packets_per_s=_number(report, "packets_per_s"),
                dropped_frames=_whole(report, "dropped_frames"),
                draining=_flag(report, "draining"),
            )
        )
    return tuple(sorted(workers, key=lambda worker: (len(worker.name), worker.name)))


def parse_settings(content: object) -> Settings:
    """What is in force, and what is the matter with the file."""
    entry = content if isinstance(content, Mapping) else {}
    return Settings(
        revision=_whole(entry, "revision") or 0,
        cameras=_texts(entry, "cameras"),
        error=_text(entry, "error"),
        restart_needed=_texts(entry, "restart_needed"),
    )


def _entries(content: object) -> list[Json]:
    return [entry for entry in content if isinstance(entry, Mapping)] if isinstance(content, Sequence) else []


def _text(entry: Json, name: str) -> str | None:
    value = entry.get(name)
    return value if isinstance(value, str) else None


def _texts(entry: Json, name: str) -> tuple[str, ...]:
    value = entry.get(name)
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def _number(entry: Json, name: str) -> float | None:
    value = entry.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return value


def _flag(entry: Json, name: str) -> bool | None:
    value = entry.get(name)
    return value if isinstance(value, bool) else None


def _whole(entry: Json, name: str) -> int | None:
    value = _number(entry, name)
    return None if value is None else int(value)
