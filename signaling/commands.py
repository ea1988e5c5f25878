"""The viewer's messages on the WebSocket as frozen data; reading them raises Problem. [P]

    {"type": "offer", "id": any, "camera": "front", "sdp": "v=0…", "replaces": "…", "quality": "sub"}
    {"type": "attach", "id": any, "session": "…"}
    {"type": "candidate", "id": any, "session": "…", "candidate": "SDP fragment" or RTCIceCandidateInit}
    {"type": "select", "id": any, "session": "…", "quality": "auto", "main", "sub" or "keyframes"}
    {"type": "close", "id": any, "session": "…"}
    {"type": "diagnose", "id": any, "session": "…"}     or "camera": "front", where there is no session
    {"type": "time", "id": any}

`replaces`, optional, names the session that the viewer leaves once the new one plays; `quality`, optional, is
what the session begins with, as in `select`. `id`, a short string or integer, is optional and comes back with
the answer or error.
"""

import json
from dataclasses import dataclass

from common.messages import QUALITIES, Quality
from signaling import fragment
from signaling.problems import Problem

# An SDP of the largest size, escaped, and the rest.
MAX_MESSAGE_CHARS = fragment.MAX_SDP_BYTES + (16 << 10)
MAX_ID_CHARS = 64
MAX_NAME_CHARS = 128

RequestId = str | int


@dataclass(frozen=True, slots=True)
class Offer:
    """Open a session."""

    camera: str
    sdp: str
    replaces: str | None = None
    quality: Quality = "auto"


@dataclass(frozen=True, slots=True)
class Attach:
    """Take a session over that an earlier socket opened."""

    session: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trickled candidate."""

    session: str
    sdp_fragment: str


@dataclass(frozen=True, slots=True)
class Select:
    """What the viewer wants to be given."""

    session: str
    quality: Quality


@dataclass(frozen=True, slots=True)
class Close:
    """End a session."""

    session: str


@dataclass(frozen=True, slots=True)
class Diagnose:
    """How everything between the camera and this viewer is."""

    session: str


@dataclass(frozen=True, slots=True)
class DiagnoseCamera:
    """How the camera is, where no session could be made."""

    camera: str


@dataclass(frozen=True, slots=True)
class Time:
    """What the server's clock says."""


Command = Offer | Attach | Candidate | Select | Close | Diagnose | DiagnoseCamera | Time


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an answer or error refers to, as far as it could be read."""

    id: RequestId | None = None
    session: str | None = None


def parse_object(text: str) -> dict[str, object]:
    """The JSON object in a message; raises Problem 400 or 413."""
    if len(text) > MAX_MESSAGE_CHARS:
        raise Problem(413, f"the message has {len(text)} characters, at most {MAX_MESSAGE_CHARS} are read")
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(400, "the message is not JSON") from None
    if not isinstance(content, dict):
        raise Problem(400, "the message is not a JSON object")
    return content


def envelope(content: dict[str, object]) -> Envelope:
    """What to say the answer refers to; leaves out what is malformed."""
    request_id, session = content.get("id"), content.get("session")
    fits = (isinstance(request_id, str) and len(request_id) <= MAX_ID_CHARS) or (
        type(request_id) is int and abs(request_id) < 1 << 53  # what JavaScript can hold
    )
    return Envelope(
        id=request_id if fits and isinstance(request_id, str | int) else None,
        session=session if isinstance(session, str) and len(session) <= MAX_NAME_CHARS else None,
    )


def _text(content: dict[str, object], key: str, limit: int = MAX_NAME_CHARS) -> str:
    value = content.get(key)
    if not isinstance(value, str) or len(value) > limit:
        raise Problem(400, f"`{key}` must be a string of at most {limit} characters")
    return value


def _optional_text(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Problem(400, f"`candidate.{name}` must be a string")
    return value


def _quality(value: object) -> Quality:
    for quality in QUALITIES:
        if value == quality:
            return quality
    raise Problem(400, f"`quality` must be one of {', '.join(QUALITIES)}")


def parse(content: dict[str, object]) -> Command:
    """The command in a JSON object; raises Problem 400 or 413."""
    match content.get("type"):
        case "offer":
            sdp = _text(content, "sdp", MAX_MESSAGE_CHARS)
            fragment.check_offer(sdp)
            replaces = _text(content, "replaces") if content.get("replaces") is not None else None
            wished = content.get("quality")
            quality = _quality(wished) if wished is not None else "auto"
            return Offer(_text(content, "camera"), sdp, replaces, quality)
        case "attach":
            return Attach(_text(content, "session"))
        case "candidate":
            return Candidate(_text(content, "session"), _fragment(content.get("candidate")))
        case "select":
            return Select(_text(content, "session"), _quality(content.get("quality")))
        case "close":
            return Close(_text(content, "session"))
        case "diagnose" if content.get("session") is not None:
            return Diagnose(_text(content, "session"))
        case "diagnose":
            return DiagnoseCamera(_text(content, "camera"))
        case "time":
            return Time()
        case _:
            raise Problem(400, "`type` must be offer, attach, candidate, select, close, diagnose or time")


def _fragment(candidate: object) -> str:
    match candidate:
        case str():
            fragment.check_fragment(candidate)
            return candidate
        case {"candidate": str(line), **rest}:
            return fragment.from_candidate(
                line,
                _optional_text(rest.get("sdpMid"), "sdpMid"),
                _optional_text(rest.get("usernameFragment"), "usernameFragment"),
            )
        case _:
            raise Problem(400, "`candidate` must be an SDP fragment or an RTCIceCandidateInit")
