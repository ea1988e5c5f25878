"""Log lines: their forms, one line per event whatever the text, and no credentials in them."""

import json
import logging
import re
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common import log

EVIL = 'a\n2026-01-01T00:00:00.000Z ERROR keeper: forged\r\x1b[2J\x85\u2028\u202e\x00"\\ =é✓\U0001f600'
ANY_TEXT = st.text() | st.just(EVIL)


@pytest.fixture(autouse=True)
def _restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CCTV3_LOG_FORMAT", request.param)
    return str(request.param)


def in_each_form(test):
    return pytest.mark.parametrize("form", ["text", "logfmt", "JSON"], indirect=True)(test)


def parse_logfmt(line: str) -> dict[str, str]:
    """An independent reader: bare values, or JSON strings."""
    pairs = {}
    decoder = json.JSONDecoder()
    at = 0
    while at < len(line):
        equals = line.index("=", at)
        name = line[at:equals]
        if line[equals + 1 : equals + 2] == '"':
            value, end = decoder.raw_decode(line, equals + 1)
        else:
            end = line.find(" ", equals)
            end = len(line) if end < 0 else end
            value = line[equals + 1 : end]
        assert line[end : end + 1] in ("", " ")
        assert name not in pairs
        pairs[name] = value
        at = end + 1
    return pairs


def test_text_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("fanout-0")
    logging.getLogger("anything").info("= up")
    line = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO fanout-0: = up\n", line)


ABOUT = {"session": "a1B2c3…", "camera": "front", "worker": "fanout-1", "user": "anna", "address": "::1"}


@pytest.mark.parametrize(
    ("form", "said"), [("text", ""), ("logfmt", " camera=front-door")], indirect=["form"]
)
def test_what_a_whole_process_is_about(form: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In text the name of the process says it."""
    log.configure("ingest-front-door", {"camera": "front-door"})
    logging.getLogger("anything").info("up")
    assert capsys.readouterr().err.rstrip().endswith("up" + said)
    logging.getLogger("anything").info("up", extra={"camera": "yard"})
    assert capsys.readouterr().err.rstrip().endswith("up camera=yard")


def test_another_stream(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("supervisord", stream=sys.stdout)
    logging.getLogger("anything").info("= up")
    assert capsys.readouterr().out.endswith("INFO supervisord: = up\n")


@pytest.mark.parametrize("form", ["logfmt"], indirect=True)
def test_logfmt(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("signaling")
    logging.getLogger("anything").info("= opened", extra=ABOUT)
    line = capsys.readouterr().err
    assert re.fullmatch(
        r'time=\S+Z level=INFO process=signaling message="= opened" session=a1B2c3… camera=front '
        r"worker=fanout-1 user=anna address=::1\n",
        line,
    )


@pytest.mark.parametrize("form", ["json"], indirect=True)
def test_json(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("signaling")
    logging.getLogger("anything").warning("! %d of %s", 2, "front", extra={"camera": "front", "user": ""})
    event = json.loads(capsys.readouterr().err)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("time"))
    assert event == {
        "level": "WARNING",
        "process": "signaling",
        "message": "! 2 of front",
        "camera": "front",
    }


def test_text_names_what_the_message_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("signaling")
    logging.getLogger("anything").info("= session a1B2c3… of front ended", extra=ABOUT)
    assert capsys.readouterr().err.endswith(
        " INFO signaling: = session a1B2c3… of front ended worker=fanout-1 user=anna address=::1\n"
    )


@in_each_form
def test_credentials_are_removed_from_messages_arguments_fields_and_errors(
    form: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("ingest-door")
    logger = logging.getLogger("anything")
    logger.warning("dialling %s", "rtsp://u:s3cret@cam/a", extra={"camera": "rtsp://u:s3cret@cam/b"})
    try:
        try:
            raise OSError("no route to rtsp://u:s3cret@cam/a")
        except OSError:
            raise RuntimeError("no answer from\nrtsp://u:s3cret@cam/a") from None
    except RuntimeError:
        logger.exception("! failed")
    text = capsys.readouterr().err
    assert "s3cret" not in text
    assert "dialling rtsp://cam/a" in text
    assert "camera" in text and "rtsp://cam/b" in text
    assert "RuntimeError: no answer from" in text and "no route" not in text
    assert text.count("\n") == 2


@in_each_form
def test_an_error_says_where_and_from_what_in_one_line(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    def inner() -> None:
        try:
            raise KeyError("front\n")
        except KeyError as exc:
            raise ValueError("second") from exc

    log.configure("fanout-0")
    try:
        raise ExceptionGroup("many", [OSError(5, "first"), OSError(6, "other")])
    except ExceptionGroup:
        logging.getLogger("anything").exception("! group")
    try:
        inner()
    except ValueError:
        logging.getLogger("anything").exception("! failed")
    group, chain = capsys.readouterr().err.splitlines()
    assert "ExceptionGroup: many" in group and "the first of 2; from OSError: [Errno 5] first" in group
    assert re.search(
        r"ValueError: second \(common/test_log\.py:\d+ inner < common/test_log\.py:\d+ test_an_error", chain
    )
    assert "; from KeyError:" in chain


@given(message=ANY_TEXT, camera=ANY_TEXT, user=ANY_TEXT)
@example(message=EVIL, camera=EVIL, user=EVIL)
@example(message="a=b c", camera='"', user="\\")
def test_any_text_is_one_line_and_is_read_back(message: str, camera: str, user: str) -> None:
    event = [
        ("time", "2026-01-31T12:00:00.000Z"),
        ("level", "INFO"),
        ("process", "signaling"),
        ("message", message),
        ("camera", camera),
        ("user", user),
    ]
    for form in log.FORMS.values():
        line = form(event)
        assert line.isprintable() and len(line.splitlines()) == 1
    assert parse_logfmt(log.logfmt(event)) == dict(event)
    assert json.loads(log.as_json(event)) == dict(event)


def test_level_comes_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCTV3_LOG", "warning")
    log.configure("x")
    logging.getLogger("anything").info("quiet")
    assert capsys.readouterr().err == ""


def test_what_is_not_allowed_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCTV3_LOG", "loud")
    monkeypatch.setenv("CCTV3_LOG_FORMAT", "xml")
    log.configure("x")
    logging.getLogger("anything").debug("quiet")
    level, form = capsys.readouterr().err.splitlines()
    assert level.endswith(
        " WARNING x: ! CCTV3_LOG is 'loud'; allowed: DEBUG, INFO, WARNING, ERROR. INFO is taken"
    )
    assert form.endswith(
        " WARNING x: ! CCTV3_LOG_FORMAT is 'xml'; allowed: text, logfmt, json. text is taken"
    )
