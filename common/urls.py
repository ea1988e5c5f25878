"""Camera URLs and their credentials: split with any character in the password, shown without them."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from common.errors import ConfigError

_URL = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)$", re.IGNORECASE | re.DOTALL)
_IN_TEXT = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s'\"<>]*@", re.IGNORECASE)
RTSP_PORT = 554  # RFC 2326 section 3.2


@dataclass(frozen=True, slots=True)
class CameraUrl:
    """An RTSP URL taken apart; `public` is safe to show, credentials are not in its repr."""

    host: str
    port: int
    public: str
    "The URL without credentials, as sent in requests."
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def redact(text: str) -> str:
    """The text with the user part of every URL in it removed."""
    return _IN_TEXT.sub(r"\1", text)


def parse_camera_url(url: str) -> CameraUrl:
    """Takes an `rtsp://` URL apart.

    Credentials end at the last `@` before the path, or, where the password itself holds `/`, `?` or
    `#`, at the last `@` at all; they are percent-decoded. Raises ConfigError, without the URL in it.
    """
    match = _URL.match(url)
    if match is None or match["scheme"].lower() != "rtsp":
        raise ConfigError("must be a URL of the form rtsp://[user:password@]host[:port]/path")
    rest = match["rest"]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    at = authority.rfind("@")
    # A raw '/' in a password: only then is the part before it not a usable host and port.
    if at < 0 and "@" in rest and not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:\d*)?", authority):
        at = rest.rfind("@")
    username = password = None
    if at >= 0:
        user, colon, secret = rest[:at].partition(":")
        username = unquote(user)
        password = unquote(secret) if colon else ""
        rest = rest[at + 1 :]
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host_port = re.fullmatch(
        r"(\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:\[\]@]+))(:(?P<port>\d{1,5})?)?", authority
    )
    if host_port is None:
        raise ConfigError("has no usable host and port")
    port = int(host_port["port"] or RTSP_PORT)
    if not 0 < port < 65_536:
        raise ConfigError(f"has port {port}, 1 to 65535 are allowed")
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in rest):
        raise ConfigError("holds a space or control character; write it percent-encoded (%20)")
    return CameraUrl(
        host=host_port["v6"] or host_port["host"],
        port=port,
        public=f"rtsp://{rest}",
        username=username,
        password=password,
    )
