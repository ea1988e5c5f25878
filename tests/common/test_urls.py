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
        ("rtsp://cam", CameraUrl("rtsp", "cam", 554, "rtsp://cam")),
        ("RTSP://cam:8554/a?b=c", CameraUrl("rtsp", "cam", 8554, "rtsp://cam:8554/a?b=c", port_given=True)),
        (
            "rtsp://[fe80::1]:554/a",
            CameraUrl("rtsp", "fe80::1", 554, "rtsp://[fe80::1]:554/a", port_given=True),
        ),
        ("rtsp://u@cam/a", CameraUrl("rtsp", "cam", 554, "rtsp://cam/a", "u", "")),
        ("rtsp://u:@cam/a", CameraUrl("rtsp", "cam", 554, "rtsp://cam/a", "u", "")),
        ("rtsp://u:p%40%3A%2F%25@cam/a", CameraUrl("rtsp", "cam", 554, "rtsp://cam/a", "u", "p@:/%")),
        ("rtsp://u:p@ss@cam/a", CameraUrl("rtsp", "cam", 554, "rtsp://cam/a", "u", "p@ss")),
        ("rtsp://u:p:q@cam/a", CameraUrl("rtsp", "cam", 554, "rtsp://cam/a", "u", "p:q")),
        ("rtsp://u:p/q@cam/a", CameraUrl("rtsp", "cam", 554, "rtsp://cam/a", "u", "p/q")),
        ("rtsp://u:p#q?r@cam/a", CameraUrl("rtsp", "cam", 554, "rtsp://cam/a", "u", "p#q?r")),
        ("rtsp://u:pä ß@cam/a", CameraUrl("rtsp", "cam", 554, "rtsp://cam/a", "u", "pä ß")),
        ("rtsps://cam/a", CameraUrl("rtsps", "cam", 322, "rtsps://cam/a")),
        ("rtmp://u:p@cam/live/x", CameraUrl("rtmp", "cam", 1935, "rtmp://cam/live/x", "u", "p")),
        ("https://cam/a.m3u8", CameraUrl("https", "cam", 443, "https://cam/a.m3u8")),
        ("file:///clips/a%20b.mp4", CameraUrl("file", "", 0, "file:///clips/a%20b.mp4")),
        ("v4l2:///dev/video0", CameraUrl("v4l2", "", 0, "v4l2:///dev/video0")),
        ("rtsp://cam/user@place", CameraUrl("rtsp", "cam", 554, "rtsp://cam/user@place")),
    ],
)
def test_parses(url: str, expected: CameraUrl) -> None:
    assert parse_camera_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cam/a",
        "ftp://u:secret@cam/a",
        "exec:secret",
        "exec:///bin/secret",
        "ffmpeg://u:secret@cam/a",
        "file://host/secret",
        "file:///",
        "file:///a%00secret",
        "v4l2://secret",
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


def test_path() -> None:
    assert parse_camera_url("file:///clips/a%20b.mp4").path == "/clips/a b.mp4"
    assert parse_camera_url("rtsp://cam:5/a/b?c").path == "/a/b?c"
    assert parse_camera_url("rtsp://cam?c").path == "?c"


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
        (
            "no stream at rtsp://cam/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp; check",
            "no stream at rtsp://cam/user=***_password=***_channel=1_stream=0.sdp; check",
        ),
        ("rtsp://cam/live?channel=1&Token=a.b-c&x=2", "rtsp://cam/live?channel=1&Token=***&x=2"),
        ("'http://cam/a.flv?user=me&pwd='", "'http://cam/a.flv?user=***&pwd=***'"),
        ("rtsp://cam/monkey=1", "rtsp://cam/monkey=1"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown
