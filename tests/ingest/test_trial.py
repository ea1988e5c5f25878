"""A camera that is tried out before it is saved: which one it is, and what comes of it."""

import asyncio
import base64
import io
import json
import sys
from pathlib import Path

import av
import pytest

from common.access_unit import AccessUnit
from common.config import CameraConfig, Config
from common.errors import ConfigError
from common.lifecycle import EXIT_CONFIG
from common.resolved import store_resolved
from ingest import trial
from ingest.trial import tried_out, wanted
from tests.support.faulty_camera import Close, Hang, Read, Send, Step, faulty_camera, reply, until_playing
from tests.support.ports import free_tcp_port
from tests.support.processes import PROJECT, simulated_camera

SAVED = CameraConfig(
    "yard",
    "rtsp://who:s3cret@cam/main",
    sub="rtsp://other/user=admin_password=s3cret_channel=1.sdp",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store_resolved(Config((SAVED,)), tmp_path)
    return tmp_path


def test_what_is_left_out_is_as_in_the_configuration(folder: Path) -> None:
    assert wanted({"url": "rtsp://cam/x"}, folder) == CameraConfig("new", "rtsp://cam/x")
    wish = {"name": "gate", "url": "rtsp://cam/x", "transport": ["udp"], "verify_tls": False, "audio": False}
    assert wanted(wish, folder) == CameraConfig(
        "gate", "rtsp://cam/x", transport=("udp",), verify_tls=False, audio=False
    )


@pytest.mark.parametrize(
    ("wish", "url"),
    [
        ({"name": "yard", "credentials": True}, "rtsp://who:s3cret@cam/other"),
        ({"name": "yard", "credentials": False}, "rtsp://cam/other"),
        ({"name": "yard"}, "rtsp://cam/other"),
        ({"name": "gate", "credentials": True}, "rtsp://cam/other"),
        ({"credentials": True}, "rtsp://cam/other"),
    ],
)
def test_the_login_that_is_saved(folder: Path, wish: dict[str, object], url: str) -> None:
    assert wanted({"url": "rtsp://cam/other", **wish}, folder).url == url


def test_the_sub_stream_has_a_login_of_its_own(folder: Path) -> None:
    shown = "rtsp://other/user=***_password=***_channel=1.sdp"
    assert wanted({"name": "yard", "url": shown, "credentials": True}, folder).url == SAVED.sub


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"url": "rtsp://evil/main", "name": "yard", "credentials": True}, "scheme, host and port stay"),
        ({"url": "rtsp://cam:8554/main", "name": "yard", "credentials": True}, "scheme, host and port"),
        ({"url": "rtsp://cam/main", "name": "yard", "credentials": 1}, "credentials: is neither"),
        ({"url": "ftp://who:s3cret@cam/"}, "camera 'new':4: cameras.new.url must be a URL of the form"),
        ({"name": "gate"}, "cameras.gate.url is missing"),
        ({"url": {"a": [1]}}, "cameras.new.url"),
        ({"url": "rtsp://cam/", "transport": "pigeon"}, "cameras.new.transport is 'pigeon'"),
        ({"url": "rtsp://cam/", "urll": 1}, "urll is not a known key"),
        ({"url": "rtsp://cam/", "a: 1\n    b": 1}, "a is not a known key"),
    ],
)
def test_what_the_keeper_would_not_save(folder: Path, wish: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        wanted(wish, folder)
    assert "s3cret" not in str(raised.value)


def size_of(picture: object) -> tuple[int, int]:
    assert isinstance(picture, str)
    with av.open(io.BytesIO(base64.b64decode(picture)), format="image2pipe") as container:
        frame = next(container.decode(video=0))
        return frame.width, frame.height


@pytest.mark.parametrize(
    ("codec", "width", "shown", "advice"),
    [
        ("h264", 1280, (640, 360), ""),
        ("h265", 1280, (640, 360), "Not every browser decodes H.265"),
        ("jpeg", 512, (512, 288), "WebRTC has no Motion JPEG"),
    ],
)
async def test_a_camera_that_works(codec: str, width: int, shown: tuple[int, int], advice: str) -> None:
    height = width * 9 // 16
    async with simulated_camera(free_tcp_port(), codec=codec, width=width, height=height, gop=10) as url:
        found = await tried_out(CameraConfig("x", url), seconds=1.0)
    assert (found["works"], found["error"], found["kind"]) == (True, None, None)
    assert found["report"]["state"] == "live" and found["report"]["via"] == "RTSP over TCP"
    assert found["report"]["video"]["width"] == width
    assert " ".join(found["advice"]).startswith(advice) and found["advice"] == found["report"]["advice"]
    assert size_of(found["picture"]) == shown
    json.dumps(found)


async def failure(url: str, **options: object) -> dict[str, object]:
    found = await tried_out(CameraConfig("x", url, **options), 0.1, 1.0)  # type: ignore[arg-type]
    assert found["works"] is False and found["picture"] is None
    assert "wr0ng" not in json.dumps(found)
    return {"kind": found["kind"], "error": found["error"], "advice": found["advice"]}


async def test_a_camera_that_says_no() -> None:
    async with simulated_camera(free_tcp_port(), user="who", password="s3cret") as url:
        found = await failure(url.replace("//", "//who:wr0ng@"))
        assert found["kind"] == "refused" and "401" in str(found["error"])
        assert "Check the user name and password" in str(found["advice"])
        found = await failure(url.replace("//", "//who:s3cret@").replace("simulated", "other"))
        assert found["kind"] == "refused" and "404 Not Found" in str(found["error"])


async def test_a_camera_that_is_not_there() -> None:
    found = await failure(f"rtsp://who:wr0ng@127.0.0.1:{free_tcp_port()}/x")
    assert found["kind"] == "unreachable" and "refuses connections" in str(found["error"])
    found = await failure("rtsp://who:wr0ng@nobody.invalid/x")
    assert found["kind"] == "unreachable" and "cannot be reached" in str(found["error"])


OTHER_CODEC = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 MP4V-ES/90000\r\n"
)


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        ([Read(), Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Close()], "unreachable", "not speak RTSP"),
        ([Read(), reply(), Read(), reply(body=OTHER_CODEC), Hang()], "refused", "MP4V-ES"),
        ([Hang()], "unreachable", "camera did not play within 1 s"),
        ([*until_playing(), Hang()], "unreachable", "camera sent no keyframe within 1 s"),
        ([*until_playing(), Close()], "unreachable", "closed the connection while playing"),
    ],
)
async def test_a_camera_that_does_otherwise(script: list[Step], kind: str, says: str) -> None:
    async with faulty_camera(script) as camera:
        found = await failure(camera.url)
    assert found["kind"] == kind and says in str(found["error"])


def test_a_keyframe_that_cannot_be_decoded_is_no_picture() -> None:
    unit = AccessUnit(1, 0, "video", "H264", 0, 0, 0, True, (b"\x65\x88" * 50,))
    assert trial._picture(unit, None) is None


async def command(folder: Path, wish: object) -> tuple[int | None, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ingest.trial", str(folder)),
        cwd=PROJECT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(json.dumps(wish).encode())
    return process.returncode, out, err.decode()


async def test_the_command(folder: Path) -> None:
    status, out, err = await command(folder, {"url": f"rtsp://who:wr0ng@127.0.0.1:{free_tcp_port()}/x"})
    assert (status, err) == (0, "") and b"wr0ng" not in out
    assert json.loads(out)["kind"] == "unreachable"
    status, out, err = await command(folder, {"url": "rtsp://evil/", "name": "yard", "credentials": True})
    assert (status, out) == (EXIT_CONFIG, b"")
    assert err.startswith("credentials: the login is kept only") and err.count("\n") == 1
