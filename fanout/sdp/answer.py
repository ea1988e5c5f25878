"""The SDP answer (RFC 8829 section 5.3): all is sent over one transport, and this end is the DTLS server."""

from dataclasses import dataclass

from fanout.sdp.formats import RTPMAP, Format
from fanout.sdp.offer import EXTENSIONS, MediaChoice, Offer, Section


@dataclass(frozen=True, slots=True)
class LocalEnd:
    """Our side of the answer."""

    ice_ufrag: str
    ice_pwd: str
    ice_lite: bool
    candidates: tuple[str, ...]
    "Lines without `a=`: `candidate:1 1 udp …`."
    fingerprint: str
    address: str
    "Of the preferred candidate, for c= lines."
    port: int
    cname: str
    stream_id: str
    video_ssrc: int
    rtx_ssrc: int
    "Of the video's retransmissions."
    audio_ssrc: int


def _connection(address: str) -> str:
    return f"c=IN {'IP6' if ':' in address else 'IP4'} {address}"


def _transport(local: LocalEnd) -> list[str]:
    return [
        "a=rtcp-mux",
        f"a=ice-ufrag:{local.ice_ufrag}",
        f"a=ice-pwd:{local.ice_pwd}",
        *(() if local.ice_lite else ("a=ice-options:trickle",)),
        f"a=fingerprint:sha-256 {local.fingerprint}",
        "a=setup:passive",
        *(f"a={candidate}" for candidate in local.candidates),
        "a=end-of-candidates",
    ]


def _rejected(section: Section) -> list[str]:
    return [
        f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{section.mid}",
        "a=inactive",
    ]


def _idle(section: Section, local: LocalEnd) -> list[str]:
    """A section that carries the transport of its bundle and no media."""
    format_name, rtpmap = section.formats[0], section.rtpmap
    return [
        f"m={section.kind} {local.port} {section.protocol} {format_name}",
        _connection(local.address),
        f"a=mid:{section.mid}",
        "a=inactive",
        *([f"a=rtpmap:{format_name} {rtpmap}"] if rtpmap else []),
        *_transport(local),
    ]


def _format(entry: Format, feedback: frozenset[str]) -> list[str]:
    number, rtx = entry.payload_type, entry.rtx_payload_type
    lines = [f"a=rtpmap:{number} {RTPMAP[entry.codec]}"]
    if entry.parameters:
        lines.append(f"a=fmtp:{number} {entry.parameters}")
    lines += (f"a=rtcp-fb:{number} {name}" for name in sorted(feedback))
    if rtx is not None:
        lines += (f"a=rtpmap:{rtx} rtx/90000", f"a=fmtp:{rtx} apt={number}")
    return lines


def _sent(choice: MediaChoice, section: Section, local: LocalEnd, ssrcs: tuple[int, ...]) -> list[str]:
    """A section that is sent; of two SSRCs the second repeats the first (RFC 5576 section 4.2)."""
    numbers = [entry.payload_type for entry in choice.formats]
    numbers += [entry.rtx_payload_type for entry in choice.formats if entry.rtx_payload_type is not None]
    ids = ((getattr(choice.extensions, field), uri) for field, uri in EXTENSIONS.items())
    return [
        f"m={section.kind} {local.port} {section.protocol} {' '.join(map(str, numbers))}",
        _connection(local.address),
        f"a=mid:{section.mid}",
        "a=sendonly",
        *(f"a=extmap:{number} {uri}" for number, uri in ids if number),
        *(line for entry in choice.formats for line in _format(entry, choice.feedback)),
        f"a=msid:{local.stream_id} {section.kind}",
        *([f"a=ssrc-group:FID {' '.join(map(str, ssrcs))}"] if len(ssrcs) > 1 else []),
        *(f"a=ssrc:{ssrc} cname:{local.cname}" for ssrc in ssrcs),
        *_transport(local),
    ]


def answer(offer: Offer, local: LocalEnd, session_version: int) -> str:
    """The SDP answer: what of the camera the viewer takes as `sendonly`, other sections rejected.

    In a bundle whose first section is not sent, that one is accepted as `inactive`: browsers with the
    max-bundle policy have the transport there, and a rejected one would end it (RFC 9143 section 7.3).
    """
    video = offer.sections[offer.video.section]
    audio = offer.sections[offer.audio.section] if offer.audio is not None else None
    tagged = offer.sections[offer.transport]
    accepted = {section.mid for section in (tagged, video, audio) if section is not None}
    bundled = dict.fromkeys((tagged.mid, *(s.mid for s in offer.sections if s.mid in accepted)))
    lines = ["v=0", f"o=- {session_version} 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    if local.ice_lite:
        lines.append("a=ice-lite")
    if offer.bundle:
        lines.append(f"a=group:BUNDLE {' '.join(bundled)}")
    lines.append("a=msid-semantic: WMS *")
    repeats = any(entry.rtx_payload_type is not None for entry in offer.video.formats)
    video_ssrcs = (local.video_ssrc, local.rtx_ssrc) if repeats else (local.video_ssrc,)
    for section in offer.sections:
        if section is video:
            lines += _sent(offer.video, section, local, video_ssrcs)
        elif section is audio and offer.audio is not None:
            lines += _sent(offer.audio, section, local, (local.audio_ssrc,))
        elif section is tagged:
            lines += _idle(section, local)
        else:
            lines += _rejected(section)
    return "\r\n".join(lines) + "\r\n"
