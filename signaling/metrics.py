"""`/metrics`: what all processes say of themselves, in the text format of Prometheus.

Of the others each request reads the last reports, so what is not heard any more is not shown any more: a dead
worker has no series, a camera whose ingest is not heard has only its state. docs/operations.md has the table.
"""

from collections.abc import Iterator
from http import HTTPStatus
from time import perf_counter
from typing import get_args

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from common.messages import RenditionState, SettingsState
from signaling import metric_tables
from signaling.access.principal import Principal
from signaling.access.request_keys import PRINCIPAL
from signaling.broker import Broker
from signaling.counters import Login
from signaling.workers import CameraState, CameraStatus

_STATES: tuple[CameraState, ...] = (*get_args(RenditionState), "down")


class _Collector:
    """What the library asks for all series that somebody may see, once a request."""

    def __init__(self, broker: Broker, principal: Principal) -> None:
        self._broker = broker
        self._principal = principal

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples."""
        yield from self._workers()
        statuses = self._broker.visible(self._principal)
        ingest = GaugeMetricFamily(
            "cctv3_ingest_up", "1 while the camera's ingest process is heard.", labels=["camera"]
        )
        for status in statuses:
            ingest.add_metric([status.name], float(status.state != "down"))
        yield ingest
        yield from _states(statuses)
        yield from _streams([status for status in statuses if status.state != "down"])
        sessions = GaugeMetricFamily("cctv3_sessions", "Viewer sessions of the camera.", labels=["camera"])
        counts = self._broker.sessions.count_by_camera()
        for status in statuses:
            sessions.add_metric([status.name], counts[status.name])
        yield sessions
        yield from _keeper(self._broker.settings)

    def _workers(self) -> Iterator[Metric]:
        workers = self._broker.registry.workers()
        yield GaugeMetricFamily("cctv3_workers", "Media workers that are heard.", len(workers))
        reports = [(worker.identity, worker.report) for worker in workers if worker.report is not None]
        info = InfoMetricFamily(
            "cctv3_worker", "How the worker sends: by the kernel or python form.", labels=["worker"]
        )
        for worker, report in reports:
            info.add_metric([worker], {"egress": report.egress})
        yield info
        headroom = GaugeMetricFamily(
            "cctv3_worker_headroom_ratio",
            "Share of a core free for more viewers, by which they are placed; negative: overloaded.",
            labels=["worker"],
        )
        free = self._broker.headrooms()
        for worker, _ in reports:
            headroom.add_metric([worker], free[worker])
        yield headroom
        for kind, name, meaning, value in metric_tables.WORKER:
            family = kind(f"cctv3_worker_{name}", meaning, labels=["worker"])
            for worker, report in reports:
                family.add_metric([worker], value(report))
            yield family


def _states(statuses: list[CameraStatus]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "cctv3_camera_up",
        "1 while pictures arrive. An on-demand stream that nobody watches is not up, its state is idle.",
        labels=["camera", "rendition"],
    )
    state = GaugeMetricFamily(
        "cctv3_camera_state",
        "1 for the state that the stream is in, 0 for the others; down: its ingest process is not heard.",
        labels=["camera", "rendition", "state"],
    )
    for status in statuses:
        for name, now in _states_of(status):
            up.add_metric([status.name, name], float(now == "live"))
            for each in _STATES:
                state.add_metric([status.name, name, each], float(now == each))
    yield up
    yield state


def _states_of(status: CameraStatus) -> list[tuple[str, CameraState]]:
    if status.state == "down" or not status.renditions:
        return [(rendition.name, status.state) for rendition in status.formats]
    return [(rendition.name, rendition.state) for rendition in status.renditions]


def _streams(statuses: list[CameraStatus]) -> Iterator[Metric]:
    labels = ["camera", "rendition"]
    age = GaugeMetricFamily(
        "cctv3_camera_last_access_unit_age_seconds",
        "Time since the last picture arrived.",
        labels=labels,
    )
    for status in statuses:
        for rendition in status.renditions:
            if (age_s := status.age_s(rendition)) is not None:
                age.add_metric([status.name, rendition.name], age_s)
    yield age
    for kind, name, meaning, value in metric_tables.RENDITION:
        family = kind(f"cctv3_camera_{name}", meaning, labels=labels)
        for status in statuses:
            for rendition in status.renditions:
                if (number := value(rendition)) is not None:
                    family.add_metric([status.name, rendition.name], number)
        yield family


def _keeper(settings: SettingsState | None) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "cctv3_keeper_up", "1 while the keeper of the configuration is heard.", float(settings is not None)
    )
    if settings is None:
        return
    yield GaugeMetricFamily(
        "cctv3_settings_revision",
        "Changes of the configuration in this run of the keeper.",
        settings.revision,
    )
    yield GaugeMetricFamily(
        "cctv3_settings_error",
        "1 while the configuration file as it is now is refused; the one before is in force.",
        float(settings.error is not None),
    )
    yield GaugeMetricFamily(
        "cctv3_settings_restart_needed",
        "Keys of the configuration file that take effect at the next start.",
        len(settings.restart_needed),
    )


_LOGIN_ROUTE = ("POST", "/api/v1/login")
_LOGIN_RESULTS: dict[int, Login] = {401: "failed", 429: "limited"}
NOWHERE = "none"
"The route of requests that none matches."


class Metrics:
    """The handler of `/metrics`, and the middleware that counts requests; it goes before all others."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._counters = broker.counters
        self._process = CollectorRegistry()
        ProcessCollector(namespace="cctv3_signaling", registry=self._process)

    def routes(self) -> list[web.RouteDef]:
        """Where the handler belongs."""
        return [web.get("/metrics", self._get)]

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts the request and times it; a WebSocket or event stream is counted when it ends."""
        resource = request.match_info.route.resource
        # A method that is not routed may be any word.
        method, route = (request.method, resource.canonical) if resource is not None else ("any", NOWHERE)
        began_s = perf_counter()
        status, took_s = HTTPStatus.INTERNAL_SERVER_ERROR.value, None
        self._counters.request_began(route)
        try:
            response = await handler(request)
            status = response.status
            if isinstance(response, web.Response):
                took_s = perf_counter() - began_s
        except web.HTTPException as exc:
            status = exc.status
            raise
        finally:
            self._counters.request_ended(method, route, status, took_s)
        if (method, route) == _LOGIN_ROUTE and (status in _LOGIN_RESULTS or status < 300):
            self._counters.login(_LOGIN_RESULTS.get(status, "ok"))
        return response

    async def _get(self, request: web.Request) -> web.Response:
        registry = CollectorRegistry()
        registry.register(_Collector(self._broker, request[PRINCIPAL]))
        text = b"".join(map(generate_latest, (registry, self._process, self._counters.registry)))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
