"""Changes of the configuration file itself: checked before anything is written, written in one step."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from common import config
from common.access_config import UserConfig
from common.config import CameraConfig, Config
from common.errors import ConfigError, LocalError
from common.keeper import document, order
from common.keeper.places import CannotEdit

Kind = Literal["camera", "user"]
PATHS: dict[Kind, tuple[str, ...]] = {"camera": ("cameras",), "user": ("auth", "users")}
_DEFAULTS: dict[Kind, dict[str, Any]] = {
    "camera": {"on_demand": False, "sub": None, "transport": "auto", "verify_tls": True, "audio": True},
    "user": {"role": "viewer", "cameras": ["*"]},
}
NEW_FILE = "# What each key means is in deploy/config.example.yaml.\ncameras: {}\n"


class NotThere(ConfigError):
    """There is no entry of that name to be removed."""


class NotWritable(LocalError):
    """The file, or its folder, takes no changes."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other writers of this program out of the file's folder meanwhile; raises NotWritable."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise NotWritable(f"{path.parent}: {exc.strerror}") from exc
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def read(path: Path) -> str | None:
    """The file's text; None when there is none. Raises ConfigError."""
    if not path.exists():
        return None
    # The checks of size and encoding are there.
    config.load(path)
    return path.read_bytes().decode()


def entry_of(whole: Config, kind: Kind, name: str) -> CameraConfig | UserConfig | None:
    """One camera or user."""
    entries: tuple[CameraConfig | UserConfig, ...]
    entries = whole.cameras if kind == "camera" else whole.access.auth.users
    return next((entry for entry in entries if entry.name == name), None)


def changed(
    text: str, path: Path, kind: Kind, name: str, content: dict[str, Any] | None
) -> tuple[str, Config]:
    """The text with an entry replaced, added or (None) removed, and what it says; raises ConfigError.

    Everything but that entry is the same as before, or ConfigError says that a program cannot do it.
    """
    before = config.parse(text, str(path), path.parent)
    try:
        edited = document.edit(text, PATHS[kind], name, content, _DEFAULTS[kind])
    except KeyError:
        raise NotThere(f"there is no {kind} {name[:60]!r}") from None
    except CannotEdit as exc:
        raise ConfigError(f"{path}: {exc}; change it by hand") from None
    after = config.parse(edited, f"{kind} {name[:60]!r}", path.parent)
    kept_before, kept_after = _others(before, kind, name), _others(after, kind, name)
    present = entry_of(after, kind, name) is not None
    if kept_before != kept_after or present != (content is not None):
        raise ConfigError(f"{path}: is written in a way that a program cannot change; change it by hand")
    return edited, after


def reordered(text: str, path: Path, names: Sequence[str]) -> tuple[str, Config]:
    """The text with the cameras in this order, and what it says; raises ConfigError.

    `names` are all cameras, and everything else is the same as before.
    """
    before = config.parse(text, str(path), path.parent)
    cameras = {camera.name: camera for camera in before.cameras}
    _check_names(names, cameras.keys())
    wanted = replace(before, cameras=tuple(cameras[name] for name in names))
    if wanted == before:
        return text, before
    try:
        edited = order.reorder(text, PATHS["camera"], names)
    except CannotEdit as exc:
        raise ConfigError(f"{path}: {exc}; change it by hand") from None
    if _meaning(edited, path) != wanted:
        # An alias would come before what it stands for.
        raise ConfigError(f"{path}: is written in a way that a program cannot change; change it by hand")
    return edited, wanted


def _check_names(names: Sequence[str], known: Set[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"order: there is no camera {unknown[0][:60]!r}")
    missing = sorted(known - set(names))
    if missing:
        raise ConfigError(f"order: {missing[0]} is missing; allowed: every camera once")
    if len(names) > len(known):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"order: {twice} is there twice; allowed: every camera once")


def _meaning(text: str, path: Path) -> Config | None:
    try:
        return config.parse(text, str(path), path.parent)
    except ConfigError:
        return None


def _others(whole: Config, kind: Kind, name: str) -> list[object]:
    users = [user for user in whole.access.auth.users if kind != "user" or user.name != name]
    cameras = [camera for camera in whole.cameras if kind != "camera" or camera.name != name]
    settings = (whole.http_host, whole.http_port, whole.media_port, whole.media_advertise, whole.media_ice)
    http = (whole.access.tls, whole.access.trusted_proxies, whole.access.embed)
    auth = (whole.access.auth.jwt, whole.access.auth.proxy, whole.access.auth.http)
    return [users, cameras, settings, http, auth, whole.media_ice_servers, whole.workers]


def write(path: Path, text: str, expected: str | None) -> None:
    """Replaces the file in one step, keeping owner and mode; raises NotWritable.

    `expected` is the text that it must still have (None: it must not be there).
    """
    target = path.resolve()
    draft = target.with_name(f".{target.name}.new")
    try:
        now = target.read_bytes().decode(errors="replace") if target.exists() else None
        if now != expected:
            raise NotWritable(f"{path} was changed by somebody else just now; try again")
        mode, owner = 0o600, None
        if now is not None:
            found = target.stat()
            mode, owner = found.st_mode & 0o7777, (found.st_uid, found.st_gid)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), mode)
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), *owner)
            os.fsync(file.fileno())
        draft.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise NotWritable(f"{path} cannot be written: {exc.strerror or exc}") from exc


def put_entry(path: Path, kind: Kind, name: str, content: dict[str, Any] | None) -> Config:
    """Writes one entry of the file, or (None) takes it out; gives what the file says then.

    A file that is not there is made. Raises ConfigError and NotWritable; then nothing has been changed.
    """
    with locked(path.resolve()):
        text = read(path)
        edited, after = changed(text if text is not None else NEW_FILE, path, kind, name, content)
        write(path, edited, text)
        return after
