"""The headers that tell browsers how little this page needs; on every answer, refusals too. [P]"""

from multidict import CIMultiDict

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Video comes by WebRTC; nothing of the viewer's own machine is used.
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HSTS = "max-age=31536000"
"""A year, for this host alone (RFC 6797): not its subdomains, which may serve other things.

Not with a self-signed certificate: browsers then let nobody past their warning (section 12.1)."""


def add(headers: CIMultiDict[str], strict: bool) -> None:
    """Adds what is missing; `strict`: the answer goes out over TLS with a certificate that browsers trust."""
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
    if strict:
        headers.setdefault("Strict-Transport-Security", HSTS)
