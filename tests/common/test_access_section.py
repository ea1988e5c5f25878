"""Who may come in, as the configuration says it: all forms, and every mistake with its place."""

from pathlib import Path

import pytest

from common import config
from common.access_config import (
    AuthConfig,
    HttpAuthConfig,
    JwtConfig,
    ProxyAuthConfig,
    SignalingConfig,
    TlsConfig,
    UserConfig,
)
from common.errors import ConfigError
from common.resolved import load_signaling, store_resolved

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzYWx0$" + "A" * 43
PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
START = "cameras: {}\n"
WHOLE = f"""\
cameras: {{}}
http:
  listen: 0.0.0.0:8443
  tls: {{certificate: chain.pem, key: /etc/key.pem}}
  trusted_proxies: [127.0.0.1, 10.1.2.3/8]
  embed: [https://Intranet.example:443, 'http://localhost:8081', 'http://10.0.0.1:80', https://intranet.example]
auth:
  users:
    anna: {{role: admin, password: "{HASH}"}}
    wall: {{cameras: ["front*", yard], password: '{HASH}'}}
    lisa@example.org: {{role: operator}}
  jwt:
    algorithms: [RS256, ES256]
    jwks: https://id.example/keys
    audience: cctv3
    issuer: https://id.example
  proxy: {{header: X-Remote-User, from: ['::1']}}
  http: {{url: http://127.0.0.1:9000/auth}}
"""
EXPECTED = SignalingConfig(
    AuthConfig(
        "users",
        (
            UserConfig("anna", "admin", ("*",), HASH),
            UserConfig("wall", "viewer", ("front*", "yard"), HASH),
            UserConfig("lisa@example.org", "operator", ("*",), None),
        ),
        JwtConfig(("RS256", "ES256"), "cctv3", "https://id.example", None, "https://id.example/keys"),
        ProxyAuthConfig("X-Remote-User", ("::1/128",)),
        HttpAuthConfig("http://127.0.0.1:9000/auth"),
    ),
    TlsConfig("/etc/cctv3/chain.pem", "/etc/key.pem"),
    ("127.0.0.1/32", "10.0.0.0/8"),
    ("https://intranet.example", "http://localhost:8081", "http://10.0.0.1"),
)


def test_everything_said(tmp_path: Path) -> None:
    parsed = config.parse(WHOLE, "f", Path("/etc/cctv3"))
    assert parsed.access == EXPECTED
    assert HASH not in repr(parsed)
    store_resolved(parsed, tmp_path)
    assert load_signaling(tmp_path) == EXPECTED


def test_little_said(tmp_path: Path) -> None:
    for text, access in (
        (START, SignalingConfig()),
        (START + "auth: none", SignalingConfig(AuthConfig("none"))),
        (START + "http: {tls: self-signed}", SignalingConfig(tls=TlsConfig())),
    ):
        parsed = config.parse(text, "f")
        assert parsed.access == access
        store_resolved(parsed, tmp_path)
        assert load_signaling(tmp_path) == access


def test_beyond_loopback_somebody_has_to_be_named() -> None:
    beyond = START + "http: {listen: '0.0.0.0:80'}\n"
    with pytest.raises(
        ConfigError, match=r"f:2: http listens on 0.0.0.0, and nobody has to log in"
    ) as raised:
        config.parse(beyond, "f")
    assert "cctv3 user hash" in str(raised.value) and "auth: none" in str(raised.value)
    assert config.parse(beyond + "auth: none", "f").access.auth.mode == "none"
    assert config.parse(f"{beyond}auth: {{users: {{a: {{password: '{HASH}'}}}}}}", "f").access.auth.users


def test_a_key_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(PEM)
    text = START + "auth: {jwt: {algorithms: [RS256], audience: a, key_file: key.pem}}"
    jwt = config.parse(text, "f", tmp_path).access.auth.jwt
    assert jwt is not None and jwt.key == PEM
    with pytest.raises(ConfigError, match="key_file names a file that cannot be read"):
        config.parse(text.replace("key.pem", "gone.pem"), "f", tmp_path)


def jwt(**members: str) -> str:
    given = {"algorithms": "[HS256]", "audience": "a", "key": "x" * 32} | members
    inner = ", ".join(f"{name}: {value}" for name, value in given.items() if value)
    return f"auth: {{jwt: {{{inner}}}}}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("auth: some", "f:2: auth is 'some'; allowed: none, or users"),
        ("auth: {}", "f:2: auth lets nobody in; allowed: at least one user"),
        ("auth: {users: {}}", "auth lets nobody in"),
        ("auth: {user: {}}", "auth.user is not a known key"),
        ("auth: {users: {'a b': {}}}", "auth.users.a b is not a usable name"),
        ("auth: {users: {a: {role: root}}}", "auth.users.a.role is 'root'; allowed: one of viewer, operator"),
        ("auth: {users: {a: {cameras: front}}}", "auth.users.a.cameras is 'front'; allowed: a list"),
        ("auth: {users: {a: {cameras: ['a b']}}}", "auth.users.a.cameras is a sequence"),
        ("auth: {users: {a: {password: hunter22}}}", "password is not an argon2 hash; .*cctv3 user hash"),
        (
            "auth: {users: {a: {password: '" + HASH.replace("65536", "9999999") + "'}}}",
            "parameters that are out of bounds",
        ),
        (jwt(algorithms="[none]"), r"auth.jwt.algorithms is a sequence; allowed"),
        (jwt(algorithms="[HS256, RS256]"), "not of both"),
        (jwt(key="hunter22"), "auth.jwt.key is a secret of less than 32 octets"),
        (jwt(key='"' + PEM.replace("\n", "\\n") + '"'), "is a public key, which everybody may know"),
        (jwt(algorithms="[RS256]", key="x" * 40), "is not a public key in PEM"),
        (jwt(key=""), "auth.jwt needs one way to get the key"),
        (jwt(audience=""), "auth.jwt.audience is missing"),
        (jwt(algorithms="[RS256]", key="", jwks="'http://id.example/'"), "auth.jwt.jwks is 'http://id.exa"),
        (jwt(algorithms="[RS256]", key="", jwks="'https://u:hunter22@h/'"), "holds a login"),
        (jwt(key="", jwks="'https://h/'"), "key set of shared secrets"),
        ("auth: {proxy: {header: 'X Y', from: []}}", "auth.proxy.header is 'X Y'"),
        (
            "auth: {proxy: {header: X-User, from: [here]}}",
            "auth.proxy.from 'here' does not",
        ),
        (
            "auth: {http: {url: 'http://far.example/'}}",
            "auth.http.url is 'http://far.ex",
        ),
        ("http: {tls: yes}", "http.tls is 'yes'; allowed: self-signed"),
        ("http: {tls: {certificate: a}}", "http.tls.key is missing"),
        ("http: {trusted_proxies: 10.0.0.1}", "http.trusted_proxies is '10.0.0.1'; allowed: a list"),
        ("http:\n  embed: https://a.example", r"f:3: http.embed is 'https://a.example'; allowed: a list"),
        ("http: {embed: ['*']}", r"f:2: http.embed holds '\*'; allowed: .*'\*' is not taken"),
        ("http: {embed: [7]}", "http.embed is a sequence"),
        ("http: {embed: ['https://*.example']}", r"embed holds 'https://\*.example'"),
        ("http: {embed: [https://a.example/]}", "embed holds 'https://a.example/'; allowed: .*no path"),
        ("http: {embed: ['https://a.example; script-src *']}", "embed holds 'https://a.example; script"),
        ("http: {embed: ['https://a.example\n']}", "embed holds"),
        ("http: {embed: ['https://u:hunter22@a.example']}", "embed holds"),
        ("http: {embed: [ftp://a.example]}", "embed holds 'ftp://a.example'"),
        ("http: {embed: ['https://a.example:0']}", "embed holds 'https://a.example:0'"),
        ("http: {embed: ['https://a.example:65536']}", "embed holds 'https://a.example:65536'"),
        ("http: {embed: ['http://[::1]:80']}", "embed holds"),
        ("http: {embed: ['null']}", "embed holds 'null'"),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        config.parse(START + text, "f")
    assert "hunter22" not in str(raised.value)
