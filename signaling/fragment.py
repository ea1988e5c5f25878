"""ICE credentials and candidates in SDP text and SDP fragments (RFC 8839, RFC 8840 section 4.4). [P]"""

import re

from signaling.problems import Problem

MAX_SDP_BYTES = 64 << 10
MAX_CANDIDATE_CHARS = 1024

_UFRAG = re.compile(r"^a=ice-ufrag:([A-Za-z0-9+/]{4,256})\s*$", re.MULTILINE)
_LINE = re.compile(r"[a-z]=[^\r\n\0]+")
_CANDIDATE = re.compile(r"candidate:[^\r\n\0]+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]{1,64}")  # RFC 8866 section 9, token


def ice_ufrag(text: str) -> str | None:
    """The first ice-ufrag in SDP text; with BUNDLE all are the same."""
    found = _UFRAG.search(text)
    return found.group(1) if found else None


def check_offer(text: str) -> None:
    """Raises Problem 400 or 413 for what is plainly no SDP; the worker reads the rest."""
    _check_text(text)
    if not text.startswith(("v=0\r\n", "v=0\n")):
        raise Problem(400, "the body is not SDP: it does not start with `v=0`")


def check_fragment(text: str) -> None:
    """Raises Problem 400 or 413 unless every line looks like SDP."""
    _check_text(text)
    lines = text.splitlines()
    if not lines or not all(_LINE.fullmatch(line) for line in lines):
        raise Problem(
            400, "the body is not an SDP fragment: lines of `a=…` and `m=…` belong there (RFC 8840)"
        )


def _check_text(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Problem(400, "the SDP holds half a surrogate pair, which is no text") from None
    if size > MAX_SDP_BYTES:
        raise Problem(413, f"the SDP has {size} octets, at most {MAX_SDP_BYTES} are read")


def from_candidate(candidate: str, mid: str | None, ufrag: str | None) -> str:
    """One candidate of a browser (RTCIceCandidateInit) as an SDP fragment; raises Problem 400.

    The empty candidate means end of candidates.
    """
    if candidate and (len(candidate) > MAX_CANDIDATE_CHARS or not _CANDIDATE.fullmatch(candidate)):
        raise Problem(400, "`candidate.candidate` is not a line that starts with `candidate:`")
    if mid is not None and not _TOKEN.fullmatch(mid):
        raise Problem(400, "`candidate.sdpMid` is not a token")
    lines = ["m=video 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid or '0'}"]
    if ufrag is not None:
        lines.append(f"a=ice-ufrag:{ufrag}")
        if not _UFRAG.match(lines[-1]):
            raise Problem(400, "`candidate.usernameFragment` is not an ice-ufrag")
    lines.append(f"a={candidate}" if candidate else "a=end-of-candidates")
    fragment = "\r\n".join(lines) + "\r\n"
    check_fragment(fragment)
    return fragment
