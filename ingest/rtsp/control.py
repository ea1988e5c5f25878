"""Control URLs: what a camera's Content-Base and `a=control` mean on the wire (RFC 2326 C.1.1)."""

import re

from ingest.rtsp.messages import Headers
from ingest.rtsp.quirks import BASE_WITHOUT_SCHEME, INSIDE_ADDRESS, Quirks

_ABSOLUTE = re.compile(r"(rtsp[su]?://)([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_WITHOUT_SCHEME = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\])(?::\d{1,5})?/", re.IGNORECASE)


def _host(authority: str) -> str:
    return re.sub(r":\d*$", "", authority.rpartition("@")[2]).lower()


def names_other_host(dialled: str, url: str) -> bool:
    """True when `url` is absolute and not on the host of `dialled`."""
    ours, theirs = _ABSOLUTE.match(dialled), _ABSOLUTE.match(url)
    return ours is not None and theirs is not None and _host(ours[2]) != _host(theirs[2])


def _rehosted(dialled: str, url: str) -> str:
    """The absolute `url` on the host that was dialled, without credentials; `dialled` if it is not absolute.

    A camera behind NAT or in a container says an address that is good inside only.
    """
    ours, theirs = _ABSOLUTE.match(dialled), _ABSOLUTE.match(url)
    if ours is None or theirs is None:
        return dialled
    return ours[1] + ours[2] + theirs[3]


def _clean(text: str) -> str:
    """As it can stand in a request line: nothing after a space or control character."""
    return re.split(r"[\x00-\x20\x7f]", text.strip(), maxsplit=1)[0]


def base_url(dialled: str, headers: Headers, quirks: Quirks) -> str:
    """What control URLs are relative to; `dialled` is the URL of DESCRIBE, `headers` are of its answer.

    Cameras are known to leave it out, or empty, or to give a path alone: the dialled URL is it then.
    """
    base = _clean(headers.get("Content-Base") or headers.get("Content-Location") or "")
    if _WITHOUT_SCHEME.match(base):
        quirks.note(BASE_WITHOUT_SCHEME)
        base = f"rtsp://{base}"
    if names_other_host(dialled, base):
        quirks.note(INSIDE_ADDRESS)
    return _rehosted(dialled, base)


def join_control(base: str, control: str | None) -> str:
    """The URL that a control attribute means.

    RFC 2326 C.1.1 wants RFC 1808 joining; cameras expect what live555 and FFmpeg do, the control appended to
    the base with one slash between, also behind a query.
    """
    control = _clean(control or "")
    if control in ("", "*"):
        return base
    if _ABSOLUTE.match(control):
        return _rehosted(base, control)
    if control.startswith("?"):
        return base + control
    return base.rstrip("/") + "/" + control.lstrip("/")
