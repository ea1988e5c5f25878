"""Camera URLs and their credentials: split with any character in the password, shown without them."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from common.errors import ConfigError

_URL = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)$", re.IGNORECASE | re.DOTALL)
# Where URLs begin: of the schemes below, then of any, also where somebody wrote backslashes or one slash.
_BEGINNINGS = (
    re.compile(r"((?:rtsp[su]?|rtmps?|https?):[/\\]{1,2})", re.IGNORECASE),
    re.compile(r"(:[/\\]{1,2})"),
)
_UNQUOTED = re.compile(r"[^\s'\"<>]*")
_AUTHORITY = re.compile(r"[^/?#\r\n]*")
_HOST_AND_PORT = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:\[\]@]+)(:\d*)?", re.IGNORECASE)
_LINE = re.compile(r"[^\r\n]*")
# Cameras that take their login in the path or query: XMEye's /user=…_password=…_channel=1.sdp, tokens. A
# value may hold quotes and slashes, so it ends as late as it can. The names are only looked at where a `=`
# comes behind, which keeps the time in proportion to the text.
_IN_PARAMETER = re.compile(
    r"(?<![a-z])(?=[a-z]+\d{0,2}=)"
    r"((?:[a-z]*(?:pas|pw|psw|user|usr|login|auth|secret|token|jwt|cred|sign)[a-z]*"
    r"|(?:api|access|stream)?key|sig|sid|session(?:id)?|[up])\d{0,2}=)"
    r"[^\s&;]*?(?=[\s&;]|_(?:user|password|channel|stream|onvif)=|\Z)",
    re.IGNORECASE,
)
_IN_HEADER = re.compile(r"(authorization[ \t]*:)[^\r\n]*", re.IGNORECASE)
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
    """The text without the user part of any URL in it, and without values of parameters that name a secret.

    What might be either goes, too. The time taken is in proportion to the text.
    """
    for beginning in _BEGINNINGS:
        text = _without_users(text, beginning)
    return _IN_HEADER.sub(r"\1 ***", _IN_PARAMETER.sub(r"\1***", text))


def _without_users(text: str, beginning: re.Pattern[str]) -> str:
    first, *others = beginning.split(text)
    kept: list[str] = []
    # From the last URL to the first: what stands before a user part, with nothing between, is of it as well.
    user_follows = False
    for begins, piece in zip(others[-2::-2], others[::-2], strict=True):
        unquoted = _end(_UNQUOTED, piece)
        if user_follows and unquoted == len(piece):
            kept.pop()
        else:
            end = _user_end(piece, unquoted)
            user_follows = end > 0
            kept.append(piece[end:])
        kept.append(begins)
    return first + "".join(reversed(kept))


def _user_end(piece: str, unquoted: int) -> int:
    """Where the user part ends in what follows `://`: behind the last `@` that may belong to it."""
    authority = _end(_AUTHORITY, piece)
    ends = [unquoted, authority]
    if not _HOST_AND_PORT.fullmatch(piece, 0, authority):
        ends.append(_end(_LINE, piece))
    return 1 + max(piece.rfind("@", 0, end) for end in ends)


def _end(pattern: re.Pattern[str], text: str) -> int:
    match = pattern.match(text)
    return match.end() if match else 0


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
