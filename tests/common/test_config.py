"""Configuration: each mistake is named with file, line, key, value and what is allowed."""

import os
import stat
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import config, resolved
from common.config import CameraConfig, Config, IceServer
from common.errors import ConfigError, LocalError

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "config.example.yaml"
FULL = "cameras: {door: {url: 'rtsp://cam/a'}}\nmedia:\n  ice: full\n"
MINIMAL = "cameras: {door: {url: 'rtsp://cam/a'}}\n"


def test_defaults() -> None:
    assert config.parse(MINIMAL, "f") == Config(
        cameras=(CameraConfig("door", "rtsp://cam/a", on_demand=False),),
        http_host="127.0.0.1",
        http_port=8080,
        media_port=8189,
        media_advertise=(),
        media_ice="lite",
        media_ice_servers=(),
        workers=len(os.sched_getaffinity(0)),
    )


def test_everything_said() -> None:
    text = """\
cameras:
  door: {url: rtsp://u:p@cam/a, on_demand: true}
  2nd_Yard-cam: {url: rtsps://cam/b, sub: rtsp://u@cam/c, transport: [udp, tcp], verify_tls: no, audio: no}
  gate: {url: rtsp://cam/d, transport: http}
http: {listen: "[::1]:81"}
media:
  port: 9000
  advertise: [203.0.113.7, 2001:DB8::7, '::1']
  ice: full
  ice_servers:
    - {url: stun:stun.example}
    - {url: 'turn:[2001:db8::1]:3479?transport=tcp', username: cctv, password: "p:@/?# 1"}
fanout: {workers: 3}
"""
    assert config.parse(text, "f") == Config(
        cameras=(
            CameraConfig("door", "rtsp://u:p@cam/a", True),
            CameraConfig(
                "2nd_Yard-cam", "rtsps://cam/b", False, "rtsp://u@cam/c", ("udp", "tcp"), False, False
            ),
            CameraConfig("gate", "rtsp://cam/d", transport=("http",)),
        ),
        http_host="::1",
        http_port=81,
        media_port=9000,
        media_advertise=("203.0.113.7", "2001:db8::7", "::1"),
        media_ice="full",
        media_ice_servers=(
            IceServer("stun", "stun.example", 3478),
            IceServer("turn", "2001:db8::1", 3479, "tcp", "cctv", "p:@/?# 1"),
        ),
        workers=3,
    )


def test_example_loads_and_shows_the_defaults() -> None:
    example = config.load(EXAMPLE)
    default = Config(cameras=example.cameras, workers=example.workers)
    assert example == default
    assert [camera.on_demand for camera in example.cameras] == [False, True]
    of_camera = [item.name for item in fields(CameraConfig) if item.name != "name"]
    for key in (
        "cameras",
        "http",
        "listen",
        "media",
        "port",
        "advertise",
        "ice",
        "ice_servers",
        "workers",
        *of_camera,
    ):
        assert f"{key}:" in EXAMPLE.read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ["f:1: is empty", "cameras"]),
        ("[]", ["f:1: the file is a sequence", "a mapping"]),
        ("just text", ["f:1: the file is 'just text'"]),
        ("http: {}", ["f:1: cameras is missing", "cameras, each with a url, or {}"]),
        ("cameras:\n", ["f:1: cameras is empty", "or {} for none yet"]),
        ("cameras: [a]", ["f:1: cameras is a sequence", "a mapping"]),
        ("cameras:\n  door:\n", ["f:2: cameras.door.url is missing", "rtsp://"]),
        ("cameras:\n  a b: {url: 'rtsp://c'}", ["f:2: cameras.a b is not a usable name", "1 to 48"]),
        (f"cameras: {{{'n' * 49}: {{}}}}", ["is not a usable name"]),
        ("cameras:\n  d:\n    url: 7\n", ["f:3: cameras.d.url is '7'", "rtsp://"]),
        ("cameras: {d: {url: 'ftp://c'}}", ["cameras.d.url must be a URL of the form rtsp://"]),
        ("cameras: {d: {url: 'rtsp://c:99999/'}}", ["cameras.d.url has port 99999, 1 to 65535 are allowed"]),
        ("cameras:\n  d: {url: 'rtsp://c'}\n  d: {url: 'rtsp://e'}", ["f:3: cameras.d is written twice"]),
        ("cameras: {d: {url: 'rtsp://c', urll: x}}", ["cameras.d.urll is not a known key", "url, on_demand"]),
        ("cameras: {d: {url: 'rtsp://c', on_demand: perhaps}}", ["on_demand is 'perhaps'", "true or false"]),
        ("cameras: {d: {url: 'rtsp://c', on_demand: 1}}", ["on_demand is '1'", "true or false"]),
        ("cameras: {d: {url: 'rtsp://c', sub: 'exec:x'}}", ["cameras.d.sub must be a URL"]),
        ("cameras: {d: {url: 'rtsp://c', transport: tpc}}", ["d.transport is 'tpc'", "auto, or one or"]),
        ("cameras: {d: {url: 'rtsp://c', transport: []}}", ["d.transport is a sequence", "udp, multicast"]),
        ("cameras: {d: {url: 'rtsp://c', transport: [udp, udp]}}", ["d.transport is a sequence"]),
        ("cameras: {d: {url: 'rtsp://c', transport: [1]}}", ["d.transport is a sequence"]),
        ("cameras: {d: {url: 'rtsp://c', verify_tls: no way}}", ["d.verify_tls is 'no way'"]),
        (MINIMAL + "http:\n  listen: 8080\n", ["f:3: http.listen is '8080'", "ADDRESS:PORT"]),
        (MINIMAL + "http:\n  listen: here:8080\n", ["f:3: http.listen", "ADDRESS:PORT"]),
        (MINIMAL + "http:\n  listen: 127.0.0.1:0\n", ["f:3: http.listen", "ADDRESS:PORT"]),
        (MINIMAL + "media:\n  port: 65536\n", ["f:3: media.port is '65536'", "1 to 65535"]),
        (MINIMAL + "media:\n  port: true\n", ["f:3: media.port is 'true'", "1 to 65535"]),
        (MINIMAL + "media:\n  advertise: 10.0.0.1\n", ["f:3: media.advertise", "a list of IPv4"]),
        (MINIMAL + "media:\n  advertise: [cam.example]\n", ["f:3: media.advertise", "a list of IPv4"]),
        (MINIMAL + "media:\n  advertise: [7]\n", ["f:3: media.advertise", "a list of IPv4"]),
        (MINIMAL + "media: {advertise: [10.0.0.1, 'fe80::1%eth0']}", ["advertise holds 'fe80::1%eth0'"]),
        (MINIMAL + "media: {advertise: [0.0.0.0]}", ["media.advertise holds '0.0.0.0'", "IPv6"]),
        (MINIMAL + "media: {advertise: ['ff02::1']}", ["media.advertise holds 'ff02::1'"]),
        (MINIMAL + "media:\n  ice: fast\n", ["f:3: media.ice is 'fast'", "lite or full"]),
        (MINIMAL + "media: {ice: [full]}", ["media.ice is a sequence", "lite or full"]),
        (MINIMAL + "media: {ice_servers: [{url: 'stun:h'}]}", ["ice_servers[0] needs full ICE", "ice: full"]),
        (FULL + "  ice_servers: stun:h\n", ["f:4: media.ice_servers is not a list", "one STUN and one TURN"]),
        (FULL + "  ice_servers: [stun:h]\n", ["f:4: media.ice_servers[0] is not a mapping"]),
        (
            FULL + "  ice_servers: [{}]\n",
            ["media.ice_servers[0].url is missing", "stun:HOST[:PORT] or turn:"],
        ),
        (FULL + "  ice_servers: [{url: 7}]\n", ["media.ice_servers[0].url is '7'"]),
        (FULL + "  ice_servers: [{url: 'http://h'}]\n", ["[0].url is 'http://h'", "transport=udp|tcp"]),
        (FULL + "  ice_servers: [{url: 'stun:h:0'}]\n", ["[0].url is 'stun:h:0'"]),
        (FULL + "  ice_servers: [{url: 'stun:h?transport=udp'}]\n", ["[0].url is 'stun:h?transport"]),
        (FULL + "  ice_servers: [{url: 'stun:[1::2::3]'}]\n", ["media.ice_servers[0].url"]),
        (FULL + "  ice_servers: [{url: 'turns:h'}]\n", ["[0].url is 'turns:h'"]),
        (
            FULL + "  ice_servers: [{url: 'turn:h'}]\n",
            ["media.ice_servers[0].username is missing", "text of 1"],
        ),
        (FULL + "  ice_servers: [{url: 'turn:h', username: u}]\n", ["[0].password is missing", "in quotes"]),
        (FULL + "  ice_servers: [{url: 'stun:h', username: u}]\n", ["[0].username is not a known key"]),
        (
            FULL + "  ice_servers:\n    - {url: 'stun:a'}\n    - {url: 'stun:b'}\n",
            ["f:6: media.ice_servers[1] is a second STUN server", "at most one STUN and one TURN"],
        ),
        (
            MINIMAL + "media: {port: 65535}\nfanout: {workers: 2}",
            ["media.port 65535 plus 2 workers", "65534"],
        ),
        (MINIMAL + "fanout:\n  workers: 0\n", ["f:3: fanout.workers is '0'", "1 to 256"]),
        (MINIMAL + "fanout:\n  workers: null\n", ["f:3: fanout.workers is 'null'", "1 to 256"]),
        (MINIMAL + "fanout:\n  workers: {a: 1}\n", ["f:3: fanout.workers is a mapping"]),
        (
            MINIMAL + "recording: {}\n",
            ["f:2: recording is not a known key", "cameras, http, auth, media, fanout"],
        ),
        (MINIMAL + '"two\\nlines": 1\n', ["f:2: two?lines is not a known key"]),
        ("cameras: {d: {url: 'rtsp://c'}", ["f:", "is not YAML"]),
        ("a: 1\n---\nb: 2\n", ["f:2: is not YAML"]),
        ("\tcameras: 1", ["f:1: is not YAML"]),
        ("cameras: \x00", ["f:1: is not YAML"]),
        ("? [a]\n: 1\n", ["f:1:", "a key that is not plain text"]),
        ("? {a: 1}\n: 1\n", ["f:1:", "a key that is not plain text"]),
        ("cameras: !!python/object/apply:os.system [x]", ["f:1: cameras is a sequence"]),
        (MINIMAL + "media:\n  port: !!python/name:os.system x\n", ["f:3: media.port"]),
        (MINIMAL + "media:\n  port: !!int x\n", ["f:3: media.port"]),
        (MINIMAL + "media:\n  port: !!timestamp 2020-99-99\n", ["f:3: media.port"]),
        (MINIMAL + "media:\n  port: 2020-13-45\n", ["f:3: media.port"]),
        ("cameras: *nowhere", ["f:1: is not YAML"]),
    ],
)
def test_mistakes_are_named(text: str, says: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "f")
    for part in says:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "cameras: {d: {url: 'rtsp://u:s3cret@cam:99999/'}}",
        "cameras: {d: {url: 'ftp://u:s3cret@cam/'}}",
        "cameras: {d: {url: 'rtsp://u:s3cret@'}}",
        "cameras: {d: {url: ['rtsp://u:s3cret@cam/']}}",
        "cameras: {d: {url: 'rtsp://u:s3cret@cam/', on_demand: 'rtsp://u:s3cret@cam/'}}",
        "cameras: {d: 'rtsp://u:s3cret@cam/'}",
        "cameras: {'rtsp://u:s3cret@cam/': {}}",
        "cameras: 'rtsp://u:s3cret@cam/'",
        "rtsp://u:s3cret@cam/",
        "'rtsp://u:s3cret@cam/': 1",
        'cameras: {d: {url: "rtsp://u:s3cret@cam/\\z"}}',
        "cameras: {d: {url: rtsp://u:s3cret@cam/",
        "cameras: {d: {url: 'rtsp://cam/', 'rtsp://u:s3cret@cam/': 1}}",
        FULL + "  ice_servers: 'turn:u:s3cret@h'",
        FULL + "  ice_servers: {url: 'turn:h', username: u, password: s3cret}",
        FULL + "  ice_servers: ['turn:u:s3cret@h']",
        FULL + "  ice_servers: [{url: 'turn:u:s3cret@h'}]",
        FULL + "  ice_servers: [{url: 'turn:h', username: [s3cret], password: s3cret}]",
        FULL + "  ice_servers: [{url: 'turn:h', username: u, password: [s3cret]}]",
        FULL + "  ice_servers: [{url: 'turn:h', username: u, password: {a: s3cret}}]",
        FULL + '  ice_servers: [{url: "turn:h", username: u, password: "s3cret\\n"}]',
        FULL + f"  ice_servers: [{{url: 'turn:h', username: u, password: '{'s3cret' * 100}'}}]",
        FULL + "  ice_servers: [{url: 'turn:h', username: u, pasword: s3cret}]",
        FULL + "  ice_servers: [{url: 'turn:h', username: u, password: s3cret, also: s3cret}]",
        FULL + "  ice_servers: [{url: 'turn:h', username: u, password: s3cret, password: s3cret}]",
    ],
)
def test_no_mistake_shows_a_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "f")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None or "s3cret" not in str(caught.value.__cause__)


def test_aliases_and_anchors_are_plain_yaml() -> None:
    text = "cameras:\n  a: &one {url: 'rtsp://cam/a'}\n  b: *one\n"
    assert [camera.url for camera in config.parse(text, "f").cameras] == ["rtsp://cam/a"] * 2


def test_aliases_cannot_blow_up() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(ConfigError):
        config.parse(f"l0: &l0 [x]\n{levels}{MINIMAL}media: {{advertise: *l11}}\n", "f")
    with pytest.raises(ConfigError):
        config.parse("cameras: {d: {url: 'rtsp://c'}}\nmedia: {advertise: &a [*a]}\n", "f")


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(ConfigError):
        config.parse("cameras: " + "[" * 20_000, "f")


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_an_error(text: str) -> None:
    for candidate in (text, f"cameras:\n  d: {{url: {text}}}", f"{MINIMAL}media:\n  port: {text}\n"):
        try:
            config.parse(candidate, "f")
        except ConfigError:
            continue


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.load(tmp_path)
    bad = tmp_path / "latin1.yaml"
    bad.write_bytes(b"cameras: \xe4")
    with pytest.raises(ConfigError, match="is not UTF-8 at byte 9"):
        config.load(bad)
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (config.MAX_CONFIG_BYTES + 1))
    with pytest.raises(ConfigError, match="at most"):
        config.load(huge)


def test_each_process_gets_its_part_only(tmp_path: Path) -> None:
    cameras = (CameraConfig("a", "rtsp://u:pA@cam/"), CameraConfig("b", "rtsp://u:pB@cam/", True))
    whole = Config(cameras=cameras, http_host="0.0.0.0", media_advertise=("10.0.0.1",), workers=2)
    resolved.store_resolved(whole, tmp_path / "run")
    files = {path.name: path for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert sorted(files) == ["a.json", "b.json", "fanout.json", "signaling.json", "system.json"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files.values())
    assert "rtsp" not in files["system.json"].read_text()
    assert "pB" not in files["a.json"].read_text()
    assert resolved.load_camera(tmp_path / "run", "b") == cameras[1]
    system = resolved.load_system(tmp_path / "run")
    assert (system.cameras, system.media_loopback, system.media_advertise) == (
        ("a", "b"),
        False,
        ("10.0.0.1",),
    )
    assert system.ice_urls == ()
    assert not {field.name for field in fields(system)} & {"url", "urls"}


def test_a_password_that_looks_like_a_number_is_not_shown() -> None:
    with pytest.raises(ConfigError, match=r"ice_servers\[0\]\.password is not text; .*in quotes") as caught:
        config.parse(FULL + "  ice_servers: [{url: 'turn:h', username: u, password: 271828}]", "f")
    assert "271828" not in str(caught.value)


def test_the_login_of_a_turn_server_is_for_the_fanout_only(tmp_path: Path) -> None:
    servers = (IceServer("stun", "10.0.0.2"), IceServer("turn", "::1", 3478, "tcp", "cctv", "s3cret"))
    whole = Config((CameraConfig("a", "rtsp://cam/"),), media_ice="full", media_ice_servers=servers)
    resolved.store_resolved(whole, tmp_path)
    assert resolved.load_fanout(tmp_path) == resolved.FanoutConfig("full", servers)
    holding = [path.name for path in tmp_path.rglob("*") if path.is_file() and "s3cret" in path.read_text()]
    assert holding == ["fanout.json"]
    assert "s3cret" not in repr(whole) + repr(resolved.load_fanout(tmp_path)) + servers[1].url
    assert resolved.load_system(tmp_path).ice_urls == ("stun:10.0.0.2:3478", "stun:[::1]:3478")
    assert [server.url for server in servers] == ["stun:10.0.0.2:3478", "turn:[::1]:3478?transport=tcp"]


def test_a_server_that_does_both_is_told_to_browsers_once(tmp_path: Path) -> None:
    servers = "[{url: 'stun:h'}, {url: 'turn:h?transport=tcp', username: u, password: p}]"
    resolved.store_resolved(config.parse(FULL + f"  ice_servers: {servers}\n", "f"), tmp_path)
    assert resolved.load_system(tmp_path).ice_urls == ("stun:h:3478",)


@pytest.mark.parametrize(("host", "loopback"), [("localhost", True), ("::1", True), ("0.0.0.0", False)])
def test_loopback_is_offered_with_a_page_on_loopback(host: str, loopback: bool) -> None:
    assert Config(cameras=(), http_host=host).http_on_loopback == loopback


def test_missing_and_broken_resolved_files(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="make run"):
        resolved.load_system(tmp_path)
    (tmp_path / "system.json").write_text("{")
    with pytest.raises(LocalError, match=r"system\.json"):
        resolved.load_system(tmp_path)


def test_repr_shows_no_url() -> None:
    assert "s3cret" not in repr(config.parse("cameras: {d: {url: 'rtsp://u:s3cret@c'}}", "f"))
