"""What the configuration says of access, TLS and proxies, as frozen data for signaling."""

from dataclasses import dataclass, field
from typing import Literal, get_args

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"Each may all that those before it may."

AuthMode = Literal["unset", "none", "users"]
"""`unset`: nothing is written; on loopback only, where everybody may do everything. `none`: written out;
everybody may watch and operate, and only on loopback change the configuration. `users`: all are known."""


@dataclass(frozen=True, slots=True)
class UserConfig:
    """Somebody who may log in."""

    name: str
    role: Role = "viewer"
    cameras: tuple[str, ...] = ("*",)
    "Name patterns (fnmatch, case-sensitive); an admin has all."
    password: str | None = field(default=None, repr=False)
    "An argon2 hash in PHC form; None: only a reverse proxy or the external service can vouch for this user."


@dataclass(frozen=True, slots=True)
class JwtConfig:
    """Bearer tokens of somebody else (RFC 7519)."""

    algorithms: tuple[str, ...]
    audience: str
    issuer: str | None = None
    key: str | None = field(default=None, repr=False)
    "A shared secret (HS256 …, at least 32 octets) or a public key in PEM."
    jwks: str | None = None
    "URL of a key set (RFC 7517), https beyond loopback."


@dataclass(frozen=True, slots=True)
class ProxyAuthConfig:
    """A reverse proxy that has logged its users in and names them in a header."""

    header: str
    addresses: tuple[str, ...]
    "Networks from which the header is believed."


@dataclass(frozen=True, slots=True)
class HttpAuthConfig:
    """An external service that is asked for each login or bearer token that is not known here."""

    url: str


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Who may come in."""

    mode: AuthMode = "unset"
    users: tuple[UserConfig, ...] = ()
    jwt: JwtConfig | None = None
    proxy: ProxyAuthConfig | None = None
    http: HttpAuthConfig | None = None


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """How HTTPS is served."""

    certificate: str | None = None
    "Path of a chain in PEM; None: self-signed, made at the first start."
    key: str | None = None


@dataclass(frozen=True, slots=True)
class SignalingConfig:
    """What only signaling is told (`signaling.json`, mode 0600)."""

    auth: AuthConfig = AuthConfig()
    tls: TlsConfig | None = None
    "None: plain HTTP."
    trusted_proxies: tuple[str, ...] = ()
    "Networks whose Forwarded and X-Forwarded-* headers are believed."
    embed: tuple[str, ...] = ()
    "Origins whose pages may show cameras, as browsers write them."
