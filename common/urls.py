"""Camera URLs and their credentials: split with any character in the password, shown without them."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from common.errors import ConfigError

_URL = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)$", re.IGNORECASE | re.DOTALL)
_IN_TEXT = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s'\"<>]*@", re.IGNORECASE)
# Cameras that take their login in the path or query: XMEye's /user=…_password=…_channel=1.sdp, tokens.
_IN_PARAMETER = re.compile(
    r"(?<![a-z])((?:user(?:name)?|usr|pass(?:w(?:or)?d)?|pwd|psw|token|auth|secret|(?:api)?key|signature|sig)=)"
    r"[^\s'\"<>&;/?]*?(?=[\s'\"<>&;/?]|_[a-z]+=|$)",
    re.IGNORECASE,
)
DEFAULT_PORTS = {
    "rtsp": 554,  # RFC 2326 section 3.2
    "rtsps": 322,  # RFC 7826 section 4.2
    "rtmp": 1935,
    "rtmps": 443,
    "http": 80,
    "https": 443,
}
# Without a host: a path of this machine.
LOCAL_SCHEMES = ("file", "v4l2")
ALLOWED = "rtsp://[user:password@]host[:port]/path, or rtsps, rtmp, rtmps, http, https, file:///path, v4l2:///dev/video0"


@dataclass(frozen=True, slots=True)
class CameraUrl:
    """A camera's URL taken apart; credentials are not in its repr."""

    scheme: str
    "In lower case."
    host: str
    "Empty for `file` and `v4l2`."
    port: int
    "Of the scheme where the URL has none; 0 for `file` and `v4l2`."
    public: str = field(repr=False)
    "The URL without its user part, as sent in requests; to be shown through `redact`."
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    port_given: bool = False
    "The URL names its port."

    @property
    def path(self) -> str:
        """What follows host and port; for `file` and `v4l2` the path of this machine, percent-decoded."""
        rest = self.public.split("://", 1)[1]
        if self.scheme in LOCAL_SCHEMES:
            return unquote(rest)
        return rest[len(re.split(r"[/?#]", rest, maxsplit=1)[0]) :]


def redact(text: str) -> str:
    """The text with the user part of every URL in it removed, and values of parameters that name a secret."""
    return _IN_PARAMETER.sub(r"\1***", _IN_TEXT.sub(r"\1", text))


def parse_camera_url(url: str) -> CameraUrl:
    """Takes a camera's URL apart.

    Credentials end at the last `@` before the path, or, where the password itself holds `/`, `?` or
    `#`, at the last `@` at all; they are percent-decoded. Raises ConfigError, without the URL in it.
    """
    match = _URL.match(url)
    scheme = match["scheme"].lower() if match else ""
    if match is None or (scheme not in DEFAULT_PORTS and scheme not in LOCAL_SCHEMES):
        raise ConfigError(f"must be a URL of the form {ALLOWED}")
    rest = match["rest"]
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in rest):
        raise ConfigError("holds a control character; write it percent-encoded")
    if scheme in LOCAL_SCHEMES:
        if not rest.startswith("/") or len(rest) < 2:
            raise ConfigError(f"needs an absolute path after {scheme}://, e.g. {scheme}:///path")
        if "\0" in unquote(rest):
            raise ConfigError("holds a zero octet in its path")
        return CameraUrl(scheme, "", 0, f"{scheme}://{rest}")
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
    port = int(host_port["port"] or DEFAULT_PORTS[scheme])
    if not 0 < port < 65_536:
        raise ConfigError(f"has port {port}, 1 to 65535 are allowed")
    if " " in rest:
        raise ConfigError("holds a space; write it percent-encoded (%20)")
    return CameraUrl(
        scheme=scheme,
        host=host_port["v6"] or host_port["host"],
        port=port,
        public=f"{scheme}://{rest}",
        username=username,
        password=password,
        port_given=bool(host_port["port"]),
    )
