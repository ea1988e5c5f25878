"""SDP offer in, answer out (RFC 8829, 8866): one H.264 video section, ICE-lite, DTLS server."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiortc.sdp import MediaDescription, SessionDescription

from common.errors import ViewerError

MAX_OFFER_BYTES = 64 << 10
_PROFILE_LEVEL_ID = re.compile(r"[0-9a-fA-F]{6}")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_.-]{1,256}")
DEFAULT_PROFILE_LEVEL_ID = "42e01f"  # what a format without the parameter means to browsers

# Which offered profile_idc decodes a stream of which, best first (H.264 clause A.2). Chromium without
# hardware decoding names High 4:4:4 Predictive (244) and not High.
_DECODES = {66: (66, 77, 100, 244), 77: (77, 100, 244), 100: (100, 244)}


class BadOffer(ViewerError):
    """The text is not an SDP offer this server can read."""


class NotAcceptable(ViewerError):
    """A readable offer that holds nothing this server can serve."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the answer needs of an offer."""

    sections: tuple[tuple[str, str, str], ...]
    "Kind, mid and formats of each m-section, in order."
    video: int
    "Index of the section that will be answered."
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
        parameters = {str(key).lower(): value for key, value in codec.parameters.items()}
        if str(parameters.get("packetization-mode", "0")) != "1":
            continue
        profile = str(parameters.get("profile-level-id", DEFAULT_PROFILE_LEVEL_ID))
        if _PROFILE_LEVEL_ID.fullmatch(profile) and codec.payloadType is not None:
            formats.append((codec.payloadType, profile))
    return formats


def parse_offer(sdp: str, stream_profile: str | None) -> Offer:
    """Reads an offer for a stream of the given profile-level-id (None: not known yet).

    Raises BadOffer when it is not SDP for WebRTC, NotAcceptable when it has no video section that can
    receive H.264 with packetization-mode 1.
    """
    if len(sdp) > MAX_OFFER_BYTES:
        raise BadOffer(f"the offer has {len(sdp)} characters, at most {MAX_OFFER_BYTES} are read")
    if not sdp.startswith("v=0"):
        raise BadOffer("the offer is not SDP: it must begin with v=0")
    try:
        session = SessionDescription.parse(sdp)
    except Exception as exc:
        # aiortc.sdp raises whatever its int(), split() and assert meet; all of it means the same here.
        raise BadOffer(f"the offer is not valid SDP ({type(exc).__name__})") from exc
    if not any(media.kind == "video" for media in session.media):
        raise NotAcceptable("the offer has no video section; add a video transceiver that receives")
    receivable = False
    for index, media in enumerate(session.media):
        if media.kind != "video" or media.direction not in ("recvonly", "sendrecv", None):
            continue
        receivable = True
        formats = _h264_formats(media)
        if not formats:
            continue
        payload_type, offered_profile = choose_format(formats, stream_profile)
        ice = media.ice
        if ice is None or ice.usernameFragment is None or ice.password is None:
            raise BadOffer("the offer's video section has no a=ice-ufrag or a=ice-pwd")
        if media.dtls is None or not media.dtls.fingerprints:
            raise BadOffer("the offer has no a=fingerprint; WebRTC needs DTLS")
        if media.dtls.role == "server":
            raise NotAcceptable("the offer says a=setup:passive; offer actpass or active")
        codec = next(codec for codec in media.rtp.codecs if codec.payloadType == payload_type)
        # The profile must stay the offered one (RFC 6184 section 8.2.2), the level is the stream's own.
        level = (stream_profile or offered_profile)[4:]
        return Offer(
            sections=tuple(
                (_token(str(m.kind)), _token(m.rtp.muxId), " ".join(_token(str(f)) for f in m.fmt))
                for m in session.media
            ),
            video=index,
            payload_type=payload_type,
            profile_level_id=offered_profile[:4] + level,
            ice_ufrag=_token(ice.usernameFragment),
            fingerprints=tuple((f.algorithm, f.value) for f in media.dtls.fingerprints),
            feedback=frozenset(
                f"{feedback.type} {feedback.parameter}" if feedback.parameter else str(feedback.type)
                for feedback in codec.rtcpFeedback
            ),
        )
    if not receivable:
        raise NotAcceptable("the offer's video sections only send; one must be recvonly or sendrecv")
    raise NotAcceptable("the offer has no H.264 with packetization-mode=1, which is what the camera sends")


def _token(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise BadOffer(
            "the offer has a malformed m= line or a=ice-ufrag, or a section without a usable a=mid"
        )
    return text


@dataclass(frozen=True, slots=True)
class LocalEnd:
    """Our side of the answer."""

    ice_ufrag: str
    ice_pwd: str
    fingerprint: str
    addresses: tuple[str, ...]
    port: int
    ssrc: int
    cname: str
    stream_id: str


_FEEDBACK = ("nack pli", "ccm fir")


def _rejected(kind: str, mid: str, formats: str) -> list[str]:
    protocol = "UDP/DTLS/SCTP" if kind == "application" else "UDP/TLS/RTP/SAVPF"
    return [f"m={kind} 0 {protocol} {formats or '0'}", "c=IN IP4 0.0.0.0", f"a=mid:{mid}", "a=inactive"]


def _candidates(local: LocalEnd) -> list[str]:
    """Host candidates, the first address preferred (RFC 8445 section 5.1.2.1)."""
    lines = []
    for position, address in enumerate(local.addresses):
        priority = (126 << 24) | ((65_535 - position) << 8) | 255
        lines.append(f"a=candidate:{position + 1} 1 udp {priority} {address} {local.port} typ host")
    return [*lines, "a=end-of-candidates"]


def answer(offer: Offer, local: LocalEnd, session_version: int) -> str:
    """The SDP answer: the video section accepted as `sendonly`, every other one rejected."""
    mid = offer.sections[offer.video][1]
    lines = [
        "v=0",
        f"o=- {session_version} 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        f"a=group:BUNDLE {mid}",
        "a=msid-semantic: WMS *",
    ]
    for index, (kind, section_mid, formats) in enumerate(offer.sections):
        if index != offer.video:
            lines += _rejected(kind, section_mid, formats)
            continue
        payload_type = offer.payload_type
        lines += [
            f"m=video {local.port} UDP/TLS/RTP/SAVPF {payload_type}",
            f"c=IN IP4 {local.addresses[0]}",
            f"a=mid:{section_mid}",
            "a=sendonly",
            "a=rtcp-mux",
            f"a=ice-ufrag:{local.ice_ufrag}",
            f"a=ice-pwd:{local.ice_pwd}",
            f"a=fingerprint:sha-256 {local.fingerprint}",
            "a=setup:passive",
            f"a=rtpmap:{payload_type} H264/90000",
            f"a=fmtp:{payload_type} level-asymmetry-allowed=1;packetization-mode=1;"
            f"profile-level-id={offer.profile_level_id}",
            *(f"a=rtcp-fb:{payload_type} {name}" for name in _FEEDBACK if name in offer.feedback),
            f"a=msid:{local.stream_id} video",
            f"a=ssrc:{local.ssrc} cname:{local.cname}",
            *_candidates(local),
        ]
    return "\r\n".join(lines) + "\r\n"
