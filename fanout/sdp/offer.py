"""SDP offers of viewers (RFC 8829, 8866): what of a camera they can be sent, and how."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import ViewerError
from common.messages import Rendition, RenditionFormat, VideoReport
from fanout.egress import Extensions
from fanout.ice.session import RemoteIce
from fanout.sdp.formats import (
    AUDIO_CODECS,
    VIDEO_CODECS,
    Format,
    OfferedFormat,
    choose_audio,
    choose_video,
    is_passed_through,
    offered_feedback,
    offered_formats,
)
from fanout.sdp.reader import BadOffer, Description, Media, read, token

__all__ = ["BadOffer", "NotAcceptable", "MediaChoice", "Offer", "Section", "parse_offer"]

MAX_CANDIDATES = 64
MAX_CANDIDATE_BYTES = 512
MAX_FINGERPRINTS = 8
EXTENSIONS = {
    "transport_sequence": "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "capture_time": "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    "playout_delay": "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
}
"URIs of the header extensions, by their fields of Extensions."

TRANSPORT_CC = "transport-cc"
REMB = "goog-remb"
VIDEO_FEEDBACK = ("nack", "nack pli", "ccm fir")
_EXTMAP = re.compile(r"([0-9]{1,5})(?:/([a-z]{1,8}))? +(\S{1,256})(?: .*)?")
_MAX_ONE_BYTE_ID = 14  # RFC 8285 section 4.2
_RTPMAP = re.compile(r"[A-Za-z0-9._-]{1,64}/[0-9]{1,6}(/[0-9]{1,2})?")
_FINGERPRINT = re.compile(r"([A-Za-z0-9-]{1,16}) +([0-9A-Fa-f:]{2,200})")
_CANDIDATE = re.compile(r"[!-~ ]+")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_RECEIVING = ("recvonly", "sendrecv")


class NotAcceptable(ViewerError):
    """A readable offer that holds nothing this server can serve."""


@dataclass(frozen=True, slots=True)
class Section:
    """One m-section of an offer, as far as every answer repeats it."""

    kind: str
    mid: str
    protocol: str
    formats: tuple[str, ...]
    rtpmap: str | None
    "Encoding of the first format: `opus/48000/2`."


@dataclass(frozen=True, slots=True)
class MediaChoice:
    """What one section will be sent."""

    section: int
    "Its index in the offer."
    formats: tuple[Format, ...]
    "The format of the main stream first."
    feedback: frozenset[str]
    "RTCP feedback that is accepted for every format: `nack`, `nack pli`, `ccm fir`, …"
    extensions: Extensions


@dataclass(frozen=True, slots=True)
class Offer:
    """What the answer and the session need of an offer."""

    sections: tuple[Section, ...]
    video: MediaChoice
    audio: MediaChoice | None
    "None: nothing that the camera sends, or not in the bundle of the video."
    renditions: tuple[Rendition, ...]
    "The streams whose video fits `video.formats`, main first; those not known yet included."
    bundle: bool
    "The video is in a BUNDLE group (RFC 9143)."
    transport: int
    "Index of the section whose transport is used: the first of the bundle, else the video."
    ice: RemoteIce
    fingerprints: tuple[tuple[str, str], ...]


def _receives(description: Description, media: Media) -> bool:
    """Whether the viewer wants media in a section."""
    # A section with port 0 is not offered, unless it is bundle-only (RFC 9143 section 6).
    if media.port == 0 and media.attributes.first("bundle-only") is None:
        return False
    names = (name for name, _ in (*media.attributes.lines, *description.session.lines))
    return next((name for name in names if name in _DIRECTIONS), "sendrecv") in _RECEIVING


def _section(media: Media) -> Section:
    first = media.formats[0]
    values = (value.partition(" ") for value in media.attributes.all("rtpmap"))
    rtpmap = next((encoding for number, _, encoding in values if number == first), None)
    return Section(
        kind=media.kind,
        mid=token(media.attributes.first("mid"), "a=mid"),
        protocol=media.protocol,
        formats=media.formats,
        rtpmap=rtpmap if rtpmap is not None and _RTPMAP.fullmatch(rtpmap) else None,
    )


def _bundle_of(description: Description, mid: str) -> tuple[str, ...]:
    for group in description.session.all("group"):
        semantics, *mids = group.split() or ("",)
        if semantics == "BUNDLE" and mid in mids:
            return tuple(mids)
    return ()


def _transport_of(description: Description, mids: list[str], bundle: tuple[str, ...], video: int) -> int:
    """The bundle's first section has the transport (RFC 9143 section 7.2), unless it is not taken at all."""
    for index, media in enumerate(description.media):
        if bundle[:1] == (mids[index],) and media.kind in ("audio", "video") and media.port:
            return index
    return video


def _extensions(media: Media) -> dict[str, int]:
    """Fields of Extensions and the ids that a section offers for them, where this end may send them."""
    uses: dict[int, set[str]] = {}
    for value in media.attributes.all("extmap"):
        match = _EXTMAP.fullmatch(value)
        # The direction is the viewer's (RFC 8285 section 6).
        if match and match[2] in (None, *_RECEIVING) and 1 <= int(match[1]) <= _MAX_ONE_BYTE_ID:
            uses.setdefault(int(match[1]), set()).add(match[3])
    # An id with two meanings has none.
    ids = {uri: number for number, uris in uses.items() if len(uris) == 1 for uri in uris}
    return {field: ids[uri] for field, uri in EXTENSIONS.items() if uri in ids}


def _video_formats(
    offered: list[OfferedFormat], renditions: Iterable[RenditionFormat]
) -> tuple[dict[str, Format], list[Rendition]]:
    """Formats by codec for as many of the renditions as one format of each codec can carry, main first."""
    formats: dict[str, Format] = {}
    carried: dict[str, list[VideoReport | None]] = {}
    names: list[Rendition] = []
    for rendition in renditions:
        video = rendition.video
        for codec in VIDEO_CODECS if video is None else (video.codec,):
            if codec not in VIDEO_CODECS:
                continue
            streams = [*carried.get(codec, []), video]
            found = choose_video(offered, codec, streams)
            if found is not None:
                formats[codec], carried[codec] = found, streams
                if rendition.name not in names:
                    names.append(rendition.name)
    return formats, names


def _audio_formats(offered: list[OfferedFormat], renditions: Iterable[RenditionFormat]) -> list[Format]:
    """Formats for the audio of all renditions, that of main first; none where it cannot be passed on."""
    wanted: dict[str, bool] = {}
    for rendition in renditions:
        audio = rendition.audio
        if rendition.video is None:
            wanted |= {codec: wanted.get(codec, False) for codec in AUDIO_CODECS}
        elif audio is not None and is_passed_through(audio):
            wanted[audio.codec] = wanted.get(audio.codec, False) or audio.channels == 2
    found = (choose_audio(offered, codec, stereo) for codec, stereo in wanted.items())
    return [entry for entry in found if entry is not None]


def _refusal(renditions: Iterable[RenditionFormat]) -> str:
    """Why no video section fits, and what to do."""
    videos = [rendition.video for rendition in renditions if rendition.video is not None]
    given = [video for video in videos if video.codec in VIDEO_CODECS]
    names = " and ".join(dict.fromkeys(" ".join(filter(None, (v.codec, v.profile))) for v in given or videos))
    if not given and names:
        return (
            f"the camera sends {names}; only {' and '.join(VIDEO_CODECS)} are given to browsers: set the "
            f"camera to H264, or name a stream of it that is H264 as its url"
        )
    if not given or any(video.codec == "H264" for video in given):
        return (
            "the offer has no H.264 with packetization-mode=1, which cameras send: use a browser that plays "
            "H.264; Firefox does once it has fetched OpenH264"
        )
    return (
        f"the camera sends {names} and the offer has no format that plays it: set the camera to H264, name "
        f"a stream of it that is H264 as its url or sub, or use a browser that plays {names}"
    )


def parse_offer(sdp: str, renditions: tuple[RenditionFormat, ...]) -> Offer:
    """Reads an offer for a camera that has these renditions, main first.

    Raises BadOffer when it is not SDP for WebRTC, NotAcceptable when it has no video section that can
    receive what a rendition sends.
    """
    description = read(sdp)
    if not any(media.kind == "video" for media in description.media):
        raise NotAcceptable("the offer has no video section; add a video transceiver that receives")
    receiving = [
        index
        for index, media in enumerate(description.media)
        if media.kind == "video" and _receives(description, media)
    ]
    if not receiving:
        raise NotAcceptable("the offer's video sections only send; one must be recvonly or sendrecv")
    for index in receiving:
        formats, names = _video_formats(offered_formats(description.media[index]), renditions)
        if formats:
            return _accept(description, index, tuple(formats.values()), tuple(names), renditions)
    raise NotAcceptable(_refusal(renditions))


def _accept(
    description: Description,
    index: int,
    formats: tuple[Format, ...],
    names: tuple[Rendition, ...],
    renditions: tuple[RenditionFormat, ...],
) -> Offer:
    media = description.media[index]
    sections = tuple(map(_section, description.media))
    mids = [section.mid for section in sections]
    if len(set(mids)) < len(mids):
        raise BadOffer("the offer has two sections of the same a=mid")
    bundle = _bundle_of(description, mids[index])
    transport = _transport_of(description, mids, bundle, index)
    # Browsers repeat the transport in each section of a bundle; others leave it to the first one.
    shared = description.media[transport]
    owner = shared if description.attribute(shared, "ice-ufrag") is not None else media
    video = _video_choice(index, media, formats)
    return Offer(
        sections=sections,
        video=video,
        audio=_audio_choice(description, mids, bundle, renditions, video.extensions.transport_sequence),
        renditions=names,
        bundle=bool(bundle),
        transport=transport,
        ice=_remote_ice(description, owner, (shared, media)),
        fingerprints=_fingerprints(description, owner),
    )


def _video_choice(index: int, media: Media, formats: tuple[Format, ...]) -> MediaChoice:
    offered = offered_feedback(media, formats)
    feedback = {name for name in VIDEO_FEEDBACK if name in offered}
    ids = _extensions(media)
    # A plain retransmission repeats its packet octet for octet (the same AES-GCM index, RFC 7714 section
    # 8.1), so that a transport sequence of its own needs RTX.
    has_rtx = all(entry.rtx_payload_type is not None for entry in formats)
    if has_rtx and TRANSPORT_CC in offered and "transport_sequence" in ids:
        feedback.add(TRANSPORT_CC)
    else:
        ids.pop("transport_sequence", None)
        feedback |= {REMB} & offered
    return MediaChoice(index, formats, frozenset(feedback), Extensions(**ids))


def _audio_choice(
    description: Description,
    mids: list[str],
    bundle: tuple[str, ...],
    renditions: tuple[RenditionFormat, ...],
    transport_sequence: int,
) -> MediaChoice | None:
    """The first audio section of the bundle that takes what the camera sends; there is one transport only."""
    for index, media in enumerate(description.media):
        if media.kind != "audio" or mids[index] not in bundle or not _receives(description, media):
            continue
        formats = tuple(_audio_formats(offered_formats(media), renditions))
        if not formats:
            continue
        feedback = offered_feedback(media, formats) & {TRANSPORT_CC}
        # An extension has one id over a bundle (RFC 9143 section 9), and one log counts both streams.
        if not transport_sequence or _extensions(media).get("transport_sequence") != transport_sequence:
            feedback = frozenset()
        extensions = Extensions(transport_sequence=transport_sequence if feedback else 0)
        return MediaChoice(index, formats, feedback, extensions)
    return None


def _remote_ice(description: Description, owner: Media, sections: Iterable[Media]) -> RemoteIce:
    ufrag = token(description.attribute(owner, "ice-ufrag"), "a=ice-ufrag")
    password = token(description.attribute(owner, "ice-pwd"), "a=ice-pwd")
    lines = dict.fromkeys(
        f"candidate:{value}"
        for media in sections
        for value in media.attributes.all("candidate")
        if len(value) <= MAX_CANDIDATE_BYTES and _CANDIDATE.fullmatch(value)
    )
    if len(lines) > MAX_CANDIDATES:
        raise BadOffer(f"the offer has {len(lines)} candidates, at most {MAX_CANDIDATES} are read")
    return RemoteIce(ufrag, password, tuple(lines))


def _fingerprints(description: Description, owner: Media) -> tuple[tuple[str, str], ...]:
    if description.attribute(owner, "setup") == "passive":
        raise NotAcceptable("the offer says a=setup:passive; offer actpass or active")
    values = list(owner.attributes.all("fingerprint")) or list(description.session.all("fingerprint"))
    matches = map(_FINGERPRINT.fullmatch, values[:MAX_FINGERPRINTS])
    found = tuple((match[1], match[2]) for match in matches if match)
    if not found:
        raise BadOffer("the offer has no a=fingerprint; WebRTC needs DTLS")
    return found
