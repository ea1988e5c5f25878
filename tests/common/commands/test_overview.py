"""The API's JSON as data; nothing that it may say breaks the command."""

from hypothesis import given
from hypothesis import strategies as st

from common.commands.overview import (
    Camera,
    Overview,
    Settings,
    Worker,
    parse_cameras,
    parse_settings,
    parse_workers,
)
from common.commands.status_screen import Style, render
from tests.common.commands.local_server import CAMERA, CONFIGURATION, REPORT, WORKER

FRONT = Camera("front", "live", "H264", 1920, 1080, 25.0, 4_000_000, 12, 0.04, None)
FANOUT_0 = Worker("fanout-0", 12, 0.231, 0.0021, 9012.4, 3, False)
SETTINGS = Settings(3, ("front",), None, ())


def test_parsing() -> None:
    assert parse_cameras([CAMERA]) == (FRONT,)
    assert parse_workers([WORKER]) == (FANOUT_0,)
    assert parse_settings(CONFIGURATION) == SETTINGS


def test_a_worker_that_has_not_reported_yet() -> None:
    assert parse_workers([{**WORKER, "report": None}]) == (
        Worker("fanout-0", 12, None, None, None, None, None),
    )


def test_workers_are_in_the_order_of_their_numbers() -> None:
    names = ["fanout-10", "fanout-2", "fanout-0"]
    parsed = parse_workers([{**WORKER, "worker": name} for name in names])
    assert [worker.name for worker in parsed] == ["fanout-0", "fanout-2", "fanout-10"]


def with_camera(**changes: object) -> Overview:
    return Overview(parse_cameras([{**CAMERA, **changes}]), (FANOUT_0,), SETTINGS)


def test_attention() -> None:
    assert not with_camera().needs_attention
    assert not with_camera(state="idle").needs_attention
    assert not with_camera(state="connecting").needs_attention
    assert with_camera(state="connecting", error="no answer").needs_attention
    for state in ("stalled", "backing_off", "failed", "down"):
        assert with_camera(state=state).needs_attention
    assert Overview((FRONT,), (), SETTINGS).needs_attention
    assert Overview((FRONT,), (FANOUT_0,), None).needs_attention
    assert Overview((FRONT,), (FANOUT_0,), Settings(3, (), "line 4", ())).needs_attention
    assert not Overview((FRONT,), (FANOUT_0,), Settings(3, (), None, ("http.listen",))).needs_attention


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def like(example: dict[str, object]) -> st.SearchStrategy[list[dict[str, object]]]:
    return st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(example, JSON)), max_size=3)


@given(
    cameras=JSON | like(CAMERA),
    workers=JSON | like({**WORKER, **REPORT}),
    settings=JSON | like(CONFIGURATION),
    width=st.integers(1, 200),
)
def test_any_answer_is_shown(cameras: object, workers: object, settings: object, width: int) -> None:
    overview = Overview(parse_cameras(cameras), parse_workers(workers), parse_settings(settings))
    for line in render(overview, Style(width)):
        assert line == "" or line.isprintable()
        assert len(line) <= max(width, 80)
