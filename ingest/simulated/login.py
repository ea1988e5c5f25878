"""Who may in: Basic (RFC 7617) and Digest with MD5 or SHA-256 (RFC 2617, RFC 7616), the server's side."""

import base64
import hashlib
import hmac
import re

from ingest.simulated.options import LoginOptions

REALM = "simulated"
_FIELD = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


class Login:
    """Checks requests against one user; `nonce` is a secret of the process."""

    def __init__(self, options: LoginOptions, nonce: str) -> None:
        self._options = options
        self._nonce = nonce

    def challenge(self) -> str:
        """The value of WWW-Authenticate."""
        match self._options.scheme:
            case "basic":
                return f'Basic realm="{REALM}"'
            case "digest":  # without qop, as most cameras do it
                return f'Digest realm="{REALM}", nonce="{self._nonce}"'
            case "digest-sha256":
                return f'Digest realm="{REALM}", nonce="{self._nonce}", algorithm=SHA-256, qop="auth"'

    def allows(self, method: str, url: str, authorization: str) -> bool:
        """Whether the value of Authorization (empty when missing) fits this request."""
        scheme, _, rest = authorization.partition(" ")
        user, password = self._options.user, self._options.password
        if self._options.scheme == "basic":
            expected = base64.b64encode(f"{user}:{password}".encode()).decode()
            return scheme.lower() == "basic" and _same(rest.strip(), expected)
        fields = {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
            for name, quoted, plain in _FIELD.findall(rest)
        }
        named = {"username": user, "realm": REALM, "nonce": self._nonce, "uri": url}
        if scheme.lower() != "digest" or any(fields.get(name) != value for name, value in named.items()):
            return False
        return _same(fields.get("response", ""), self._response(method, url, fields))

    def _response(self, method: str, url: str, fields: dict[str, str]) -> str:
        modern = self._options.scheme == "digest-sha256"
        make_hash = hashlib.sha256 if modern else hashlib.md5

        def digest(*parts: str) -> str:
            return make_hash(":".join(parts).encode()).hexdigest()

        middle = [self._nonce]
        if modern:  # RFC 7616 section 3.4.1
            middle += [fields.get("nc", ""), fields.get("cnonce", ""), "auth"]
        return digest(digest(self._options.user, REALM, self._options.password), *middle, digest(method, url))


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
