"""Configuration: YAML to frozen data.

An operator's mistake raises ConfigError with file, line, key, value and what is allowed. The launcher and the
keeper check the whole file; what the processes get of it is in resolved.py.
"""

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from common.access_config import SignalingConfig
from common.access_section import parse_auth, parse_embed, parse_tls, parse_trusted_proxies
from common.errors import ConfigError
from common.urls import ALLOWED, parse_camera_url, redact
from common.yaml_section import Section

CAMERA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
DEFAULT_MEDIA_PORT = 8189
MAX_WORKERS = 256
MAX_CONFIG_BYTES = 4 << 20

Transport = Literal["tcp", "udp", "multicast", "http"]
# TCP first: it loses nothing, passes NAT and is set up at once; UDP for cameras that refuse it.
AUTO_TRANSPORT: tuple[Transport, ...] = ("tcp", "udp")
_TRANSPORT_ALLOWED = f"auto, or one or a list of {', '.join(get_args(Transport))}"

IceForm = Literal["lite", "full"]
STUN_PORT = 3478  # RFC 8489 section 18.6; TURN has the same
_ICE_URL = re.compile(
    r"(?P<kind>stun|turn):(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:(?P<port>[0-9]{1,5}))?"
    r"(\?transport=(?P<transport>udp|tcp))?"
)
_ICE_URL_ALLOWED = "stun:HOST[:PORT] or turn:HOST[:PORT][?transport=udp|tcp]"
# aioice takes one of each (its Connection has one stun_server and one turn_server).
_ICE_SERVERS_ALLOWED = "a list of at most one STUN and one TURN server, which is what the ICE library takes"
_MAX_LOGIN = 508  # octets of a USERNAME (RFC 8489 section 14.3)
_CAMERAS_ALLOWED = "cameras, each with a url, or {} for none yet"
_LISTEN_ALLOWED = "ADDRESS:PORT, e.g. 127.0.0.1:8080 or 0.0.0.0:8080"
_LOGIN_ALLOWED = f"text of 1 to {_MAX_LOGIN} octets, in quotes where it looks like a number"


@dataclass(frozen=True, slots=True)
class CameraConfig:
    """One camera."""

    name: str
    url: str = field(repr=False)
    on_demand: bool = False
    "Of the main stream; the sub stream always is."
    sub: str | None = field(default=None, repr=False)
    "URL of a smaller rendition of the same picture."
    transport: tuple[Transport, ...] = AUTO_TRANSPORT
    "RTSP: what to try, in order."
    verify_tls: bool = True
    audio: bool = True


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server; its login is not in its repr."""

    kind: Literal["stun", "turn"]
    host: str
    "A name or an address, without brackets."
    port: int = STUN_PORT
    transport: Literal["udp", "tcp"] = "udp"
    "How a TURN server is reached; what it relays is UDP always."
    username: str | None = field(default=None, repr=False)
    "TURN only, as the password."
    password: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """For people, as in the configuration (RFC 7064, RFC 7065)."""
        return f"{self.kind}:{self._address}" + ("?transport=tcp" if self.transport == "tcp" else "")

    @property
    def stun_url(self) -> str:
        """For browsers, without a login: a TURN server answers binding requests too (RFC 8656)."""
        return f"stun:{self._address}"

    @property
    def _address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, checked."""

    cameras: tuple[CameraConfig, ...]
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    media_port: int = DEFAULT_MEDIA_PORT
    "UDP port of worker 0; worker n has this plus n."
    media_advertise: tuple[str, ...] = ()
    "Addresses offered as candidates; empty means the machine's own."
    media_ice: IceForm = "lite"
    media_ice_servers: tuple[IceServer, ...] = ()
    workers: int = 1
    access: SignalingConfig = field(default_factory=SignalingConfig)

    @property
    def http_on_loopback(self) -> bool:
        """True when only this machine reaches the pages."""
        return _on_loopback(self.http_host)


def _on_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def default_workers() -> int:
    """One fanout worker for each core that this process may use."""
    return len(os.sched_getaffinity(0))


def load(path: Path) -> Config:
    """Reads and checks a YAML file; raises ConfigError for anything in it that is wrong."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: {len(data)} octets, at most {MAX_CONFIG_BYTES} are read")
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 at byte {exc.start}") from exc
    return parse(text, str(path), path.absolute().parent)


def _url(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    try:
        parse_camera_url(value)
    except ConfigError as exc:
        raise ValueError(str(exc)) from None
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _empty(_value: Any) -> None:
    raise ValueError("is empty")


def _transport(value: Any) -> tuple[Transport, ...]:
    if value == "auto":
        return AUTO_TRANSPORT
    wanted = value if isinstance(value, list) else [value]
    if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(get_args(Transport)):
        raise ValueError
    return tuple(wanted)


def _listen(value: Any) -> tuple[str, int]:
    if not isinstance(value, str):
        raise ValueError
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError
    if host != "localhost":
        ipaddress.ip_address(host)
    return host, int(port)


def _integer(lowest: int, highest: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not lowest <= value <= highest:
            raise ValueError
        return value

    return check


def _addresses(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return tuple(_address(item) for item in value)


def _address(text: str) -> str:
    # A DNS name as candidate breaks Firefox, so only addresses are taken; of IPv6 none with a scope
    # (`%eth0`), which means nothing on another machine.
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or "%" in text or address.is_unspecified or address.is_multicast:
        raise ValueError(f"holds {redact(text)[:80]!r}")
    return str(address)


def _ice_form(value: Any) -> IceForm:
    if value == "lite":
        return "lite"
    if value == "full":
        return "full"
    raise ValueError


def _ice_url(value: Any) -> IceServer:
    if not isinstance(value, str):
        raise ValueError
    if "@" in value:
        raise ValueError("holds an '@'; a login goes into username and password")
    match = _ICE_URL.fullmatch(value)
    if match is None or (match["kind"] == "stun" and match["transport"]):
        raise ValueError
    host = match["host"]
    if host.startswith("["):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    port = int(match["port"] or STUN_PORT)
    if not 0 < port < 65_536:
        raise ValueError
    return IceServer(
        "stun" if match["kind"] == "stun" else "turn",
        host,
        port,
        "tcp" if match["transport"] == "tcp" else "udp",
    )


def _login(value: Any) -> str:
    # The reasons are spelled out: without one, the value would be shown.
    if not isinstance(value, str):
        raise ValueError("is not text")
    if not 0 < len(value.encode()) <= _MAX_LOGIN:
        raise ValueError("is empty or too long")
    if not value.isprintable():
        raise ValueError("holds a control character")
    return value


def _ice_server(section: Section) -> IceServer:
    server = section.required("url", _ICE_URL_ALLOWED, _ice_url)
    if server.kind == "turn":
        server = replace(
            server,
            username=section.required("username", _LOGIN_ALLOWED, _login),
            password=section.required("password", _LOGIN_ALLOWED, _login),
        )
        section.end("url", "username", "password")
    section.end("url, and for TURN username and password")
    return server


def _ice_servers(media: Section, ice: IceForm) -> tuple[IceServer, ...]:
    servers: list[IceServer] = []
    for section in media.sections("ice_servers", _ICE_SERVERS_ALLOWED):
        if ice != "full":
            section.refuse("needs full ICE", "media.ice: full, or no ice_servers")
        server = _ice_server(section)
        if any(other.kind == server.kind for other in servers):
            section.refuse(f"is a second {server.kind.upper()} server", _ICE_SERVERS_ALLOWED)
        servers.append(server)
    return tuple(servers)


def _camera(name: str, section: Section) -> CameraConfig:
    camera = CameraConfig(
        name=name,
        url=section.required("url", ALLOWED, _url),
        on_demand=section.value("on_demand", "true or false", _flag, False),
        sub=section.value("sub", ALLOWED, _url, None),
        transport=section.value("transport", _TRANSPORT_ALLOWED, _transport, AUTO_TRANSPORT),
        verify_tls=section.value("verify_tls", "true or false", _flag, True),
        audio=section.value("audio", "true or false", _flag, True),
    )
    section.end(*(item.name for item in fields(CameraConfig) if item.name != "name"))
    return camera


def parse(text: str, source: str, folder: Path = Path()) -> Config:
    """Checks YAML text; `source` names it in errors, paths in it start from `folder`. Raises ConfigError."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(exc, "problem", None) or getattr(exc, "reason", "unreadable")
        raise ConfigError(f"{source}:{line}: is not YAML: {problem}") from None
    except RecursionError:
        raise ConfigError(f"{source}:1: is nested too deeply to be read") from None
    if node is None:
        raise ConfigError(f"{source}:1: is empty; at least `cameras` is needed")
    root = Section(source, node, "")
    cameras = []
    if not root.has("cameras"):
        root.fail(node, "cameras", "is missing", _CAMERAS_ALLOWED)
    if root.is_null("cameras"):
        root.value("cameras", _CAMERAS_ALLOWED, _empty, None)
    listed = root.section("cameras")
    if listed is not None:
        for name, key_node in listed.names():
            if not CAMERA_NAME.fullmatch(name):
                listed.fail(
                    key_node,
                    f"cameras.{name}",
                    "is not a usable name",
                    "1 to 48 letters, digits, '-' and '_', a letter or digit first",
                )
            section = listed.section(name)
            assert section is not None
            cameras.append(_camera(name, section))
    auth = parse_auth(root, folder)
    http = root.section("http")
    host, port = "127.0.0.1", 8080
    access = SignalingConfig(auth)
    if http is not None:
        host, port = http.value("listen", _LISTEN_ALLOWED, _listen, (host, port))
        if auth.mode == "unset" and not _on_loopback(host):
            http.refuse(
                f"listens on {host}, and nobody has to log in",
                "users under `auth` (`cctv3 user hash` prints the hash of a password); "
                "or listen on 127.0.0.1; or `auth: none`, and whoever reaches it sees the cameras",
            )
        access = SignalingConfig(
            auth, parse_tls(http, folder), parse_trusted_proxies(http), parse_embed(http)
        )
        http.end("listen", "tls", "trusted_proxies", "embed")
    media_port = DEFAULT_MEDIA_PORT
    advertise: tuple[str, ...] = ()
    ice: IceForm = "lite"
    ice_servers: tuple[IceServer, ...] = ()
    media = root.section("media")
    if media is not None:
        media_port = media.value("port", "1 to 65535", _integer(1, 65_535), DEFAULT_MEDIA_PORT)
        advertise = media.value(
            "advertise",
            "a list of IPv4 and IPv6 addresses, e.g. [203.0.113.7, '2001:db8::7']",
            _addresses,
            advertise,
        )
        ice = media.value("ice", "lite or full", _ice_form, ice)
        ice_servers = _ice_servers(media, ice)
        media.end("port", "advertise", "ice", "ice_servers")
    workers = default_workers()
    fanout = root.section("fanout")
    if fanout is not None:
        workers = fanout.value("workers", f"1 to {MAX_WORKERS}", _integer(1, MAX_WORKERS), workers)
        fanout.end("workers")
    root.end("cameras", "http", "auth", "media", "fanout")
    if media_port + workers - 1 > 65_535:
        raise ConfigError(
            f"{source}: media.port {media_port} plus {workers} workers passes 65535; "
            f"allowed: media.port up to {65_536 - workers}"
        )
    return Config(
        cameras=tuple(cameras),
        http_host=host,
        http_port=port,
        media_port=media_port,
        media_advertise=advertise,
        media_ice=ice,
        media_ice_servers=ice_servers,
        workers=workers,
        access=access,
    )
