"""RTSP requests, responses, interleaved frames and errors as data (RFC 2326 sections 4, 6, 7, 10.12).

RtspError            a camera broke RTSP, refused or did not answer; trying again may help
├── RtspRefusal      a lasting no: login, rights, path, codec (also a CameraRefusal)
├── TransportRefused this transport is refused, another may do
├── Redirected       the stream is elsewhere
└── LoginInterrupted the camera closed the connection after its 401; connect again with its challenge
"""

import re
from dataclasses import dataclass

from common.errors import CameraError, CameraRefusal
from common.urls import redact

VERSION = "RTSP/1.0"
MAX_SHOWN = 80
# Of a text that is to be shown; credentials may fill more than MAX_SHOWN.
_MAX_READ = 1024


class RtspError(CameraError):
    """A camera broke RTSP or refused a request; the message says what to do about it."""


class RtspRefusal(RtspError, CameraRefusal):
    """A camera says no for a reason that lasts; somebody has to mend it."""


class TransportRefused(RtspError):
    """A camera does not send by the transport that was asked for; `lasting`: nor will it the next time."""

    def __init__(self, message: str, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class Redirected(RtspError):
    """A camera says that the stream is at `location`, in its own words: credentials may be in there."""

    def __init__(self, message: str, location: str) -> None:
        super().__init__(message)
        self.location = location


class LoginInterrupted(RtspError):
    """A camera asked for a login and closed the connection; the session knows the challenge by now."""


@dataclass(frozen=True, slots=True)
class Headers:
    """Header fields in order; names compare without case (RFC 2326 section 4.2)."""

    fields: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """The first value of `name`, or None."""
        wanted = name.lower()
        return next((value for key, value in self.fields if key.lower() == wanted), None)

    def get_all(self, name: str) -> tuple[str, ...]:
        """Every value of `name`, in order."""
        wanted = name.lower()
        return tuple(value for key, value in self.fields if key.lower() == wanted)


@dataclass(frozen=True, slots=True)
class Request:
    """A request (section 6), ours or the camera's."""

    method: str
    uri: str
    headers: Headers = Headers()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """A response (section 7)."""

    status: int
    reason: str
    headers: Headers = Headers()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class InterleavedFrame:
    """Binary data inside the RTSP connection (section 10.12)."""

    channel: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class InterleavedFrames:
    """Frames of one channel that came one after the other: cheaper to pass on than one by one."""

    channel: int
    payloads: list[bytes]


RtspMessage = Request | Response | InterleavedFrames

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def shown(text: str) -> str:
    """Text of the camera as it may stand in an error: one line, short, without credentials."""
    cut = len(text) > _MAX_READ
    if cut:
        # What would end in a user part beyond the cut ends in one at the cut.
        text = text[:_MAX_READ] + "@"
    clean = _CONTROL.sub(" ", redact(text)).strip()
    return clean[: MAX_SHOWN - 1] + "…" if cut or len(clean) > MAX_SHOWN else clean


def _serialize(start: str, headers: Headers, body: bytes) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers.fields)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    for line in lines:
        # A line break from a URL or a camera's header would smuggle in a header of its own.
        if _CONTROL.search(line):
            raise RtspError(
                f"a control character would get into an RTSP request: {shown(line.split(':')[0])}"
            )
    return "\r\n".join([*lines, "", ""]).encode() + body


def serialize_request(request: Request) -> bytes:
    """The request as octets; raises RtspError when a control character is in its lines."""
    return _serialize(f"{request.method} {request.uri} {VERSION}", request.headers, request.body)


def serialize_response(response: Response) -> bytes:
    """The response as octets; raises RtspError when a control character is in its lines."""
    return _serialize(f"{VERSION} {response.status} {response.reason}", response.headers, response.body)


def serialize_interleaved(frame: InterleavedFrame) -> bytes:
    """The frame as octets: `$`, channel, length in 16 bits, payload (section 10.12)."""
    return b"$" + bytes((frame.channel,)) + len(frame.payload).to_bytes(2, "big") + frame.payload
