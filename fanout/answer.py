"""The SDP answer (RFC 8829 section 5.3): one H.264 video section sent, ICE-lite, DTLS server."""

from dataclasses import dataclass

from fanout.offer import Offer, Section

_FEEDBACK = ("nack pli", "ccm fir")


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


def _candidates(local: LocalEnd) -> list[str]:
    """Host candidates, the first address preferred (RFC 8445 section 5.1.2.1)."""
    lines = []
    for position, address in enumerate(local.addresses):
        priority = (126 << 24) | ((65_535 - position) << 8) | 255
        lines.append(f"a=candidate:{position + 1} 1 udp {priority} {address} {local.port} typ host")
    return [*lines, "a=end-of-candidates"]


def _transport(local: LocalEnd) -> list[str]:
    return [
        "a=rtcp-mux",
        f"a=ice-ufrag:{local.ice_ufrag}",
        f"a=ice-pwd:{local.ice_pwd}",
        f"a=fingerprint:sha-256 {local.fingerprint}",
        "a=setup:passive",
        *_candidates(local),
    ]


def _rejected(section: Section) -> list[str]:
    protocol = "UDP/DTLS/SCTP" if section.kind == "application" else "UDP/TLS/RTP/SAVPF"
    formats = " ".join(section.formats) or "0"
    return [
        f"m={section.kind} 0 {protocol} {formats}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{section.mid}",
        "a=inactive",
    ]


def _idle(section: Section, local: LocalEnd) -> list[str]:
    """A section that carries the transport of its bundle and no media."""
    format_name, rtpmap = section.formats[0], section.rtpmap
    return [
        f"m={section.kind} {local.port} UDP/TLS/RTP/SAVPF {format_name}",
        f"c=IN IP4 {local.addresses[0]}",
        f"a=mid:{section.mid}",
        "a=inactive",
        *([f"a=rtpmap:{format_name} {rtpmap}"] if rtpmap else []),
        *_transport(local),
    ]


def _video(offer: Offer, section: Section, local: LocalEnd) -> list[str]:
    payload_type = offer.payload_type
    return [
        f"m=video {local.port} UDP/TLS/RTP/SAVPF {payload_type}",
        f"c=IN IP4 {local.addresses[0]}",
        f"a=mid:{section.mid}",
        "a=sendonly",
        f"a=rtpmap:{payload_type} H264/90000",
        f"a=fmtp:{payload_type} level-asymmetry-allowed=1;packetization-mode=1;"
        f"profile-level-id={offer.profile_level_id}",
        *(f"a=rtcp-fb:{payload_type} {name}" for name in _FEEDBACK if name in offer.feedback),
        f"a=msid:{local.stream_id} video",
        f"a=ssrc:{local.ssrc} cname:{local.cname}",
        *_transport(local),
    ]


def answer(offer: Offer, local: LocalEnd, session_version: int) -> str:
    """The SDP answer: the video section accepted as `sendonly`, the others rejected.

    In a bundle whose first section is not the video, that one is accepted as `inactive`: browsers with the
    max-bundle policy have the transport there, and a rejected one would end it (RFC 9143 section 7.3).
    """
    video = offer.sections[offer.video]
    tagged = next(
        (s for s in offer.sections if offer.bundle[:1] == (s.mid,) and s.kind in ("audio", "video")), video
    )
    bundled = dict.fromkeys((tagged.mid, video.mid)) if offer.bundle else {}
    lines = ["v=0", f"o=- {session_version} 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=ice-lite"]
    if bundled:
        lines.append(f"a=group:BUNDLE {' '.join(bundled)}")
    lines.append("a=msid-semantic: WMS *")
    for section in offer.sections:
        if section is video:
            lines += _video(offer, section, local)
        elif section.mid in bundled:
            lines += _idle(section, local)
        else:
            lines += _rejected(section)
    return "\r\n".join(lines) + "\r\n"
