"""The resolved configuration: what the launcher and the keeper have checked, a file for each kind of process.

Each process gets its part alone: only an ingest sees its camera's credentials, only the fanout those of a
TURN server, only signaling the users.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.access_config import (
    AuthConfig,
    HttpAuthConfig,
    JwtConfig,
    ProxyAuthConfig,
    SignalingConfig,
    TlsConfig,
    UserConfig,
)
from common.config import CameraConfig, Config, IceForm, IceServer
from common.errors import LocalError


@dataclass(frozen=True, slots=True)
class SystemConfig:
    """What signaling and fanout are told: everything but the cameras' URLs."""

    cameras: tuple[str, ...]
    http_host: str
    http_port: int
    media_port: int
    media_advertise: tuple[str, ...]
    media_loopback: bool
    "Offer loopback addresses too."
    ice_urls: tuple[str, ...] = ()
    "With full ICE, the STUN servers for browsers."


@dataclass(frozen=True, slots=True)
class FanoutConfig:
    """What only the fanout is told."""

    ice: IceForm
    ice_servers: tuple[IceServer, ...]


def write_private(path: Path, content: dict[str, Any]) -> None:
    """JSON with mode 0600, in one step; raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
    draft.replace(path)


def store_resolved(config: Config, folder: Path) -> None:
    """Writes each process's part, all mode 0600, each in one step; takes away those of cameras that are gone.

    `cameras/NAME.json` with the URL; `fanout.json` with the login of a TURN server; `signaling.json` with the
    users; `system.json` for all. That one names the cameras, so their files are there before it and after it:
    whoever is killed in between leaves what `load_whole` can read.
    """
    for camera in config.cameras:
        write_private(folder / "cameras" / f"{camera.name}.json", asdict(camera))
    fanout = FanoutConfig(config.media_ice, config.media_ice_servers)
    write_private(folder / "fanout.json", asdict(fanout))
    write_private(folder / "signaling.json", asdict(config.access))
    system = SystemConfig(
        cameras=tuple(camera.name for camera in config.cameras),
        http_host=config.http_host,
        http_port=config.http_port,
        media_port=config.media_port,
        media_advertise=config.media_advertise,
        media_loopback=config.http_on_loopback,
        ice_urls=tuple(dict.fromkeys(server.stun_url for server in config.media_ice_servers)),
    )
    write_private(folder / "system.json", asdict(system))
    names = {camera.name for camera in config.cameras}
    for path in (folder / "cameras").glob("*.json"):
        if path.stem not in names:
            path.unlink()


def _read_resolved(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise LocalError(f"{path}: {exc}; start through `make run`, which writes it") from exc
    assert isinstance(content, dict)
    return content


def load_system(folder: Path) -> SystemConfig:
    """What `store_resolved` wrote for signaling and fanout; raises LocalError."""
    content = _read_resolved(folder / "system.json")
    for key in ("cameras", "media_advertise", "ice_urls"):
        content[key] = tuple(content[key])
    return SystemConfig(**content)


def load_fanout(folder: Path) -> FanoutConfig:
    """What `store_resolved` wrote for the fanout alone; raises LocalError."""
    content = _read_resolved(folder / "fanout.json")
    return FanoutConfig(content["ice"], tuple(IceServer(**server) for server in content["ice_servers"]))


def load_camera(folder: Path, name: str) -> CameraConfig:
    """What `store_resolved` wrote for one ingest; raises LocalError."""
    content = _read_resolved(folder / "cameras" / f"{name}.json")
    content["transport"] = tuple(content["transport"])
    return CameraConfig(**content)


def load_whole(folder: Path, workers: int) -> Config:
    """The configuration that the files were stored from; raises LocalError."""
    system, fanout = load_system(folder), load_fanout(folder)
    return Config(
        tuple(load_camera(folder, name) for name in system.cameras),
        system.http_host,
        system.http_port,
        system.media_port,
        system.media_advertise,
        fanout.ice,
        fanout.ice_servers,
        workers,
        load_signaling(folder),
    )


def load_signaling(folder: Path) -> SignalingConfig:
    """What `store_resolved` wrote for signaling alone; raises LocalError."""
    content = _read_resolved(folder / "signaling.json")
    auth, tls = content["auth"], content["tls"]
    jwt, proxy, http = auth["jwt"], auth["proxy"], auth["http"]
    return SignalingConfig(
        AuthConfig(
            auth["mode"],
            tuple(UserConfig(**user | {"cameras": tuple(user["cameras"])}) for user in auth["users"]),
            JwtConfig(**jwt | {"algorithms": tuple(jwt["algorithms"])}) if jwt else None,
            ProxyAuthConfig(**proxy | {"addresses": tuple(proxy["addresses"])}) if proxy else None,
            HttpAuthConfig(**http) if http else None,
        ),
        TlsConfig(**tls) if tls else None,
        tuple(content["trusted_proxies"]),
        tuple(content["embed"]),
    )
