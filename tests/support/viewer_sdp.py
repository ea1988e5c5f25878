"""The SDP of a test viewer: a browser-like offer, and what the answer has to say (RFC 8829, RFC 9429)."""

import random
from dataclasses import dataclass

TRANSPORT_SEQUENCE = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"

# Chromium on a machine that decodes in hardware: packetization-mode 1, from Constrained Baseline to High.
H264_PROFILES = {102: "42001f", 106: "42e01f", 112: "4d001f", 127: "64001f"}
H265_PARAMETERS = {49: "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"}
RTX = {102: 103, 106: 107, 112: 113, 127: 125, 49: 50}
AUDIO = {111: "opus/48000/2", 9: "G722/8000", 0: "PCMU/8000", 8: "PCMA/8000"}

# What an offer holds; `Viewer(features=CHROMIUM - {"rtx"})` is a browser without retransmission streams.
CHROMIUM = frozenset(
    {
        "h264",
        "audio",
        "rtx",
        "nack",
        "nack pli",
        "ccm fir",
        "goog-remb",
        "transport-cc",
        TRANSPORT_SEQUENCE,
        CAPTURE_TIME,  # Chromium offers it when the page asks
        PLAYOUT_DELAY,
    }
)
WITH_H265 = CHROMIUM | {"h265"}
PLAIN = frozenset({"h264", "nack", "nack pli", "ccm fir"})
_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
_EXTENSIONS = {TRANSPORT_SEQUENCE: 4, PLAYOUT_DELAY: 5, CAPTURE_TIME: 12}

Address = tuple[str, int]


class AnswerError(Exception):
    """An SDP answer that a browser could not use, or that is not what this system promises."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ICE candidate (RFC 8839 section 5.1)."""

    component: int
    transport: str
    host: str
    port: int
    kind: str
    tcp_type: str = ""
    "RFC 6544 section 4.5."


@dataclass(frozen=True, slots=True)
class Media:
    """One accepted m-section of an answer."""

    kind: str
    mid: str
    direction: str
    rtcp_mux: bool
    formats: dict[int, str]
    "Codec in upper case by payload type, in the answer's order, without rtx."
    parameters: dict[int, dict[str, str]]
    "Format parameters by payload type."
    rtx: dict[int, int]
    "Payload types of retransmissions to those that they repeat (RFC 4588 section 8.6)."
    ssrc: int | None
    rtx_ssrc: int | None
    extensions: dict[str, int]
    "Identifiers by URI (RFC 8285 section 5)."
    feedback: frozenset[str]

    @property
    def payload_type(self) -> int:
        """The first one."""
        return next(iter(self.formats))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the viewer needs from an SDP answer."""

    ice_ufrag: str
    ice_pwd: str
    ice_lite: bool
    setup: str
    fingerprints: tuple[tuple[str, str], ...]
    "Hash name in lower case and value in upper case."
    candidates: tuple[Candidate, ...]
    video: Media
    audio: Media | None
    "None: not offered, or not accepted."
    lines: tuple[str, ...]

    @property
    def payload_type(self) -> int:
        return self.video.payload_type

    @property
    def profile_level_id(self) -> str:
        return self.video.parameters.get(self.payload_type, {}).get("profile-level-id", "")

    @property
    def direction(self) -> str:
        return self.video.direction

    @property
    def rtcp_mux(self) -> bool:
        return self.video.rtcp_mux

    @property
    def mid(self) -> str:
        return self.video.mid

    @property
    def transport_sequence(self) -> int:
        """Identifier of the transport-wide sequence number, 0 when it is not to be reported."""
        if "transport-cc" not in self.video.feedback:
            return 0
        return self.video.extensions.get(TRANSPORT_SEQUENCE, 0)

    def require_server(self) -> None:
        """Checks what an ICE-lite media server answers; raises AnswerError."""
        if not self.ice_lite:
            raise AnswerError("answer has no a=ice-lite")
        if self.setup != "passive":
            raise AnswerError(f"answer has a=setup:{self.setup}, a DTLS server says passive")
        if not self.candidates:
            raise AnswerError("answer has no candidate; an ICE-lite agent does not trickle")
        for candidate in self.candidates:
            way = (candidate.transport, candidate.tcp_type)
            if (candidate.kind, candidate.component) != ("host", 1) or way not in (
                ("udp", ""),
                ("tcp", "passive"),
            ):
                raise AnswerError(f"candidate {candidate} is not host, component 1, of UDP or passive TCP")
        for media in (self.video, self.audio):
            if media is not None and media.direction != "sendonly":
                raise AnswerError(f"answer's direction is {media.direction}, a camera is sendonly")
            if media is not None and not media.rtcp_mux:
                raise AnswerError("answer has no a=rtcp-mux")
            if media is not None and media.ssrc is None:
                raise AnswerError(f"answer's {media.kind} has no a=ssrc")


def _format(payload_type: int, rtpmap: str, parameters: str, features: frozenset[str]) -> list[str]:
    lines = [f"a=rtpmap:{payload_type} {rtpmap}"]
    lines += [f"a=rtcp-fb:{payload_type} {name}" for name in _FEEDBACK if name in features]
    lines.append(f"a=fmtp:{payload_type} {parameters}")
    if "rtx" in features:
        lines += [f"a=rtpmap:{RTX[payload_type]} rtx/90000", f"a=fmtp:{RTX[payload_type]} apt={payload_type}"]
    return lines


def _video(features: frozenset[str]) -> tuple[list[int], list[str]]:
    payload_types: list[int] = []
    lines: list[str] = []
    if "h264" in features:
        for payload_type, profile in H264_PROFILES.items():
            payload_types.append(payload_type)
            parameters = f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
            lines += _format(payload_type, "H264/90000", parameters, features)
    if "h265" in features:
        for payload_type, parameters in H265_PARAMETERS.items():
            payload_types.append(payload_type)
            lines += _format(payload_type, "H265/90000", parameters, features)
    if "rtx" in features:
        payload_types += [RTX[payload_type] for payload_type in payload_types]
    return payload_types, lines


def _audio(features: frozenset[str]) -> tuple[list[int], list[str]]:
    lines = []
    for payload_type, rtpmap in AUDIO.items():
        lines.append(f"a=rtpmap:{payload_type} {rtpmap}")
        if rtpmap.startswith("opus"):
            if "transport-cc" in features:
                lines.append(f"a=rtcp-fb:{payload_type} transport-cc")
            lines.append(f"a=fmtp:{payload_type} minptime=10;useinbandfec=1")
    return list(AUDIO), lines


def offer(
    ufrag: str,
    pwd: str,
    fingerprint: str,
    *,
    features: frozenset[str] = CHROMIUM,
    setup: str = "actpass",
    candidate: Address | None = None,
    tcp: bool = False,
) -> str:
    """An offer to receive one video and, by feature, audio.

    `candidate` is left out as a trickling browser would. With `tcp` it is an active one (RFC 6544
    section 4.5).
    """
    sections = [("video", *_video(features))]
    if "audio" in features:
        sections.append(("audio", *_audio(features)))
    lines = [
        "v=0",
        f"o=- {random.getrandbits(62)} 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(map(str, range(len(sections))))}",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS",
    ]
    for mid, (kind, payload_types, formats) in enumerate(sections):
        lines += [
            f"m={kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, payload_types))}",
            "c=IN IP4 0.0.0.0",
            "a=rtcp:9 IN IP4 0.0.0.0",
            f"a=ice-ufrag:{ufrag}",
            f"a=ice-pwd:{pwd}",
            "a=ice-options:trickle",
            f"a=fingerprint:sha-256 {fingerprint}",
            f"a=setup:{setup}",
            f"a=mid:{mid}",
        ]
        for uri, identifier in _EXTENSIONS.items():
            if uri in features and (kind == "video" or uri == TRANSPORT_SEQUENCE):
                lines.append(f"a=extmap:{identifier} {uri}")
        lines += ["a=recvonly", "a=rtcp-mux", "a=rtcp-rsize", *formats]
        if candidate is not None and not mid:
            host, port = candidate
            lines.append(
                f"a=candidate:2 1 tcp 1518280447 {host} 9 typ host tcptype active"
                if tcp
                else f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"
            )
    return "\r\n".join(lines) + "\r\n"


def _candidate(value: str) -> Candidate:
    fields = value.split()
    if len(fields) < 8 or fields[6] != "typ":
        raise AnswerError(f"a=candidate:{value} is not a candidate")
    extras = dict(zip(fields[8::2], fields[9::2], strict=False))
    return Candidate(
        int(fields[1]), fields[2].lower(), fields[4], int(fields[5]), fields[7], extras.get("tcptype", "")
    )


def _values(lines: list[str], name: str) -> list[str]:
    return [line[len(name) + 3 :] for line in lines if line.startswith(f"a={name}:")]


def _by_payload_type(lines: list[str], name: str) -> dict[int, str]:
    pairs = (text.partition(" ")[::2] for text in _values(lines, name))
    return {int(number): value for number, value in pairs if number.isdigit()}


def _ssrcs(lines: list[str]) -> tuple[int | None, int | None]:
    """Those of the media and of its retransmissions (RFC 5576 section 4, RFC 4588 section 8.5)."""
    for group in _values(lines, "ssrc-group"):
        semantics, *members = group.split()
        if semantics == "FID" and len(members) == 2:
            return int(members[0]), int(members[1])
    named = _values(lines, "ssrc")
    return (int(named[0].split()[0]) if named else None), None


def _media(block: list[str]) -> Media | None:
    kind, port, _, *numbers = block[0][2:].split()
    if port == "0":
        return None
    maps, fmtp = _by_payload_type(block, "rtpmap"), _by_payload_type(block, "fmtp")
    parameters = {
        number: dict(part.strip().partition("=")[::2] for part in text.split(";"))
        for number, text in fmtp.items()
    }
    formats: dict[int, str] = {}
    rtx: dict[int, int] = {}
    offered = {*H264_PROFILES, *H265_PARAMETERS, *RTX.values()} if kind == "video" else {*AUDIO}
    for number in map(int, numbers):
        if number not in offered:
            raise AnswerError(f"answer chooses payload type {number}, which was not offered")
        static = AUDIO.get(number, "") if number < 35 else ""  # RFC 3551 needs no rtpmap for these
        codec = maps.get(number, static).partition("/")[0].upper()
        if codec == "RTX":
            rtx[number] = int(parameters.get(number, {}).get("apt", "-1"))
        elif codec:
            formats[number] = codec
        else:
            raise AnswerError(f"answer has no a=rtpmap for payload type {number}")
    if not formats or not set(rtx.values()) <= set(formats):
        raise AnswerError(f"answer has formats {formats} and retransmissions {rtx} that do not fit")
    mids = _values(block, "mid")
    if not mids:
        raise AnswerError("answer has no a=mid")
    directions = [line[2:] for line in block if line[2:] in ("sendrecv", "sendonly", "recvonly", "inactive")]
    ssrc, rtx_ssrc = _ssrcs(block)
    return Media(
        kind=kind,
        mid=mids[0],
        direction=directions[0] if directions else "sendrecv",
        rtcp_mux="a=rtcp-mux" in block,
        formats=formats,
        parameters=parameters,
        rtx=rtx,
        ssrc=ssrc,
        rtx_ssrc=rtx_ssrc,
        extensions={
            uri: int(number.partition("/")[0])
            for number, _, uri in (text.partition(" ") for text in _values(block, "extmap"))
        },
        feedback=frozenset(value.partition(" ")[2] for value in _values(block, "rtcp-fb")),
    )


def parse_answer(sdp: str) -> Answer:
    """Reads an answer of one video and perhaps audio; raises AnswerError for what a browser would refuse."""
    if not sdp.startswith("v=0\r\n") or not sdp.endswith("\r\n"):
        raise AnswerError("answer does not start with v=0 or has lines without CRLF")
    lines = sdp.split("\r\n")[:-1]
    starts = [place for place, line in enumerate(lines) if line.startswith("m=")]
    kinds = [lines[place][2:].partition(" ")[0] for place in starts]
    if sorted(kinds) not in (["video"], ["audio", "video"]):
        raise AnswerError(f"answer has media {kinds}, one video and one audio at most were offered")
    blocks = [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    media = {kind: _media(block) for kind, block in zip(kinds, blocks, strict=True)}
    if media["video"] is None:
        raise AnswerError("answer rejects the video (port 0)")
    audio = media.get("audio")
    # Of a bundle whose transport is in a section without media, that one is there and inactive.
    if audio is not None and audio.direction == "inactive":
        audio = None

    def value(name: str) -> str:
        found = _values(lines, name)
        if not found:
            raise AnswerError(f"answer has no a={name}")
        return found[0]

    return Answer(
        ice_ufrag=value("ice-ufrag"),
        ice_pwd=value("ice-pwd"),
        ice_lite="a=ice-lite" in lines,
        setup=value("setup"),
        fingerprints=tuple(
            (name.lower(), digest.strip().upper())
            for name, _, digest in (text.partition(" ") for text in _values(lines, "fingerprint"))
        ),
        candidates=tuple(dict.fromkeys(map(_candidate, _values(lines, "candidate")))),
        video=media["video"],
        audio=audio,
        lines=tuple(lines),
    )
