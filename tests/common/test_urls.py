"""Camera URLs: any character in a password works, and none of them is ever shown."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError
from common.urls import CameraUrl, parse_camera_url, redact
from tests.support.growth import assert_linear


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
        ("'http://cam/a.flv?user=me&pwd='", "'http://cam/a.flv?user=***&pwd=***"),
        (
            "rtsp://cam/user=admin&password=a/b&channel=1&stream=0.sdp?real_stream",
            "rtsp://cam/user=***&password=***&channel=1&stream=0.sdp?real_stream",
        ),
        (
            "rtsp://cam/user=admin_password=a_x=b_channel=1_stream=0.sdp",
            "rtsp://cam/user=***_password=***_channel=1_stream=0.sdp",
        ),
        ("rtsp://cam:554/a?b=1, see http://cam/c", "rtsp://cam:554/a?b=1, see http://cam/c"),
        ("rtsp://u:p w@cam/a http://x:y z@b", "rtsp://cam/a http://b"),
        ("rtsp://u:x://y@cam/a", "rtsp://cam/a"),
        ("rtsp:\\\\u:p@cam", "rtsp:\\\\cam"),
        ("> Authorization: Basic dTpw\n> CSeq: 1", "> Authorization: ***\n> CSeq: 1"),
        ("a=1 map=2 up=3", "a=1 map=2 up=3"),
        ("rtsp://cam/monkey=1", "rtsp://cam/monkey=1"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown


@given(
    st.text(alphabet=" '\"<>/?#:@\\;&=_p1%", max_size=12),
    st.text(alphabet=" '\"<>/?#:@\\;&=_p1%", max_size=12),
)
def test_no_password_that_works_is_shown(before: str, after: str) -> None:
    url = f"rtsp://admin:{before}SECRET{after}@cam/a"
    try:
        password = parse_camera_url(url).password
    except ConfigError:
        return
    if password is not None and "SECRET" in password:
        assert "SECRET" not in redact(f"open {url}, then http://cam/")


@pytest.mark.parametrize(
    "name",
    [
        *("user", "username", "usr", "loginuse", "u"),
        *(
            "password",
            "passwd",
            "pass",
            "pwd",
            "psw",
            "pw",
            "loginpas",
            "userpwd",
            "passcode",
            "p",
            "Password1",
        ),
        *("token", "access_token", "jwt", "sid", "session", "auth", "secret", "key", "apikey", "api_key"),
        *("signature", "sig", "X-Amz-Signature", "X-Amz-Credential"),
    ],
)
def test_values_of_secret_parameters(name: str) -> None:
    for value in ("SECRET", "SEC/RET", "SEC?RET", "SEC'RET", 'SEC"RET', "SE_x=CRET", "<SEC>RET"):
        shown = redact(f"http://cam/x?{name}={value}&channel=1 is refused")
        assert shown == f"http://cam/x?{name}=***&channel=1 is refused"


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "a",
            "pas",
            "a.",
            "a:",
            "a=",
            "=",
            "@",
            "a@",
            "_",
            "_a",
            "user",
            "1",
            "[",
            " ",
            "'",
            "\\",
            "/",
            "\n",
        ),
        *("a://", "a:/@", "a:/ ", "rtsp://u:p@", "rtsp://u:p ", "rtsp://u ", "key=_a", "key=", "key=&", "p1"),
        *("user=_user", "authorization", "authorization: ", "authorization :"),
    ],
)
def test_redact_takes_time_in_proportion(piece: str) -> None:
    assert_linear(redact, lambda size: piece * (size // len(piece)))
    assert_linear(redact, lambda size: "rtsp://" + piece * (size // len(piece)))
