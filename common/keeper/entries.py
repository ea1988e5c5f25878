"""Cameras and users as the API shows and takes them: without credentials, which stay where they are. [P]

A camera's URL is shown without its login; `credentials` says that it has one. Written back with
`"credentials": true` and the same scheme, host and port, it keeps the login; a new one is simply in the URL.
A user's `password` is shown as true or false; it is written as an argon2 hash; left out or true keeps it.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from common.access_config import UserConfig
from common.config import AUTO_TRANSPORT, CameraConfig
from common.errors import ConfigError
from common.messages import SettingsEntry
from common.urls import CameraUrl, parse_camera_url, redact

_URLS = ("url", "sub")


def shown_camera(camera: CameraConfig) -> dict[str, Any]:
    """A camera for the API."""
    content = asdict(camera)
    del content["name"]
    content["transport"] = "auto" if camera.transport == AUTO_TRANSPORT else list(camera.transport)
    content["credentials"] = False
    for key in _URLS:
        if content[key] is not None:
            url = parse_camera_url(content[key])
            content["credentials"] |= url.username is not None or redact(url.public) != url.public
            content[key] = redact(content[key])
    return content


def shown_user(user: UserConfig) -> dict[str, Any]:
    """A user for the API."""
    return {"role": user.role, "cameras": list(user.cameras), "password": user.password is not None}


def written_camera(content: Mapping[str, Any], before: CameraConfig | None) -> dict[str, Any]:
    """The camera's keys for the file; raises ConfigError when the login that is to be kept is not there."""
    entry = {key: value for key, value in content.items() if key != "credentials"}
    keep = content.get("credentials", False)
    if not isinstance(keep, bool):
        raise ConfigError("credentials: is neither true nor false; true keeps the login that is stored")
    if keep:
        for key in _URLS:
            given, stored = entry.get(key), getattr(before, key, None)
            if isinstance(given, str):
                entry[key] = _with_login(given, stored)
    return entry


def _with_login(given: str, stored: str | None) -> str:
    if stored is None:
        return given
    if given == redact(stored):
        return stored
    try:
        new, old = parse_camera_url(given), parse_camera_url(stored)
    except ConfigError:
        return given  # whatever is wrong is said when it is read
    if new.username is not None or old.username is None:
        return given
    if _place(new) != _place(old):
        # Else whoever may write could send the login to a host of their own.
        raise ConfigError(
            "credentials: the login is kept only while scheme, host and port stay; write it into the URL"
        )
    scheme, _, rest = given.partition("://")
    login = stored[stored.index("://") + 3 : _login_end(stored)]
    return f"{scheme}://{login}@{rest}"


def _login_end(stored: str) -> int:
    public = parse_camera_url(stored).public
    rest = public[public.index("://") + 3 :]
    return len(stored) - len(rest) - 1


def _place(url: CameraUrl) -> tuple[str, str, int]:
    return url.scheme, url.host.lower(), url.port


def written_user(content: Mapping[str, Any], before: UserConfig | None) -> dict[str, Any]:
    """The user's keys for the file."""
    entry = dict(content)
    if entry.get("password", True) is True:
        entry.pop("password", None)
        if before is not None and before.password is not None:
            entry["password"] = before.password
    elif entry["password"] is False:
        del entry["password"]
    return entry


class Marks:
    """Entity tags: change with an entry, and tell nothing of what is in it."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def entry(self, entry: CameraConfig | UserConfig) -> SettingsEntry:
        """The entry as the API gets it."""
        shown = shown_camera(entry) if isinstance(entry, CameraConfig) else shown_user(entry)
        return SettingsEntry(entry.name, self.etag(entry), json.dumps(shown))

    def etag(self, entry: CameraConfig | UserConfig) -> str:
        """The tag alone."""
        # With a key: a plain hash could be tried against guessed passwords.
        whole = json.dumps(asdict(entry)).encode()
        return hmac.new(self._key, whole, hashlib.sha256).hexdigest()[:20]
