"""What is visible outside: health of the system and state of the cameras. No camera URL is known here."""

from aiohttp import web

from signaling.broker import Broker
from signaling.problems import RETRY_SOON_S, Problem
from signaling.workers import CameraStatus

Member = str | int | float | None


def camera_members(status: CameraStatus, viewers: int) -> dict[str, Member]:
    """One camera of `GET /api/v1/cameras`; bitrate in bits per second, gop_s and age in seconds."""
    report = status.report
    error = report.error if report else None
    if status.state == "down":
        error = "its ingest process is not heard; it is started again"
    return {
        "name": status.name,
        "state": status.state,
        "codec": report.codec if report else None,
        "profile": report.profile if report else None,
        "width": report.width if report else None,
        "height": report.height if report else None,
        "fps": report.fps if report else None,
        "bitrate": report.bitrate if report else None,
        "gop_s": report.gop_s if report else None,
        "age": round(status.age_s, 3) if status.age_s is not None else None,
        "viewers": viewers,
        "error": error,
    }


class Api:
    """The handlers of `/healthz` and `/api/v1`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [web.get("/healthz", self._health), web.get("/api/v1/cameras", self._cameras)]

    async def _health(self, request: web.Request) -> web.Response:
        workers = len(self._broker.registry.workers())
        if not workers:
            raise Problem(503, "no media worker is up", RETRY_SOON_S)
        return web.json_response({"status": "ok", "workers": workers})

    async def _cameras(self, request: web.Request) -> web.Response:
        registry = self._broker.registry
        viewers = self._broker.sessions.count_by_camera()
        return web.json_response(
            [camera_members(registry.status(name), viewers[name]) for name in registry.cameras]
        )
