"""The session description of a camera: its video track and where to set it up (RFC 4566, RFC 2326 C.1)."""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from common.h264 import NAL_PPS, NAL_SPS
from common.urls import redact
from ingest.rtsp.messages import RtspError, shown

MAX_SDP_BYTES = 256 << 10
MAX_MEDIA = 64


@dataclass(frozen=True, slots=True)
class Format:
    """One payload type of a media section."""

    payload_type: int
    encoding: str | None = None
    "RTP encoding name in upper case, None without rtpmap."
    parameters: tuple[tuple[str, str], ...] = ()
    "fmtp, names in lower case."


@dataclass(frozen=True, slots=True)
class Media:
    """One `m=` section."""

    kind: str
    "`video`, `audio`, `application`, …"
    formats: tuple[Format, ...]
    control: str | None = None


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """What of SDP is needed to play."""

    control: str | None
    media: tuple[Media, ...]


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The H.264 track to set up."""

    setup_url: str
    play_url: str
    "Aggregate control URL of the session."
    payload_type: int
    parameter_sets: tuple[bytes, ...]
    "SPS and PPS of sprop-parameter-sets; empty when the camera gives none there."


_RTPMAP = re.compile(r"(\d{1,3})\s+([^/\s]+)/\S*\s*")
_FMTP = re.compile(r"(\d{1,3})\s+(.*)")


def _changed(media: Media, payload_type: str, change: Callable[[Format], Format]) -> Media:
    number = int(payload_type)
    return replace(
        media, formats=tuple(change(item) if item.payload_type == number else item for item in media.formats)
    )


def _with_rtpmap(encoding: str, item: Format) -> Format:
    return replace(item, encoding=encoding.upper())


def _with_fmtp(parameters: tuple[tuple[str, str], ...], item: Format) -> Format:
    return replace(item, parameters=parameters)


def _media_line(value: str) -> Media:
    parts = value.split()
    if len(parts) < 3:
        raise RtspError(f"camera describes a track by {shown(value)!r}, which is no SDP media line")
    numbers = (int(part) for part in parts[3:] if re.fullmatch(r"\d{1,3}", part))
    return Media(parts[0].lower(), tuple(Format(number) for number in numbers))


def _parameters(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (item.partition("=") for item in text.split(";"))
    return tuple((name.strip().lower(), value.strip()) for name, _, value in pairs if name.strip())


def parse_sdp(data: bytes) -> SessionDescription:
    """Reads a description; unknown lines are passed over. Raises RtspError."""
    if len(data) > MAX_SDP_BYTES:
        raise RtspError(f"camera describes itself in {len(data)} octets, at most {MAX_SDP_BYTES} are read")
    control: str | None = None
    media: list[Media] = []
    for line in data.decode("utf-8", "replace").splitlines():
        kind, equals, value = line.strip().partition("=")
        if not equals:
            continue
        if kind == "m":
            if len(media) == MAX_MEDIA:
                raise RtspError(f"camera describes more than {MAX_MEDIA} tracks")
            media.append(_media_line(value))
        elif kind == "a":
            name, _, text = value.partition(":")
            text = text.strip()
            if name == "control":
                if media:
                    media[-1] = replace(media[-1], control=text)
                else:
                    control = text
            elif name == "rtpmap" and media and (match := _RTPMAP.fullmatch(text)):
                media[-1] = _changed(media[-1], match[1], partial(_with_rtpmap, match[2]))
            elif name == "fmtp" and media and (match := _FMTP.fullmatch(text)):
                media[-1] = _changed(media[-1], match[1], partial(_with_fmtp, _parameters(match[2])))
    if not media:
        raise RtspError("camera's description holds no tracks; check the path of its URL")
    return SessionDescription(control, tuple(media))


def join_control(base: str, control: str | None) -> str:
    """The URL that a control attribute means.

    RFC 2326 C.1.1 wants RFC 1808 joining; cameras expect what live555 and FFmpeg do, the control appended to
    the base with one slash between, also behind a query.
    """
    if control is None or control in ("", "*"):
        return base
    if re.match(r"rtspu?://", control, re.IGNORECASE):
        return redact(control)
    if control.startswith("?"):
        return base + control
    return base.rstrip("/") + "/" + control.lstrip("/")


def parameter_sets(sprop: str) -> tuple[bytes, ...]:
    """SPS and PPS of `sprop-parameter-sets` (RFC 6184 section 8.1); what is not one is left out.

    Cameras are known to write empty entries, no base64 padding, or start codes in front.
    """
    found = []
    for item in sprop.split(","):
        try:
            nal = base64.b64decode(item.strip().rstrip("=") + "=" * (-len(item.strip().rstrip("=")) % 4))
        except (binascii.Error, ValueError):
            continue
        nal = re.sub(rb"^\x00*\x00\x00\x01", b"", nal)
        if len(nal) > 1 and nal[0] & 0x1F in (NAL_SPS, NAL_PPS):
            found.append(nal)
    return tuple(found)


def select_video(description: SessionDescription, base: str) -> VideoTrack:
    """The first H.264 track; raises RtspError naming what the camera has instead.

    `base` is Content-Base, Content-Location or the request's URL (RFC 2326 C.1.1).
    """
    seen: list[str] = []
    for media in description.media:
        if media.kind != "video":
            continue
        for item in media.formats:
            if item.encoding != "H264":
                seen.append(item.encoding or f"payload type {item.payload_type}")
                continue
            parameters = dict(item.parameters)
            if parameters.get("packetization-mode", "0") not in ("0", "1", ""):
                raise RtspError(
                    "camera sends H.264 in packetization mode "
                    f"{shown(parameters['packetization-mode'])}, only 0 and 1 are read"
                )
            return VideoTrack(
                setup_url=join_control(base, media.control),
                play_url=join_control(base, description.control),
                payload_type=item.payload_type,
                parameter_sets=parameter_sets(parameters.get("sprop-parameter-sets", "")),
            )
    if seen:
        raise RtspError(f"camera sends its video as {shown(', '.join(seen))}; set it to H.264")
    kinds = shown(", ".join(media.kind for media in description.media))
    raise RtspError(f"camera has no video track, only {kinds}; check the path of its URL")
