"""SDP offers of viewers (RFC 8829, 8866): which video section can take H.264, and in which profile."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiortc.sdp import MediaDescription, SessionDescription

from common.errors import ViewerError

MAX_OFFER_BYTES = 64 << 10
# Lines of a kind that an offer may have. Browsers stay far below; aiortc.sdp takes the product of some.
_MAX_LINES = {
    "m=": 16,
    "a=rtpmap:": 256,
    "a=fmtp:": 256,
    "a=rtcp-fb:": 768,
    "a=rtcp-fb:*": 16,
    "a=extmap:": 256,
    "a=ssrc": 256,
    "a=candidate:": 128,
    "a=group:": 16,
}
# 64 to 95 would look like RTCP (RFC 5761 section 4).
_PAYLOAD_TYPES = frozenset({*range(64), *range(96, 128)})
_PROFILE_LEVEL_ID = re.compile(r"[0-9a-fA-F]{6}")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_.-]{1,256}")
_RTPMAP = re.compile(r"[A-Za-z0-9._-]{1,64}/[0-9]{1,6}(/[0-9]{1,2})?")
DEFAULT_PROFILE_LEVEL_ID = "42e01f"  # what a format without the parameter means to browsers

# Which offered profile_idc decodes a stream of which, best first (H.264 clause A.2). Chromium without
# hardware decoding names High 4:4:4 Predictive (244) and not High.
_DECODES = {66: (66, 77, 100, 244), 77: (77, 100, 244), 100: (100, 244)}


class BadOffer(ViewerError):
    """The text is not an SDP offer this server can read."""


class NotAcceptable(ViewerError):
    """A readable offer that holds nothing this server can serve."""


@dataclass(frozen=True, slots=True)
class Section:
    """One m-section of an offer."""

    kind: str
    mid: str
    formats: tuple[str, ...]
    rtpmap: str | None
    "Encoding of the first format: `opus/48000/2`."


@dataclass(frozen=True, slots=True)
class Offer:
    """What the answer needs of an offer."""

    sections: tuple[Section, ...]
    video: int
    "Index of the section that will be answered."
    bundle: tuple[str, ...]
    "Mids of the BUNDLE group that the video is in; its first one has the transport (RFC 9143)."
    payload_type: int
    profile_level_id: str
    ice_ufrag: str
    fingerprints: tuple[tuple[str, str], ...]
    feedback: frozenset[str]
    "RTCP feedback offered for the format, e.g. `nack pli`."


def _profile_idc(profile_level_id: str) -> int:
    return int(profile_level_id[:2], 16)


def choose_format(offered: Sequence[tuple[int, str]], stream_profile: str | None) -> tuple[int, str]:
    """The offered (payload type, profile-level-id) that fits the stream best.

    Exact profile first, then one that contains it, else the offer's first: some browsers name only
    constrained baseline and decode more. `offered` must not be empty.
    """
    if stream_profile is not None:
        wanted = _profile_idc(stream_profile)
        for profile in _DECODES.get(wanted, (wanted,)):
            fitting = [entry for entry in offered if _profile_idc(entry[1]) == profile]
            # Of two baseline formats the constrained one is what streams carry (constraint_set1).
            fitting.sort(key=lambda entry: entry[1][2:4].lower() != stream_profile[2:4].lower())
            if fitting:
                return fitting[0]
    return offered[0]


def _h264_formats(media: MediaDescription) -> list[tuple[int, str]]:
    formats = []
    for codec in media.rtp.codecs:
        if codec.mimeType.lower() != "video/h264" or codec.clockRate != 90_000:
            continue
        payload_type = codec.payloadType
        if (
            payload_type is None
            or payload_type not in media.fmt
            or not (0 <= payload_type < 64 or 96 <= payload_type < 128)
        ):
            continue
        parameters = {str(key).lower(): value for key, value in codec.parameters.items()}
        if str(parameters.get("packetization-mode", "0")) != "1":
            continue
        profile = str(parameters.get("profile-level-id", DEFAULT_PROFILE_LEVEL_ID))
        if _PROFILE_LEVEL_ID.fullmatch(profile):
            formats.append((payload_type, profile))
    return formats


def _read(sdp: str) -> SessionDescription:
    if len(sdp) > MAX_OFFER_BYTES:
        raise BadOffer(f"the offer has {len(sdp)} characters, at most {MAX_OFFER_BYTES} are read")
    if not sdp.startswith("v=0"):
        raise BadOffer("the offer is not SDP: it must begin with v=0")
    lines = [line.strip() for line in sdp.splitlines()]
    for prefix, limit in _MAX_LINES.items():
        count = sum(line.startswith(prefix) for line in lines)
        if count > limit:
            raise BadOffer(f"the offer has {count} lines of {prefix}, at most {limit} are read")
    try:
        return SessionDescription.parse(sdp)
    except Exception as exc:
        # aiortc.sdp raises whatever its int(), split() and assert meet; all of it means the same here.
        raise BadOffer(f"the offer is not valid SDP ({type(exc).__name__})") from exc


def _section(media: MediaDescription) -> Section:
    formats = tuple(_token(str(name)) for name in media.fmt)
    encodings = {str(codec.payloadType): codec for codec in media.rtp.codecs}
    codec = encodings.get(formats[0])
    rtpmap = None
    if codec is not None:
        channels = f"/{codec.channels}" if (codec.channels or 1) > 1 else ""
        rtpmap = f"{codec.mimeType.partition('/')[2]}/{codec.clockRate}{channels}"
    return Section(
        kind=_token(str(media.kind)),
        mid=_token(media.rtp.muxId),
        formats=formats,
        rtpmap=rtpmap if rtpmap is not None and _RTPMAP.fullmatch(rtpmap) else None,
    )


def _bundle_of(session: SessionDescription, mid: str) -> tuple[str, ...]:
    for group in session.group:
        items = tuple(map(str, group.items))
        if group.semantic == "BUNDLE" and mid in items:
            return items
    return ()


def parse_offer(sdp: str, stream_profile: str | None) -> Offer:
    """Reads an offer for a stream of the given profile-level-id (None: not known yet).

    Raises BadOffer when it is not SDP for WebRTC, NotAcceptable when it has no video section that can
    receive H.264 with packetization-mode 1.
    """
    session = _read(sdp)
    if not any(media.kind == "video" for media in session.media):
        raise NotAcceptable("the offer has no video section; add a video transceiver that receives")
    # A section with port 0 is not offered, unless it is bundle-only (RFC 9143 section 6).
    bundle_only = ["\na=bundle-only" in block for block in sdp.split("\nm=")[1:]]
    receivable = False
    for index, media in enumerate(session.media):
        if media.kind != "video" or media.direction not in ("recvonly", "sendrecv", None):
            continue
        if media.port == 0 and not bundle_only[index]:
            continue
        receivable = True
        formats = _h264_formats(media)
        if formats:
            return _accept(session, index, formats, stream_profile)
    if not receivable:
        raise NotAcceptable("the offer's video sections only send; one must be recvonly or sendrecv")
    raise NotAcceptable("the offer has no H.264 with packetization-mode=1, which is what the camera sends")


def _accept(
    session: SessionDescription, index: int, formats: list[tuple[int, str]], stream_profile: str | None
) -> Offer:
    media = session.media[index]
    sections = tuple(map(_section, session.media))
    bundle = _bundle_of(session, sections[index].mid)
    # A bundle-only section may leave the transport to the first of its bundle.
    owner = media
    if bundle and (media.ice is None or media.ice.usernameFragment is None):
        owner = next((m for m in session.media if m.rtp.muxId == bundle[0]), media)
    ice, dtls = owner.ice, owner.dtls
    if ice is None or ice.usernameFragment is None or ice.password is None:
        raise BadOffer("the offer's video section has no a=ice-ufrag or a=ice-pwd")
    if dtls is None or not dtls.fingerprints:
        raise BadOffer("the offer has no a=fingerprint; WebRTC needs DTLS")
    if dtls.role == "server":
        raise NotAcceptable("the offer says a=setup:passive; offer actpass or active")
    payload_type, offered_profile = choose_format(formats, stream_profile)
    codec = next(codec for codec in media.rtp.codecs if codec.payloadType == payload_type)
    # The profile must stay the offered one (RFC 6184 section 8.2.2), the level is the stream's own.
    level = (stream_profile or offered_profile)[4:]
    return Offer(
        sections=sections,
        video=index,
        bundle=bundle,
        payload_type=payload_type,
        profile_level_id=offered_profile[:4] + level,
        ice_ufrag=_token(ice.usernameFragment),
        fingerprints=tuple((f.algorithm, f.value) for f in dtls.fingerprints),
        feedback=frozenset(
            f"{feedback.type} {feedback.parameter}" if feedback.parameter else str(feedback.type)
            for feedback in codec.rtcpFeedback
        ),
    )


def _token(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise BadOffer("the offer has a malformed m= line, a=mid or a=ice-ufrag, or a section without a=mid")
    return text
