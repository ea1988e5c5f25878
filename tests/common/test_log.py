"""Log lines: their form, and no credentials in them, wherever they came from."""

import logging
import re

import pytest

from common import log


@pytest.fixture(autouse=True)
def _restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_line_has_time_level_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("fanout-0")
    logging.getLogger("anything").info("= up")
    line = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO fanout-0: = up\n", line)


def test_credentials_are_removed_from_messages_arguments_and_tracebacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("ingest-door")
    logger = logging.getLogger("anything")
    logger.warning("dialling %s", "rtsp://u:s3cret@cam/a")
    try:
        raise RuntimeError("no answer from rtsp://u:s3cret@cam/a")
    except RuntimeError:
        logger.exception("! failed")
    text = capsys.readouterr().err
    assert "s3cret" not in text
    assert "dialling rtsp://cam/a" in text
    assert "RuntimeError: no answer from rtsp://cam/a" in text


def test_level_comes_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCTV3_LOG", "warning")
    log.configure("x")
    logging.getLogger("anything").info("quiet")
    assert capsys.readouterr().err == ""
