"""`cctv3 drain` against a real server that answers as the API would."""

import time

import pytest

from common.commands import drain
from tests.common.commands.local_server import REPORT, WORKER, Answer, LocalServer

DRAIN = "/api/v1/workers/fanout-0/drain"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "LOOK_EVERY_S", 0.01)


def emptying(server: LocalServer, *viewers: int) -> None:
    """A worker that has fewer viewers each time that somebody looks."""
    left = list(viewers)

    def workers() -> Answer:
        draining = f"POST {DRAIN}" in server.asked
        now = left.pop(0) if draining and len(left) > 1 else left[0]
        return 200, [{**WORKER, "sessions": now, "report": {**REPORT, "draining": draining}}]

    server.answers["GET /api/v1/workers"] = workers
    server.answers[f"POST {DRAIN}"] = (204, b"")
    server.answers[f"DELETE {DRAIN}"] = (204, b"")


def test_until_it_has_no_viewers(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    emptying(server, 12, 12, 5, 0)
    assert drain.main(["fanout-0"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == ["fanout-0: 12 left", "fanout-0: 5 left"]
    assert "has no viewers and takes none until" in out and err == ""


def test_undo(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    emptying(server, 3)
    assert drain.main(["fanout-0", "--undo"]) == 0
    assert server.asked == [f"DELETE {DRAIN}"]
    assert capsys.readouterr().out == "fanout-0 takes viewers again\n"


def test_no_such_worker(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers["POST /api/v1/workers/a%2Fb%20c/drain"] = (404, {"detail": "there is no worker 'a/b c'"})
    assert drain.main(["a/b c"]) == 1
    assert capsys.readouterr().err == "there is no worker 'a/b c'\n"


def test_somebody_undoes_it(server: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    emptying(server, 5)
    workers = server.answers["GET /api/v1/workers"]
    assert callable(workers)
    looks = iter([True, True, False])

    def answer() -> Answer:
        return 200, [{**WORKER, "report": {**REPORT, "draining": next(looks)}}]

    server.answers["GET /api/v1/workers"] = answer
    assert drain.main(["fanout-0"]) == 1
    assert "drains no more" in capsys.readouterr().err


def looked_at(server: LocalServer, *looks: Answer) -> None:
    """What each look at the workers after the other gives, the last one for ever."""
    emptying(server, 5)
    left = list(looks)
    server.answers["GET /api/v1/workers"] = lambda: left.pop(0) if len(left) > 1 else left[0]


DRAINING = {**WORKER, "report": {**REPORT, "draining": True}}
NEW = {**WORKER, "report": None}
EMPTY = {**DRAINING, "sessions": 0}


def test_a_signaling_that_is_started_again_ends_nothing(
    server: LocalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    # It knows no worker at first, and of one that said hello nothing more until its report.
    looked_at(
        server, (200, [DRAINING]), *[(200, [])] * 3, *[(200, [NEW])] * 3, (200, [DRAINING]), (200, [EMPTY])
    )
    assert drain.main(["fanout-0"]) == 0
    out, err = capsys.readouterr()
    assert "has no viewers and takes none until" in out and "has ended" not in out and err == ""


def test_time_without_signaling_does_not_count(
    server: LocalServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "GONE_AFTER_S", 0.2)
    looked_at(server, (200, [DRAINING]), (200, []), (200, []), (200, [EMPTY]))
    away = [False]
    sleep = time.sleep

    def nap(seconds: float) -> None:
        if server.asked.count("GET /api/v1/workers") == 2 and not away[0]:
            away[0] = True
            server.path.rename(server.path.with_suffix(".away"))
            sleep(0.3)
        elif server.path.with_suffix(".away").exists():
            server.path.with_suffix(".away").rename(server.path)
        sleep(seconds)

    monkeypatch.setattr(drain.time, "sleep", nap)
    assert drain.main(["fanout-0"]) == 0
    out = capsys.readouterr().out
    assert "signaling is away" in out and "has no viewers" in out


def test_a_worker_that_is_restarted_drains_no_more(
    server: LocalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    looked_at(server, (200, [DRAINING]), (200, []), (200, [NEW]), (200, [WORKER]))
    assert drain.main(["fanout-0"]) == 1
    assert "drains no more" in capsys.readouterr().err


def test_it_ends_meanwhile(
    server: LocalServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "GONE_AFTER_S", 0.05)
    emptying(server, 5)
    server.answers["GET /api/v1/workers"] = (200, [])
    assert drain.main(["fanout-0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "fanout-0 has ended"
    assert server.asked.count("GET /api/v1/workers") > 2


def test_it_never_begins(
    server: LocalServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "BEGIN_WITHIN_S", 0.05)
    emptying(server, 5)
    server.answers["GET /api/v1/workers"] = (200, [WORKER])
    assert drain.main(["fanout-0"]) == 1
    assert "did not begin to drain" in capsys.readouterr().err


def test_nothing_runs(folder: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert drain.main(["fanout-0"]) == 2
    assert "no system runs in" in capsys.readouterr().err
