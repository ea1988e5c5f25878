"""What signaling counts itself; the labels stay few whatever comes in."""

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from signaling.counters import Counters, end_class, refusal_kind
from signaling.problems import RETRY_SOON_S, RETRY_WHEN_FULL_S, Problem


def samples(counters: Counters) -> dict[tuple[str, ...], float]:
    text = generate_latest(counters.registry).decode()
    return {
        (sample.name.removeprefix("cctv3_signaling_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def test_requests() -> None:
    counters = Counters()
    for _ in range(3):
        counters.request_began("/ws")
    counters.request_ended("GET", "/ws", 101, None)
    counters.request_began("/metrics")
    counters.request_ended("GET", "/metrics", 200, 0.25)
    assert samples(counters) == {
        ("requests_total", "GET", "/ws", "1xx"): 1,
        ("requests_total", "GET", "/metrics", "2xx"): 1,
        ("request_seconds_count", "/metrics"): 1,
        ("request_seconds_sum", "/metrics"): 0.25,
        ("requests_open", "/ws"): 2,
        ("requests_open", "/metrics"): 0,
        ("sessions_opened_total",): 0,
    }


def test_sessions_offers_and_logins() -> None:
    counters = Counters()
    counters.session_opened()
    counters.session_ended("the viewer said goodbye")
    counters.offer_refused(Problem(404, "there is no camera 'x'"))
    counters.login("limited")
    assert samples(counters) == {
        ("sessions_opened_total",): 1,
        ("sessions_ended_total", "left"): 1,
        ("offers_refused_total", "unknown-camera"): 1,
        ("logins_total", "limited"): 1,
    }


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("closed by the viewer", "left"),
        ("the viewer closed the connection", "left"),
        ("the viewer fell silent (ICE consent ran out)", "lost"),
        ("the viewer's socket was lost", "lost"),
        ("no ICE check and DTLS handshake within 20 s", "setup"),
        ("the worker failed to set the session up; its log says why", "setup"),
        ("the media worker died", "worker"),
        ("the worker is stopping", "worker"),
        ("access was withdrawn", "withdrawn"),
        ("kicked by anna", "kicked"),
        ("any words of a later version", "other"),
    ],
)
def test_ends(reason: str, kind: str) -> None:
    assert end_class(reason) == kind


def test_refusals() -> None:
    assert refusal_kind(Problem(503, "every media worker is at its limit", RETRY_WHEN_FULL_S)) == "full"
    assert refusal_kind(Problem(503, "no media worker is up", RETRY_SOON_S)) == "unavailable"
    assert {refusal_kind(Problem(status, "")) for status in range(400, 600)} == {
        "bad-offer",
        "unknown-camera",
        "not-acceptable",
        "unavailable",
        "timeout",
        "failed",
    }
