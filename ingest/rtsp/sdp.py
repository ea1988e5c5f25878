"""The session description of a camera and the tracks in it that are played (RFC 4566, RFC 2326 C.1)."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from itertools import islice
from typing import Literal

from ingest.rtsp.control import join_control
from ingest.rtsp.messages import RtspError, RtspRefusal, shown
from ingest.rtsp.quirks import BARE_DESCRIPTION, PAYLOAD_TYPE_IN_WORDS, STATIC_TYPE_REMAPPED, Quirks

MAX_SDP_BYTES = 64 << 10
# Parameter sets of H.265 make the longest lines that are read, some hundred octets; but for SEI in sprop-sei.
MAX_LINE_CHARACTERS = 16 << 10
MAX_MEDIA = 64
# fmtp, of one payload type; the most that is known is 12, of AAC.
MAX_PARAMETERS = 64


@dataclass(frozen=True, slots=True)
class Format:
    """One payload type of a media section."""

    payload_type: int
    encoding: str | None = None
    "RTP encoding name in upper case, None when neither rtpmap nor RFC 3551 says it."
    clock_rate: int = 0
    "0 when nobody says it."
    channels: int = 0
    parameters: tuple[tuple[str, str], ...] = ()
    "fmtp, names in lower case."


# Static payload types (RFC 3551 section 6), those that cameras use. G722 runs at 16 kHz with a clock of
# 8 kHz, by an old mistake that RFC 3551 section 4.5.2 keeps.
STATIC_FORMATS = {
    item.payload_type: item
    for item in (
        Format(0, "PCMU", 8000, 1),
        Format(8, "PCMA", 8000, 1),
        Format(9, "G722", 8000, 1),
        Format(10, "L16", 44_100, 2),
        Format(11, "L16", 44_100, 1),
        Format(26, "JPEG", 90_000),
    )
}


@dataclass(slots=True)
class Media:
    """One `m=` section."""

    kind: str
    "`video`, `audio`, `application`, …"
    port: int
    formats: dict[int, Format] = field(default_factory=dict)
    control: str | None = None
    address: str | None = None
    framesize: str | None = None
    sendonly: bool = False


@dataclass(slots=True)
class SessionDescription:
    """What of SDP is needed to play."""

    control: str | None = None
    address: str | None = None
    media: list[Media] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Track:
    """One track that this program reads, and where to set it up."""

    kind: Literal["video", "audio"]
    encoding: str
    "RTP encoding name in upper case: H264, H265, JPEG, MPEG4-GENERIC, MP4A-LATM, OPUS, PCMA, G722, …"
    payload_type: int
    clock_rate: int
    "Ticks per second of RTP timestamps."
    channels: int
    "Of audio; 0 for video."
    parameters: tuple[tuple[str, str], ...]
    """fmtp, names in lower case; and `framesize`, pixels as `1920-1080` (RFC 6064 section 6.2), where the
    camera gives the size of the picture by an attribute of the media section: framesize or x-dimensions."""
    setup_url: str
    address: str | None = None
    "Of the connection line that holds for it (a multicast group), None when it is 0.0.0.0 or ::."
    port: int = 0
    "Of the media line; 0 leaves it to SETUP."


_RTPMAP = re.compile(r"(\d{1,3})\s+([^/\s]+)(?:/(\d{1,9}))?(?:/(\d{1,3}))?")
_FMTP = re.compile(r"(\d{1,3})\s+(.*)")
_SIZE = re.compile(r"(?:\d{1,3}\s+)?(\d{1,5})\s*[-,x]\s*(\d{1,5})")


def _media_line(value: str, quirks: Quirks) -> Media:
    parts = value.split()
    if len(parts) < 3:
        raise RtspError(f"camera describes a track by {shown(value)!r}, which is no SDP media line")
    numbers = [int(part) for part in parts[3:] if re.fullmatch(r"\d{1,3}", part) and int(part) < 128]
    if len(numbers) < len(parts) - 3:
        quirks.note(PAYLOAD_TYPE_IN_WORDS)
    port = re.fullmatch(r"(\d{1,5})(?:/\d+)?", parts[1])
    return Media(
        kind=parts[0].lower(),
        port=int(port[1]) if port and int(port[1]) < 65_535 else 0,
        formats={number: STATIC_FORMATS.get(number, Format(number)) for number in numbers},
    )


def _connection(value: str) -> str | None:
    """The address of a `c=` line without its TTL (RFC 4566 section 5.7)."""
    try:
        address = ip_address(value.split()[-1].partition("/")[0])
    except (ValueError, IndexError):
        return None
    return None if address.is_unspecified else str(address)


def _media_attribute(media: Media, name: str, text: str, quirks: Quirks) -> None:
    if name == "control":
        media.control = text
    elif name == "sendonly":
        media.sendonly = True
    elif name == "rtpmap" and (match := _RTPMAP.match(text)) and int(match[1]) in media.formats:
        number, encoding = int(match[1]), match[2].upper()
        if number in STATIC_FORMATS and encoding != STATIC_FORMATS[number].encoding:
            quirks.note(STATIC_TYPE_REMAPPED)
        media.formats[number] = replace(
            media.formats[number],
            encoding=encoding,
            clock_rate=int(match[3] or 0),
            channels=int(match[4] or 1),
        )
    elif name == "fmtp" and (match := _FMTP.fullmatch(text)) and int(match[1]) in media.formats:
        item = media.formats[int(match[1])]
        pairs = (item.partition("=") for item in match[2].split(";"))
        added = ((key.strip().lower(), value.strip()) for key, _, value in pairs if key.strip())
        room = MAX_PARAMETERS - len(item.parameters)
        media.formats[int(match[1])] = replace(item, parameters=(*item.parameters, *islice(added, room)))
    elif name in ("framesize", "x-dimensions") and (match := _SIZE.fullmatch(text)):
        media.framesize = f"{int(match[1])}-{int(match[2])}"


def parse_sdp(data: bytes, quirks: Quirks | None = None) -> SessionDescription:
    """Reads a description; unknown lines and endless ones are passed over, `v=` and `o=` not missed.

    Raises RtspError.
    """
    quirks = quirks if quirks is not None else Quirks()
    if len(data) > MAX_SDP_BYTES:
        raise RtspError(f"camera describes itself in {len(data)} octets, at most {MAX_SDP_BYTES} are read")
    description = SessionDescription()
    seen = set()
    for line in re.split(r"[\r\n]+", data.decode("utf-8", "replace")):
        kind, equals, value = line.strip().partition("=")
        if not equals or len(value) > MAX_LINE_CHARACTERS:
            continue
        seen.add(kind)
        media = description.media[-1] if description.media else None
        if kind == "m":
            if len(description.media) == MAX_MEDIA:
                raise RtspError(f"camera describes more than {MAX_MEDIA} tracks")
            description.media.append(_media_line(value, quirks))
        elif kind == "c":
            (media or description).address = _connection(value)
        elif kind == "a":
            name, _, text = value.partition(":")
            name, text = name.strip().lower(), text.strip()
            if media is not None:
                _media_attribute(media, name, text, quirks)
            elif name == "control":
                description.control = text
    if not description.media:
        raise RtspError("camera's description holds no tracks; check the path of its URL")
    if not seen >= {"v", "o"}:
        quirks.note(BARE_DESCRIPTION)
    return description


def _tracks(description: SessionDescription, base: str, kind: Literal["video", "audio"]) -> Iterator[Track]:
    """Every payload type of every track of a kind, in the camera's order."""
    for media in description.media:
        if media.kind != kind:
            continue
        size = (("framesize", media.framesize),) if media.framesize else ()
        setup_url = join_control(base, media.control)
        for item in media.formats.values():
            yield Track(
                kind=kind,
                encoding=item.encoding or f"payload type {item.payload_type}",
                payload_type=item.payload_type,
                clock_rate=item.clock_rate or (90_000 if kind == "video" else 8000),
                channels=0 if kind == "video" else item.channels or 1,
                parameters=item.parameters + size,
                setup_url=setup_url,
                address=media.address or description.address,
                port=media.port,
            )


def _without_backchannels(description: SessionDescription) -> SessionDescription:
    """Without audio that we would have to send (ONVIF Streaming Specification section 5.3).

    Where the camera calls its video `sendonly`, too, it means its own point of view.
    """
    if any(media.sendonly for media in description.media if media.kind == "video"):
        return description
    kept = [media for media in description.media if media.kind == "video" or not media.sendonly]
    return replace(description, media=kept)


def audio_tracks(description: SessionDescription, base: str) -> tuple[Track, ...]:
    """The audio that the camera has to send, readable or not."""
    return tuple(_tracks(_without_backchannels(description), base, "audio"))


def select_tracks(
    description: SessionDescription, base: str, audio: bool, problem_with: Callable[[Track], str | None]
) -> tuple[Track, ...]:
    """The first readable video track, then the first readable audio track where `audio` is wanted.

    `base` is what control URLs are relative to; `problem_with` says why a track is not readable, None when
    it is. Raises RtspRefusal with the first problem when no video track is readable.
    """
    videos = tuple(_tracks(description, base, "video"))
    if not videos:
        kinds = shown(", ".join(dict.fromkeys(media.kind for media in description.media)))
        raise RtspRefusal(f"camera has no video track, only {kinds}; check the path of its URL")
    problems = [problem_with(track) for track in videos]
    if None not in problems:
        raise RtspRefusal(problems[0])
    chosen = [videos[problems.index(None)]]
    if audio:
        chosen += [track for track in audio_tracks(description, base) if problem_with(track) is None][:1]
    return tuple(chosen)
