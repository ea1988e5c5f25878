"""What a changed configuration asks for: which cameras are touched, what waits for the next start. [P]"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from common.config import Config

_AT_START: dict[str, Callable[[Config], object]] = {
    "http.listen": lambda config: (config.http_host, config.http_port),
    "media.port": lambda config: config.media_port,
    "media.advertise": lambda config: config.media_advertise,
    "media.ice": lambda config: config.media_ice,
    "media.ice_servers": lambda config: config.media_ice_servers,
    "fanout.workers": lambda config: config.workers,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The difference of two configurations; names of cameras in the order of the file."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def text(self) -> str:
        """For the log; empty when no camera is touched."""
        parts = (("added", self.added), ("changed", self.changed), ("removed", self.removed))
        return "; ".join(f"{what} {', '.join(names)}" for what, names in parts if names)


def compare(before: Config, after: Config) -> Plan:
    """What happens to the cameras."""
    old = {camera.name: camera for camera in before.cameras}
    new = {camera.name: camera for camera in after.cameras}
    return Plan(
        tuple(name for name in new if name not in old),
        tuple(name for name in new if name in old and new[name] != old[name]),
        tuple(name for name in old if name not in new),
    )


def restart_needed(running: Config, wanted: Config) -> tuple[str, ...]:
    """Keys that differ between what was started and what is wanted."""
    return tuple(key for key, of in _AT_START.items() if of(running) != of(wanted))


def running(started: Config, wanted: Config) -> Config:
    """What is in force of `wanted` before the next start."""
    return replace(
        wanted,
        http_host=started.http_host,
        http_port=started.http_port,
        media_port=started.media_port,
        media_advertise=started.media_advertise,
        media_ice=started.media_ice,
        media_ice_servers=started.media_ice_servers,
        workers=started.workers,
    )
