"""What is visible outside: health, cameras, workers and sessions. No camera URL is known here."""

import dataclasses
from collections.abc import Sequence

from aiohttp import web

from signaling import events
from signaling.broker import Broker
from signaling.problems import RETRY_SOON_S, Problem
from signaling.workers import CameraStatus

Member = str | int | float | list[str] | None

SHOWN_OF_SESSION = 6
"Characters of a session's id: whoever knows the whole id may end the session."


def _error(status: CameraStatus) -> str | None:
    if status.state == "down":
        return "its ingest process is not heard; it is started again"
    return status.main.error if status.main else None


def camera_members(status: CameraStatus, viewers: int) -> dict[str, Member]:
    """One camera of `GET /api/v1/cameras`, by its main stream; bitrate in bit/s, gop_s and age in s."""
    video = status.main.video if status.main else None
    audio = status.main.audio if status.main else None
    age_s = status.age_s(status.main)
    return {
        "name": status.name,
        "state": status.state,
        "renditions": [known.name for known in status.formats],
        "codec": video.codec if video else None,
        "profile": video.profile if video else None,
        "width": video.width if video else None,
        "height": video.height if video else None,
        "fps": video.fps if video else None,
        "bitrate": video.bitrate if video else None,
        "gop_s": video.gop_s if video else None,
        "audio": audio.codec if audio else None,
        "age": round(age_s, 3) if age_s is not None else None,
        "viewers": viewers,
        "error": _error(status),
    }


class Api:
    """The handlers of `/healthz` and `/api/v1`."""

    def __init__(self, broker: Broker, ice_urls: Sequence[str]) -> None:
        self._broker = broker
        self._ice_urls = ice_urls

    def routes(self) -> list[web.RouteDef]:
        """Where the handlers belong."""
        return [
            web.get("/healthz", self._health),
            web.get("/api/v1/cameras", self._cameras),
            web.get("/api/v1/cameras/{camera}/report", self._report),
            web.get("/api/v1/sessions", self._sessions),
            web.get("/api/v1/workers", self._workers),
            web.get("/api/v1/events", self._events),
            web.get("/api/v1/ice-servers", self._ice_servers),
        ]

    async def close(self, app: web.Application) -> None:
        """Ends the listeners of events; meant for `on_shutdown`."""
        self._broker.events.close()

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

    async def _report(self, request: web.Request) -> web.Response:
        """All that is measured of a camera (messages.RenditionReport), and its latest changes of state."""
        name = request.match_info["camera"]
        if not self._broker.registry.has_camera(name):
            raise Problem(404, f"there is no camera {name[:60]!r}; GET api/v1/cameras lists them")
        status = self._broker.registry.status(name)
        return web.json_response(
            {
                "camera": name,
                "state": status.state,
                "error": _error(status),
                "viewers": self._broker.sessions.count_by_camera()[name],
                "renditions": [dataclasses.asdict(rendition) for rendition in status.renditions],
                "events": [events.members(event) for event in self._broker.events.of_camera(name)],
            }
        )

    async def _sessions(self, request: web.Request) -> web.Response:
        """Every session as its worker sees it (messages.SessionReport), and the workers that do not say."""
        reports = await self._broker.session_reports()
        sessions = [
            dataclasses.asdict(session)
            | {"session": f"{session.session[:SHOWN_OF_SESSION]}…", "worker": worker}
            for worker, said in reports.items()
            for session in said or ()
        ]
        silent = [worker for worker, said in reports.items() if said is None]
        return web.json_response({"sessions": sessions, "silent": silent})

    async def _workers(self, request: web.Request) -> web.Response:
        """The live workers with their last report (messages.WorkerReport); age in s since it was heard."""
        registry, sessions = self._broker.registry, self._broker.sessions.count_by_worker()
        return web.json_response(
            [
                {
                    "worker": worker.identity,
                    "age": round(registry.silence_s(worker), 3),
                    "sessions": sessions[worker.identity],
                    "report": dataclasses.asdict(worker.report) if worker.report else None,
                }
                for worker in registry.workers()
            ]
        )

    async def _ice_servers(self, request: web.Request) -> web.Response:
        """What a browser needs before it makes its offer: RTCIceServer dictionaries (W3C webrtc)."""
        return web.json_response([{"urls": url} for url in self._ice_urls])

    async def _events(self, request: web.Request) -> web.StreamResponse:
        return await events.send(self._broker.events, request)
