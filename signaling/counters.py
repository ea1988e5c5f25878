"""What signaling counts itself: requests, sessions, logins, refused offers. Read by `/metrics`.

Labels are bounded: routes by their template, reasons by class; no session, user or address is among them.
"""

from typing import Literal

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from signaling.problems import RETRY_WHEN_FULL_S, Problem

# When a series began is not asked for, and would be a series for each.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"Upper ends of the buckets; a request to a worker has a deadline of 2 s."

EndClass = Literal["left", "lost", "worker", "withdrawn", "kicked", "setup", "other"]
# What a reason for the end of a session has in it, the first that fits. Reasons are for people and may grow.
_ENDS: tuple[tuple[str, EndClass], ...] = (
    ("access was withdrawn", "withdrawn"),
    ("kick", "kicked"),
    ("closed by the viewer", "left"),
    ("said goodbye", "left"),
    ("closed the connection", "left"),
    ("fell silent", "lost"),
    ("socket was lost", "lost"),
    ("handshake", "setup"),
    ("set the session up", "setup"),
    ("worker", "worker"),
)
_REFUSALS = {
    400: "bad-offer",
    404: "unknown-camera",
    406: "not-acceptable",
    413: "bad-offer",
    422: "bad-offer",
    503: "unavailable",
    504: "timeout",
}
Login = Literal["ok", "failed", "limited"]


def end_class(reason: str) -> EndClass:
    """What kind of end a session's reason tells of."""
    return next((kind for words, kind in _ENDS if words in reason), "other")


def refusal_kind(problem: Problem) -> str:
    """Why an offer was refused, in one of eight words."""
    if problem.status == 503 and problem.headers.get("Retry-After") == str(RETRY_WHEN_FULL_S):
        return "full"
    return _REFUSALS.get(problem.status, "failed")


class Counters:
    """Counts since the process started."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "cctv3_signaling_requests",
            "HTTP requests answered, by route template and class of the status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "cctv3_signaling_request_seconds",
            "From the head of a request to its answer; without WebSockets and event streams.",
            ["route"],
            buckets=LATENCY_S,
            registry=self.registry,
        )
        self._open = Gauge(
            "cctv3_signaling_requests_open",
            "Requests under way: of /ws the open WebSockets, of /api/v1/events the listeners.",
            ["route"],
            registry=self.registry,
        )
        self._opened = Counter(
            "cctv3_signaling_sessions_opened", "Viewer sessions begun.", registry=self.registry
        )
        self._ended = Counter(
            "cctv3_signaling_sessions_ended",
            "Viewer sessions ended, by the class of the reason.",
            ["reason"],
            registry=self.registry,
        )
        self._refused = Counter(
            "cctv3_signaling_offers_refused",
            "Offers that led to no session, over WHEP and WebSocket.",
            ["kind"],
            registry=self.registry,
        )
        self._logins = Counter(
            "cctv3_signaling_logins",
            "Attempts to log in with a password; limited: not looked at, too many came before.",
            ["result"],
            registry=self.registry,
        )

    def request_began(self, route: str) -> None:
        """A request of this route template is under way."""
        self._open.labels(route).inc()

    def request_ended(self, method: str, route: str, status: int, took_s: float | None) -> None:
        """It is over; `took_s` is None for what lasts as long as the client likes."""
        self._open.labels(route).dec()
        self._requests.labels(method, route, f"{status // 100}xx").inc()
        if took_s is not None:
            self._latency.labels(route).observe(took_s)

    def session_opened(self) -> None:
        """A worker has accepted a viewer."""
        self._opened.inc()

    def session_ended(self, reason: str) -> None:
        """A session is over; `reason` as people are told."""
        self._ended.labels(end_class(reason)).inc()

    def offer_refused(self, problem: Problem) -> None:
        """No session came of an offer."""
        self._refused.labels(refusal_kind(problem)).inc()

    def login(self, result: Login) -> None:
        """Somebody gave a name and a password."""
        self._logins.labels(result).inc()
