"""The SDP of a test viewer: a browser-like offer, and what the answer has to say (RFC 8829, RFC 9429)."""

import random
from dataclasses import dataclass

# What Chromium offers: packetization-mode 1, from Constrained Baseline to High.
H264_PROFILES = {102: "42001f", 106: "42e01f", 112: "4d001f", 127: "64001f"}


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
    payload_type: int
    profile_level_id: str
    direction: str
    rtcp_mux: bool
    mid: str
    lines: tuple[str, ...]

    def require_server(self) -> None:
        """Checks what an ICE-lite media server answers; raises AnswerError."""
        if not self.ice_lite:
            raise AnswerError("answer has no a=ice-lite")
        if self.setup != "passive":
            raise AnswerError(f"answer has a=setup:{self.setup}, a DTLS server says passive")
        if not self.candidates:
            raise AnswerError("answer has no candidate; an ICE-lite agent does not trickle")
        for candidate in self.candidates:
            if (candidate.kind, candidate.transport, candidate.component) != ("host", "udp", 1):
                raise AnswerError(f"candidate {candidate} is not host, UDP, component 1")
        if self.direction != "sendonly":
            raise AnswerError(f"answer's direction is {self.direction}, a camera is sendonly")
        if not self.rtcp_mux:
            raise AnswerError("answer has no a=rtcp-mux")


def offer(
    ufrag: str,
    pwd: str,
    fingerprint: str,
    *,
    setup: str = "actpass",
    candidate: tuple[str, int] | None = None,
) -> str:
    """An offer to receive one H.264 video; `candidate` is left out as a trickling browser would."""
    payload_types = " ".join(map(str, H264_PROFILES))
    lines = [
        "v=0",
        f"o=- {random.getrandbits(62)} 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS",
        f"m=video 9 UDP/TLS/RTP/SAVPF {payload_types}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{pwd}",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {fingerprint}",
        f"a=setup:{setup}",
        "a=mid:0",
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ]
    for payload_type, profile in H264_PROFILES.items():
        lines += [
            f"a=rtpmap:{payload_type} H264/90000",
            f"a=rtcp-fb:{payload_type} ccm fir",
            f"a=rtcp-fb:{payload_type} nack",
            f"a=rtcp-fb:{payload_type} nack pli",
            f"a=fmtp:{payload_type} level-asymmetry-allowed=1;packetization-mode=1;"
            f"profile-level-id={profile}",
        ]
    if candidate is not None:
        lines.append(f"a=candidate:1 1 udp 2130706431 {candidate[0]} {candidate[1]} typ host")
    return "\r\n".join(lines) + "\r\n"


def _candidate(value: str) -> Candidate:
    fields = value.split()
    if len(fields) < 8 or fields[6] != "typ":
        raise AnswerError(f"a=candidate:{value} is not a candidate")
    return Candidate(int(fields[1]), fields[2].lower(), fields[4], int(fields[5]), fields[7])


def parse_answer(sdp: str) -> Answer:
    """Reads an answer of one video; raises AnswerError for what a browser would refuse."""
    if not sdp.startswith("v=0\r\n") or not sdp.endswith("\r\n"):
        raise AnswerError("answer does not start with v=0 or has lines without CRLF")
    lines = sdp.split("\r\n")[:-1]
    media = [line for line in lines if line.startswith("m=")]
    if len(media) != 1 or not media[0].startswith("m=video "):
        raise AnswerError(f"answer has media lines {media}, one video was offered")
    if media[0].split()[1] == "0":
        raise AnswerError("answer rejects the video (port 0)")

    def values(name: str) -> list[str]:
        return [line[len(name) + 3 :] for line in lines if line.startswith(f"a={name}:")]

    def value(name: str) -> str:
        found = values(name)
        if not found:
            raise AnswerError(f"answer has no a={name}")
        return found[0]

    payload_type = int(media[0].split()[3])
    if payload_type not in H264_PROFILES:
        raise AnswerError(f"answer chooses payload type {payload_type}, which was not offered")
    fmtp = next((text for text in values("fmtp") if text.startswith(f"{payload_type} ")), "")
    parameters = dict(part.strip().partition("=")[::2] for part in fmtp.partition(" ")[2].split(";"))
    directions = [line[2:] for line in lines if line[2:] in ("sendrecv", "sendonly", "recvonly", "inactive")]
    return Answer(
        ice_ufrag=value("ice-ufrag"),
        ice_pwd=value("ice-pwd"),
        ice_lite="a=ice-lite" in lines,
        setup=value("setup"),
        fingerprints=tuple(
            (name.lower(), digest.strip().upper())
            for name, _, digest in (text.partition(" ") for text in values("fingerprint"))
        ),
        candidates=tuple(map(_candidate, values("candidate"))),
        payload_type=payload_type,
        profile_level_id=parameters.get("profile-level-id", ""),
        direction=directions[0] if directions else "sendrecv",
        rtcp_mux="a=rtcp-mux" in lines,
        mid=value("mid"),
        lines=tuple(lines),
    )
