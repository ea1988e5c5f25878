"""Camera URLs: any character in a password works, and none of them is ever shown."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError
from common.urls import CameraUrl, parse_camera_url, redact


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://cam", CameraUrl("cam", 554, "rtsp://cam")),
        ("RTSP://cam:8554/a?b=c", CameraUrl("cam", 8554, "rtsp://cam:8554/a?b=c")),
        ("rtsp://[fe80::1]:554/a", CameraUrl("fe80::1", 554, "rtsp://[fe80::1]:554/a")),
        ("rtsp://u@cam/a", CameraUrl("cam", 554, "rtsp://cam/a", "u", "")),
        ("rtsp://u:@cam/a", CameraUrl("cam", 554, "rtsp://cam/a", "u", "")),
        ("rtsp://u:p%40%3A%2F%25@cam/a", CameraUrl("cam", 554, "rtsp://cam/a", "u", "p@:/%")),
        ("rtsp://u:p@ss@cam/a", CameraUrl("cam", 554, "rtsp://cam/a", "u", "p@ss")),
        ("rtsp://u:p:q@cam/a", CameraUrl("cam", 554, "rtsp://cam/a", "u", "p:q")),
        ("rtsp://u:p/q@cam/a", CameraUrl("cam", 554, "rtsp://cam/a", "u", "p/q")),
        ("rtsp://u:p#q?r@cam/a", CameraUrl("cam", 554, "rtsp://cam/a", "u", "p#q?r")),
        ("rtsp://u:pä ß@cam/a", CameraUrl("cam", 554, "rtsp://cam/a", "u", "pä ß")),
        ("rtsp://cam/user@place", CameraUrl("cam", 554, "rtsp://cam/user@place")),
    ],
)
def test_parses(url: str, expected: CameraUrl) -> None:
    assert parse_camera_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cam/a",
        "http://u:secret@cam/a",
        "rtsp://",
        "rtsp:///a",
        "rtsp://u:secret@",
        "rtsp://u:secret@/a",
        "rtsp://u:secret@cam:0/a",
        "rtsp://u:secret@cam:65536/a",
        "rtsp://u:secret@cam:port/a",
        "rtsp://u:secret@cam/a b",
        "rtsp://u:secret@cam/a\r\nX: y",
        "rtsp://u:secret@[fe80::1/a",
    ],
)
def test_refuses_without_telling_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_camera_url(url)
    assert "secret" not in str(caught.value)


@given(st.text(min_size=1), st.text())
def test_any_encoded_login_comes_back(username: str, password: str) -> None:
    url = f"rtsp://{quote(username, safe='')}:{quote(password, safe='')}@cam/a"
    parsed = parse_camera_url(url)
    assert (parsed.username, parsed.password) == (username, password)
    assert parsed.public == "rtsp://cam/a"


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parse_camera_url("rtsp://" + text)
    except ConfigError:
        return


def test_repr_holds_no_login() -> None:
    shown = repr(parse_camera_url("rtsp://someone:secret@cam/a"))
    assert "secret" not in shown
    assert "someone" not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("open rtsp://u:p@cam/a failed", "open rtsp://cam/a failed"),
        ("'rtsp://u:p@s@cam/a', \"http://x:y@z\"", "'rtsp://cam/a', \"http://z\""),
        ("rtsp://u:p/q?r#s@cam/a", "rtsp://cam/a"),
        ("rtsp://cam/a and me@example.org", "rtsp://cam/a and me@example.org"),
        ("rtsp://u:p@a rtsp://u:p@b", "rtsp://a rtsp://b"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown
