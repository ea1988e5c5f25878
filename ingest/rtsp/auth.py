"""Answers to `WWW-Authenticate`: Basic (RFC 7617) and Digest with MD5 or SHA-256 (RFC 7616, RFC 2069)."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from common.errors import ConfigError
from ingest.rtsp.messages import RtspRefusal, shown

# All that is known is a few hundred octets; nonce and opaque go back with each request.
MAX_CHALLENGE_CHARACTERS = 4096
_CHALLENGE = re.compile(r"(?:^|,)\s*(Basic|Digest)\b", re.IGNORECASE)
# To be found once in each name, and closed where the quotes are not: else the time grows with the square.
_PARAMETER = re.compile(r"(?<![A-Za-z0-9_-])([A-Za-z0-9_-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*))")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')
_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
_PREFERENCE = ("SHA-256", "MD5", "Basic")


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password, percent-decoded already; never in a repr."""

    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that the camera offers."""

    scheme: Literal["Basic", "MD5", "SHA-256"]
    "Basic, or the algorithm of Digest."
    realm: str
    nonce: str = ""
    opaque: str | None = None
    qop_auth: bool = False
    "The camera offers qop=auth (RFC 7616 section 3.3)."
    stale: bool = False
    "Only the nonce is old; the password may be right."
    algorithm_named: bool = False
    "The camera wrote the algorithm, so the answer names it, too: some cameras check that."

    @property
    def shown(self) -> str:
        """The way in, in words for an error."""
        return self.scheme if self.scheme == "Basic" else f"Digest {self.scheme}"


def _split(value: str) -> list[tuple[str, str]]:
    """Scheme and parameters of each challenge in one header; commas inside quotes do not count."""
    masked = _QUOTED.sub(lambda quoted: "_" * len(quoted[0]), value)
    starts = [match.start(1) for match in _CHALLENGE.finditer(masked)]
    pieces = [value[start:end] for start, end in pairwise([*starts, len(value)])]
    return [(piece.split(None, 1)[0].rstrip(",").lower(), piece) for piece in pieces]


def _parse(scheme: str, text: str) -> Challenge | None:
    parameters = {
        key.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
        for key, quoted, plain in _PARAMETER.findall(text[len(scheme) :])
    }
    realm = parameters.get("realm", "")
    if scheme == "basic":
        return Challenge("Basic", realm)
    algorithm = parameters.get("algorithm", "MD5").upper()
    if "nonce" not in parameters or algorithm not in _HASHES:
        return None
    return Challenge(
        scheme="MD5" if algorithm == "MD5" else "SHA-256",
        realm=realm,
        nonce=parameters["nonce"],
        opaque=parameters.get("opaque"),
        qop_auth="auth" in re.split(r"[\s,]+", parameters.get("qop", "").lower()),
        stale=parameters.get("stale", "").lower() == "true",
        algorithm_named="algorithm" in parameters,
    )


def parse_challenges(values: Sequence[str]) -> Challenge:
    """The strongest challenge in the `WWW-Authenticate` headers; raises RtspRefusal when none is usable."""
    if any(len(value) > MAX_CHALLENGE_CHARACTERS for value in values):
        raise RtspRefusal(
            f"camera asks for a login in {max(map(len, values))} characters, at most "
            f"{MAX_CHALLENGE_CHARACTERS} are read; restart it, or update its firmware"
        )
    challenges = [challenge for value in values for item in _split(value) if (challenge := _parse(*item))]
    if not challenges:
        offered = shown(", ".join(value.split(None, 1)[0] for value in values if value.strip())) or "nothing"
        raise RtspRefusal(
            f"camera offers {offered} to log in; Basic and Digest with MD5 or SHA-256 are spoken here"
        )
    return min(challenges, key=lambda challenge: _PREFERENCE.index(challenge.scheme))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def authorization(
    challenge: Challenge, credentials: Credentials, method: str, uri: str, nonce_count: int, cnonce: str
) -> str:
    """The value of `Authorization` for one request (RFC 7616 section 3.4).

    `nonce_count` counts requests with this nonce from 1. Characters outside ASCII go as UTF-8. Raises
    ConfigError for a user name or password that a header cannot hold.
    """
    if re.search(r"[\x00-\x1f\x7f]", credentials.username + credentials.password):
        raise ConfigError(
            "camera user name or password holds a control character; check its percent-encoding"
        )
    if challenge.scheme == "Basic":
        if ":" in credentials.username:
            raise ConfigError("camera user name holds ':', which Basic authentication cannot carry")
        pair = f"{credentials.username}:{credentials.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()
    make_hash = _HASHES[challenge.scheme]

    def digest(*parts: str) -> str:
        return make_hash(":".join(parts).encode()).hexdigest()

    ha1 = digest(credentials.username, challenge.realm, credentials.password)
    ha2 = digest(method, uri)
    fields = [
        f"username={_quoted(credentials.username)}",
        f"realm={_quoted(challenge.realm)}",
        f"nonce={_quoted(challenge.nonce)}",
        f"uri={_quoted(uri)}",
    ]
    if challenge.qop_auth:
        count = f"{nonce_count:08x}"
        response = digest(ha1, challenge.nonce, count, cnonce, "auth", ha2)
        fields += ["qop=auth", f"nc={count}", f'cnonce="{cnonce}"']
    else:
        response = digest(ha1, challenge.nonce, ha2)
    fields.append(f'response="{response}"')
    if challenge.algorithm_named or challenge.scheme != "MD5":
        fields.append(f"algorithm={challenge.scheme}")
    if challenge.opaque is not None:
        fields.append(f"opaque={_quoted(challenge.opaque)}")
    return "Digest " + ", ".join(fields)
