"""When a sign of life is due, and which."""

import pytest

from ingest.rtsp.keep_alive import KeepAlive
from ingest.rtsp.messages import Headers
from ingest.rtsp.quirks import Quirks


@pytest.mark.parametrize(
    ("public", "method"),
    [
        ([], "OPTIONS"),
        ([""], "OPTIONS"),
        (["DESCRIBE, PLAY"], "OPTIONS"),
        (["DESCRIBE,get_parameter"], "GET_PARAMETER"),
        (["DESCRIBE", "GET_PARAMETER"], "GET_PARAMETER"),
        (["SET_PARAMETER"], "OPTIONS"),
    ],
)
def test_method(public, method):
    # Under the name of Public, or of Allow, as some cameras write.
    for name in ("Public", "Allow"):
        keep_alive = KeepAlive(Quirks())
        keep_alive.offered(Headers(tuple((name, value) for value in public)))
        assert keep_alive.method == method


@pytest.mark.parametrize(("timeout_s", "period_s"), [(1, 0.5), (2, 1), (60, 30), (600, 30), (0, 30)])
def test_period(timeout_s, period_s):
    keep_alive = KeepAlive(Quirks())
    assert keep_alive.period_s == 30
    keep_alive.timeout(timeout_s)
    keep_alive.restart(100.0)
    assert keep_alive.period_s == period_s
    assert not keep_alive.due(100.0 + period_s * 0.99)
    assert keep_alive.due(100.0 + period_s)


@pytest.mark.parametrize(
    ("step", "name"), [("refused", "keep-alive-refused"), ("unanswered", "keep-alive-unanswered")]
)
def test_the_other_method_after_a_failure(step, name):
    quirks = Quirks()
    keep_alive = KeepAlive(quirks)
    keep_alive.offered(Headers((("Public", "GET_PARAMETER"),)))
    methods = []
    for _ in range(3):
        getattr(keep_alive, step)()
        methods.append(keep_alive.method)
    assert methods == ["OPTIONS", "GET_PARAMETER", "OPTIONS"]
    assert quirks.names == (name,)
