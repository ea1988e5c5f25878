"""Who comes in, and how: `auth`, `http.tls`, `http.trusted_proxies` and `http.embed` of the configuration."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.access_config import (
    ROLES,
    AuthConfig,
    HttpAuthConfig,
    JwtConfig,
    ProxyAuthConfig,
    Role,
    TlsConfig,
    UserConfig,
)
from common.urls import DEFAULT_PORTS, redact
from common.yaml_section import Section

USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
USER_NAME_ALLOWED = "1 to 64 letters, digits, '.', '_', '@' and '-', a letter or digit first"
_PATTERN = re.compile(r"[A-Za-z0-9_*?\[\]!-]{1,64}")
PATTERNS_ALLOWED = "a list of camera names, in which '*' stands for any characters and '?' for one"
# PHC string format, as argon2 writes it; bounded, so that no hash keeps the machine busy for long.
_HASH = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=(?P<memory>\d{1,7}),t=(?P<time>\d{1,2}),p=(?P<lanes>\d{1,2})"
    r"\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{16,256}"
)
_MAX_MEMORY_KIB = 1 << 20
_HASH_ALLOWED = "an argon2 hash as `cctv3 user hash` prints it, in quotes"
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_NETWORKS_ALLOWED = "a list of addresses and networks, e.g. [127.0.0.1, 10.0.0.0/8]"
# Without IPv6: browsers find no such address in a policy (CSP3 section 6.7.2.8).
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>[a-z0-9_-]+(\.[a-z0-9_-]+)*)(:(?P<port>[0-9]{1,5}))?")
_ORIGINS_ALLOWED = (
    "a list of origins, http(s)://HOST[:PORT] with no path, e.g. [https://intranet.example]; "
    "each by its name, '*' is not taken"
)
_SHARED = {"HS256": 32, "HS384": 48, "HS512": 64}
"Octets that a secret has at least (RFC 7518 section 3.2)."
_PUBLIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_ALGORITHMS_ALLOWED = f"a list of {', '.join(_PUBLIC)}; or of {', '.join(_SHARED)}; not of both"
_KEY_ALLOWED = (
    "a public key in PEM; with HS algorithms a secret of at least 32 (HS384 48, HS512 64) octets; "
    "in one of key, key_file, jwks"
)
_SERVICE_ALLOWED = "https://HOST/PATH; http:// only on this machine"
_MAX_KEY_FILE = 64 << 10


def _text(longest: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= longest:
            raise ValueError
        return value

    return check


def _role(value: Any) -> Role:
    for role in ROLES:
        if value == role:
            return role
    raise ValueError


def _patterns(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(item, str) and _PATTERN.fullmatch(item) for item in value
    ):
        raise ValueError
    return tuple(value)


def _password(value: Any) -> str:
    # What stands here may be a password that somebody took for its hash.
    match = _HASH.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not an argon2 hash")
    if not 8 <= int(match["memory"]) <= _MAX_MEMORY_KIB or not int(match["time"]) or not int(match["lanes"]):
        raise ValueError("is an argon2 hash with parameters that are out of bounds")
    return str(value)


def networks(value: Any) -> tuple[str, ...]:
    """Addresses and networks in one form; raises ValueError."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return tuple(str(ipaddress.ip_network(item, strict=False)) for item in value)


def _header(value: Any) -> str:
    if not isinstance(value, str) or not _HEADER.fullmatch(value):
        raise ValueError
    return value


def _service(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError
    parts = urlsplit(value)
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a login")
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.hostname is None or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ValueError
    return value


def _algorithms(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError
    if not (set(value) <= _SHARED.keys() or set(value) <= set(_PUBLIC)):
        raise ValueError
    return tuple(value)


def _key_for(algorithms: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        # The reasons are spelled out: without one, the value would be shown.
        if not isinstance(value, str):
            raise ValueError("is not text")
        pem = "-----BEGIN" in value
        if algorithms[0] in _SHARED:
            if pem:
                raise ValueError("is a public key, which everybody may know; HS algorithms want a secret")
            shortest = max(_SHARED[algorithm] for algorithm in algorithms)
            if len(value.encode()) < shortest:
                raise ValueError(f"is a secret of less than {shortest} octets")
        elif not pem or "PRIVATE KEY" in value:
            raise ValueError("is not a public key in PEM")
        return value

    return check


def _jwt(section: Section, folder: Path) -> JwtConfig:
    algorithms = section.required("algorithms", _ALGORITHMS_ALLOWED, _algorithms)
    check = _key_for(algorithms)

    def from_file(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError
        try:
            with (folder / value).open() as file:
                return check(file.read(_MAX_KEY_FILE))
        except (OSError, UnicodeDecodeError) as exc:
            raise ValueError(f"names a file that cannot be read ({exc})") from None

    key = section.value("key", _KEY_ALLOWED, check, None)
    key_file = section.value("key_file", _KEY_ALLOWED, from_file, None)
    jwks = section.value("jwks", _SERVICE_ALLOWED, _service, None)
    config = JwtConfig(
        algorithms,
        section.required("audience", "text, what `aud` of a token must be", _text(256)),
        section.value("issuer", "text, what `iss` of a token must be", _text(256), None),
        key or key_file,
        jwks,
    )
    section.end("algorithms", "audience", "issuer", "key", "key_file", "jwks")
    if sum(each is not None for each in (key, key_file, jwks)) != 1:
        section.refuse("needs one way to get the key", _KEY_ALLOWED)
    if jwks is not None and algorithms[0] in _SHARED:
        section.refuse("has a key set of shared secrets", "jwks with algorithms of public keys")
    return config


def _users(section: Section) -> tuple[UserConfig, ...]:
    users = []
    for name, key_node in section.names():
        if not USER_NAME.fullmatch(name):
            section.fail(key_node, f"auth.users.{name}", "is not a usable name", USER_NAME_ALLOWED)
        own = section.section(name)
        assert own is not None
        user = UserConfig(
            name,
            own.value("role", f"one of {', '.join(ROLES)}", _role, "viewer"),
            own.value("cameras", PATTERNS_ALLOWED, _patterns, ("*",)),
            own.value("password", _HASH_ALLOWED, _password, None),
        )
        own.end("role", "cameras", "password")
        users.append(replace(user, cameras=("*",)) if user.role == "admin" else user)
    return tuple(users)


def parse_auth(root: Section, folder: Path) -> AuthConfig:
    """The key `auth`; `folder` is what a relative `key_file` starts from. Raises ConfigError."""
    if not root.has("auth"):
        return AuthConfig()
    if root.is_scalar("auth"):
        root.value("auth", "none, or users, jwt, proxy, http below it", _none, None)
        return AuthConfig("none")
    auth = root.section("auth")
    assert auth is not None
    users = auth.section("users")
    jwt, proxy, http = auth.section("jwt"), auth.section("proxy"), auth.section("http")
    config = AuthConfig(
        "users",
        _users(users) if users is not None else (),
        _jwt(jwt, folder) if jwt is not None else None,
        _proxy(proxy) if proxy is not None else None,
        _http(http) if http is not None else None,
    )
    auth.end("users", "jwt", "proxy", "http")
    if not config.users and config.jwt is None and config.http is None:
        auth.refuse("lets nobody in", "at least one user, jwt or http; or `auth: none`")
    return config


def _none(value: Any) -> None:
    if value != "none":
        raise ValueError


def _proxy(section: Section) -> ProxyAuthConfig:
    config = ProxyAuthConfig(
        section.required("header", "the name of a header, e.g. X-Remote-User", _header),
        section.required("from", _NETWORKS_ALLOWED, networks),
    )
    section.end("header", "from")
    return config


def _http(section: Section) -> HttpAuthConfig:
    config = HttpAuthConfig(section.required("url", _SERVICE_ALLOWED, _service))
    section.end("url")
    return config


def parse_tls(http: Section, folder: Path) -> TlsConfig | None:
    """The key `http.tls`; relative paths start from `folder`. Raises ConfigError."""
    if not http.has("tls"):
        return None
    if http.is_scalar("tls"):
        http.value("tls", "self-signed, or certificate and key below it", _self_signed, None)
        return TlsConfig()
    tls = http.section("tls")
    assert tls is not None
    certificate = tls.required("certificate", "path of a file in PEM", _text(4096))
    key = tls.required("key", "path of a file in PEM", _text(4096))
    tls.end("certificate", "key")
    return TlsConfig(str(folder / certificate), str(folder / key))


def _self_signed(value: Any) -> None:
    if value != "self-signed":
        raise ValueError


def parse_trusted_proxies(http: Section) -> tuple[str, ...]:
    """The key `http.trusted_proxies`. Raises ConfigError."""
    return http.value("trusted_proxies", _NETWORKS_ALLOWED, networks, ())


def _origin(text: str) -> str:
    """As browsers write it in `Origin` (RFC 6454 section 6.2): lower case, without the default port."""
    match = _ORIGIN.fullmatch(text.lower())
    port = int(match["port"] or DEFAULT_PORTS[match["scheme"]]) if match is not None else 0
    if match is None or not 0 < port < 65_536:
        raise ValueError(f"holds {redact(text)[:80]!r}")
    origin = f"{match['scheme']}://{match['host']}"
    return origin if port == DEFAULT_PORTS[match["scheme"]] else f"{origin}:{port}"


def _origins(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return tuple(dict.fromkeys(_origin(item) for item in value))


def parse_embed(http: Section) -> tuple[str, ...]:
    """The key `http.embed`. Raises ConfigError."""
    return http.value("embed", _ORIGINS_ALLOWED, _origins, ())
