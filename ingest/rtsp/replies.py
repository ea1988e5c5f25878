"""What a camera's answer means: errors by status (RFC 2326 section 11), CSeq and Session."""

import re

from ingest.rtsp.messages import (
    Headers,
    Redirected,
    Response,
    RtspError,
    RtspRefusal,
    TransportRefused,
    shown,
)

_REDIRECTS = frozenset({301, 302, 303, 305, 307, 308})
# Cameras have many ways to say that they do not send like this; 461 is the right one. With all but these two
# they also say other things, for a while: that they boot, or are busy.
_NEVER_LIKE_THIS = frozenset({406, 461})
_NOT_LIKE_THIS = _NEVER_LIKE_THIS | {400, 451, 462, 500, 501, 551}
# A PLAY that may be accepted for another spelling of the URL.
OTHER_URL_MAY_DO = frozenset({400, 404, 405, 451, 455, 457, 459, 460})
_LASTING = {
    403: "the user may not watch; check its rights in the camera",
    404: "it has no stream at {where}; check the path",
    410: "the stream at {where} is gone; check the path",
}
_PASSING = {
    453: "it has no bandwidth left; close other viewers of the camera",
    454: "it has forgotten the session",
    503: "it has too many connections; close other viewers of the camera",
}


def is_success(response: Response) -> bool:
    """2xx."""
    return 200 <= response.status < 300


def refusal(method: str, response: Response, where: str, via: str) -> RtspError:
    """The error for an answer that is no success.

    `where` is the stream's URL without credentials, `via` the name of the transport that was asked for.
    """
    said = f"camera answers {method} with {f'{response.status} {shown(response.reason)}'.strip()}"
    if response.status in _REDIRECTS:
        return redirect(said, response.headers)
    if response.status in _LASTING:
        return RtspRefusal(f"{said}: {_LASTING[response.status].format(where=where)}")
    if method == "SETUP" and response.status in _NOT_LIKE_THIS:
        lasting = response.status in _NEVER_LIKE_THIS
        return TransportRefused(f"{said}: it does not send over {via}", lasting)
    hint = _PASSING.get(response.status)
    return RtspError(f"{said}: {hint}" if hint else said)


def redirect(said: str, headers: Headers) -> RtspError:
    """The error for an answer, or a REDIRECT, with a Location."""
    location = headers.get("Location")
    if not location:
        return RtspError(f"{said}, and does not say where the stream is")
    return Redirected(f"{said}: the stream is elsewhere", location)


def session_header(headers: Headers) -> tuple[str | None, int | None]:
    """Session id and timeout in seconds, each None where the camera does not say it."""
    session_id, _, parameters = (headers.get("Session") or "").partition(";")
    timeout = re.search(r"timeout\s*=\s*(\d{1,6})", parameters, re.IGNORECASE)
    return session_id.strip() or None, int(timeout[1]) if timeout else None


def cseq(headers: Headers) -> int | None:
    """The number that ties an answer to its request (section 12.17); None without or with another text."""
    text = (headers.get("CSeq") or "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None
