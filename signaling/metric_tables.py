"""The series of a worker and of a camera's rendition: name, meaning, and the figure of the report. [P]"""

from collections.abc import Callable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from common.messages import RenditionReport, WorkerReport

Family = type[CounterMetricFamily] | type[GaugeMetricFamily]

WORKER: tuple[tuple[Family, str, str, Callable[[WorkerReport], float]], ...] = (
    (GaugeMetricFamily, "viewers", "Viewers of the worker.", lambda report: report.viewers),
    (
        GaugeMetricFamily,
        "draining",
        "1 while the worker takes no more viewers and moves its own to others.",
        lambda report: float(report.draining),
    ),
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
        GaugeMetricFamily,
        "packets_per_second",
        "RTP packets sent in the last second.",
        lambda report: report.packets_per_s,
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
        "refused_sends_total",
        "Datagrams that the kernel did not take, its socket buffer being full.",
        lambda report: report.refused_sends,
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
"`cctv3_worker_NAME`, by worker."

RENDITION: tuple[tuple[Family, str, str, Callable[[RenditionReport], float | None]], ...] = (
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
        "reordered_packets_total",
        "RTP packets of the camera that came late and were put in their place.",
        lambda rendition: rendition.reordered_packets,
    ),
    (
        CounterMetricFamily,
        "malformed_packets_total",
        "Packets of the camera that could not be read.",
        lambda rendition: rendition.malformed,
    ),
    (
        CounterMetricFamily,
        "damaged_access_units_total",
        "Pictures not passed on because a part was missing or broken.",
        lambda rendition: rendition.damaged,
    ),
    (
        CounterMetricFamily,
        "source_restarts_total",
        "How often another RTP source or sequence followed within a connection.",
        lambda rendition: rendition.source_restarts,
    ),
    (
        CounterMetricFamily,
        "clock_jumps_total",
        "Jumps of the camera's clock.",
        lambda rendition: rendition.clock_jumps,
    ),
    (
        GaugeMetricFamily,
        "jitter_seconds",
        "Interarrival jitter of the camera's packets (RFC 3550 section 6.4.1).",
        lambda rendition: rendition.jitter_s,
    ),
    (
        GaugeMetricFamily,
        "clock_offset_seconds",
        "The camera's clock less this machine's.",
        lambda rendition: rendition.clock_offset_s,
    ),
    (
        GaugeMetricFamily,
        "clock_drift_ratio",
        "How much faster the camera's sampling clock runs than this machine's; 0.00002 are 20 ppm.",
        lambda rendition: None if (ppm := rendition.clock_drift_ppm) is None else ppm / 1e6,
    ),
    (
        GaugeMetricFamily,
        "gop_seconds",
        "Time between the last two keyframes.",
        lambda rendition: rendition.video.gop_s if rendition.video else None,
    ),
    (
        GaugeMetricFamily,
        "first_frame_seconds",
        "From the dial to the first keyframe, of the last connection that got so far.",
        lambda rendition: rendition.first_frame_s,
    ),
    (
        CounterMetricFamily,
        "reconnects_total",
        "How often the camera was dialled again.",
        lambda rendition: rendition.reconnects,
    ),
)
"`cctv3_camera_NAME`, by camera and rendition; None: not known now."
