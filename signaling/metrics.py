"""`/metrics`: what workers and cameras report, in the text format of Prometheus.

Nothing is counted here. Each request reads the last reports of the registry, so what is not heard any more is
not shown any more: a dead worker has no series, a camera whose ingest is not heard has only its state.
"""

from collections.abc import Callable, Iterator
from typing import get_args

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from common.messages import RenditionReport, RenditionState, WorkerReport
from signaling.broker import Broker
from signaling.workers import CameraState, CameraStatus

_Family = type[CounterMetricFamily] | type[GaugeMetricFamily]

_STATES: tuple[CameraState, ...] = (*get_args(RenditionState), "down")

_WORKER: tuple[tuple[_Family, str, str, Callable[[WorkerReport], float]], ...] = (
    (GaugeMetricFamily, "viewers", "Viewers of the worker.", lambda report: report.viewers),
    (
        GaugeMetricFamily,
        "cpu_ratio",
        "CPU time over wall time of the worker in the last second, 1 is a whole core.",
        lambda report: report.cpu,
    ),
    (
        GaugeMetricFamily,
        "loop_lag_seconds",
        "Longest time that the event loop was late in the last second.",
        lambda report: report.loop_lag_s,
    ),
    (
        CounterMetricFamily,
        "packets_total",
        "RTP packets sent, retransmissions included.",
        lambda report: report.packets,
    ),
    (
        CounterMetricFamily,
        "retransmitted_packets_total",
        "RTP packets sent again because a viewer missed them.",
        lambda report: report.retransmitted,
    ),
    (
        CounterMetricFamily,
        "dropped_frames_total",
        "Frames not sent to viewers that are too slow.",
        lambda report: report.dropped_frames,
    ),
    (
        CounterMetricFamily,
        "switches_total",
        "Changes of a viewer between main, sub and keyframes only.",
        lambda report: report.switches,
    ),
    (
        CounterMetricFamily,
        "rejected_datagrams_total",
        "Datagrams on the media port that were not WebRTC, not authentic, or from nobody known.",
        lambda report: report.rejected,
    ),
    (
        GaugeMetricFamily,
        "history_bytes",
        "Memory held for joins and retransmissions, all cameras.",
        lambda report: report.history_octets,
    ),
)

_RENDITION: tuple[tuple[_Family, str, str, Callable[[RenditionReport], float | None]], ...] = (
    (
        GaugeMetricFamily,
        "frames_per_second",
        "Pictures per second that the camera sends.",
        lambda rendition: rendition.video.fps if rendition.video else None,
    ),
    (
        GaugeMetricFamily,
        "video_bits_per_second",
        "Bits per second of video that the camera sends.",
        lambda rendition: rendition.video.bitrate if rendition.video else None,
    ),
    (
        CounterMetricFamily,
        "access_units_total",
        "Pictures received.",
        lambda rendition: rendition.access_units,
    ),
    (
        CounterMetricFamily,
        "lost_packets_total",
        "RTP packets of the camera that did not arrive.",
        lambda rendition: rendition.lost_packets,
    ),
    (
        CounterMetricFamily,
        "reconnects_total",
        "How often the camera was dialled again.",
        lambda rendition: rendition.reconnects,
    ),
)


class _Collector:
    """What the library asks for all series, once a request."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples."""
        yield from self._workers()
        statuses = [self._broker.registry.status(name) for name in self._broker.registry.cameras]
        yield from _states(statuses)
        yield from _streams([status for status in statuses if status.state != "down"])
        sessions = GaugeMetricFamily("cctv3_sessions", "Viewer sessions of the camera.", labels=["camera"])
        counts = self._broker.sessions.count_by_camera()
        for status in statuses:
            sessions.add_metric([status.name], counts[status.name])
        yield sessions

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
        for kind, name, meaning, value in _WORKER:
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
    for kind, name, meaning, value in _RENDITION:
        family = kind(f"cctv3_camera_{name}", meaning, labels=labels)
        for status in statuses:
            for rendition in status.renditions:
                if (number := value(rendition)) is not None:
                    family.add_metric([status.name, rendition.name], number)
        yield family


class Metrics:
    """The handler of `/metrics`."""

    def __init__(self, broker: Broker) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(broker))

    def routes(self) -> list[web.RouteDef]:
        """Where the handler belongs."""
        return [web.get("/metrics", self._get)]

    async def _get(self, request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        )
