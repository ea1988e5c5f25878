"""The headers that tell browsers how little this page needs; on every answer, refusals too. [P]"""

from collections.abc import Sequence

from multidict import CIMultiDict

_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors "
HEADERS = {
    "Content-Security-Policy": f"{_POLICY}'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Video comes by WebRTC; nothing of the viewer's own machine is used.
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
FOR_ALL_SITES = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
"Of a module that pages of every origin may load; it says nothing of this system."
HSTS = "max-age=31536000"
"""A year, for this host alone (RFC 6797): not its subdomains, which may serve other things.

Not with a self-signed certificate: browsers then let nobody past their warning (section 12.1)."""


def policy(origins: Sequence[str]) -> str:
    """The policy of a page that pages of this server and of `origins` may show in a frame."""
    return _POLICY + " ".join(["'self'", *origins])


def add(headers: CIMultiDict[str], strict: bool) -> None:
    """Adds what is missing; `strict`: the answer goes out over TLS with a certificate that browsers trust.

    X-Frame-Options knows no list of origins, so what has a policy of its own goes without.
    """
    framed = "Content-Security-Policy" in headers
    for name, value in HEADERS.items():
        if not (framed and name == "X-Frame-Options"):
            headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
    if strict:
        headers.setdefault("Strict-Transport-Security", HSTS)
