"""What the API sees of cameras and users, and what becomes of what it sends."""

import json

import pytest

from common.access_config import UserConfig
from common.config import CameraConfig
from common.errors import ConfigError
from common.keeper.entries import Marks, shown_camera, shown_user, written_camera, written_user

CAMERA = CameraConfig("door", "rtsp://u:s3cr@et@cam:554/a", sub="rtsp://u:s3cr@et@cam:554/b")


def test_shown_without_credentials() -> None:
    shown = shown_camera(CAMERA)
    assert shown == {
        "url": "rtsp://cam:554/a",
        "on_demand": False,
        "sub": "rtsp://cam:554/b",
        "transport": "auto",
        "verify_tls": True,
        "audio": True,
        "credentials": True,
    }
    in_the_path = shown_camera(CameraConfig("x", "rtsp://cam/user=admin_password=s3cret_channel=1.sdp"))
    assert "s3cret" not in json.dumps(in_the_path) and in_the_path["credentials"]
    assert not shown_camera(CameraConfig("x", "rtsp://cam/a"))["credentials"]
    user = UserConfig("anna", "viewer", ("front*",), "$argon2id$hash")
    assert shown_user(user) == {"role": "viewer", "cameras": ["front*"], "password": True}


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("rtsp://cam:554/a", "rtsp://u:s3cr@et@cam:554/a"),
        ("rtsp://cam:554/other", "rtsp://u:s3cr@et@cam:554/other"),
        ("rtsp://CAM/other", "rtsp://u:s3cr@et@CAM/other"),
        ("rtsp://new:login@cam/a", "rtsp://new:login@cam/a"),
    ],
)
def test_the_login_is_kept(given: str, written: str) -> None:
    assert written_camera({"url": given, "credentials": True}, CAMERA) == {"url": written}


@pytest.mark.parametrize("given", ["rtsp://evil/a", "rtsp://cam:8554/a", "http://cam:554/a"])
def test_the_login_goes_nowhere_else(given: str) -> None:
    with pytest.raises(ConfigError, match="host and port"):
        written_camera({"url": given, "credentials": True}, CAMERA)
    assert written_camera({"url": given}, CAMERA) == {"url": given}


def test_a_login_in_the_path_is_kept_while_the_url_stays() -> None:
    before = CameraConfig("x", "rtsp://cam/user=admin_password=s3cret_channel=1.sdp")
    shown = shown_camera(before)
    assert written_camera({"url": shown["url"], "credentials": True}, before)["url"] == before.url


def test_passwords_are_kept() -> None:
    before = UserConfig("anna", "viewer", ("*",), "$hash")
    for content in ({"role": "admin"}, {"role": "admin", "password": True}):
        assert written_user(content, before) == {"role": "admin", "password": "$hash"}
    assert written_user({"password": False}, before) == {}
    assert written_user({"password": "$new"}, before) == {"password": "$new"}
    assert written_user({"role": "viewer"}, None) == {"role": "viewer"}


def test_tags_change_with_what_is_not_shown() -> None:
    marks = Marks(b"key")
    other = CameraConfig("door", "rtsp://u:other@cam:554/a", sub=CAMERA.sub)
    assert marks.entry(CAMERA).content == marks.entry(other).content
    assert marks.etag(CAMERA) != marks.etag(other) != Marks(b"another").etag(other)
    assert marks.etag(CAMERA) == marks.entry(CAMERA).etag
