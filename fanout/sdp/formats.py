"""Payload types of an offer, and which of them carries what cameras send (RFC 6184, 7798, 4588)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.messages import AudioReport, VideoReport
from fanout.sdp.reader import Media

VIDEO_CODECS = ("H264", "H265")
AUDIO_CODECS = ("OPUS", "PCMA", "PCMU", "G722")
"What browsers are given as cameras send it, by the names of the bus."

# What a format without the parameter means to browsers.
DEFAULT_PROFILE_LEVEL_ID = "42e01f"
DEFAULT_PROFILE_TIER_LEVEL = "profile-id=1;tier-flag=0;level-id=93"  # RFC 7798 section 7.1
_PROFILE_LEVEL_ID = re.compile(r"[0-9a-fA-F]{6}")
_NUMBER = re.compile(r"[0-9]{1,3}")

# Which offered profile_idc decodes a stream of which, best first (H.264 clause A.2). Chromium without
# hardware decoding names High 4:4:4 Predictive (244) and not High.
_H264_DECODES = {66: (66, 77, 100, 244), 77: (77, 100, 244), 100: (100, 244)}
# The same for general_profile_idc (H.265 clause A.3): Main 10 decoders take Main and Main Still Picture too.
_H265_DECODES = {1: (1, 2), 3: (3, 1, 2)}
# 30 times the level (H.265 clause A.4.1). Chromium takes no answer with another number.
_H265_LEVELS = (30, 60, 63, 90, 93, 120, 123, 150, 153, 156, 180, 183, 186)

# 64 to 95 would look like RTCP (RFC 5761 section 4).
_PAYLOAD_TYPES = frozenset({*range(64), *range(96, 128)})
# Payload types that need no a=rtpmap (RFC 3551 table 4).
_STATIC = {0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000"}
_ENCODINGS = {
    "h264/90000": "H264",
    "h265/90000": "H265",
    "rtx/90000": "RTX",
    "opus/48000/2": "OPUS",
    "pcma/8000": "PCMA",
    "pcmu/8000": "PCMU",
    "g722/8000": "G722",
}
RTPMAP = {
    "H264": "H264/90000",
    "H265": "H265/90000",
    "OPUS": "opus/48000/2",
    "PCMA": "PCMA/8000",
    "PCMU": "PCMU/8000",
    "G722": "G722/8000",
}


@dataclass(frozen=True, slots=True)
class Format:
    """One accepted payload type."""

    codec: str
    "Name on the bus: `H264`, `H265`, `OPUS`, `PCMA`, `PCMU`, `G722`."
    payload_type: int
    parameters: str
    "a=fmtp of the answer; empty: none."
    rtx_payload_type: int | None
    "For retransmissions (RFC 4588); None: they are not negotiated."


@dataclass(frozen=True, slots=True)
class OfferedFormat:
    """One payload type that the viewer can receive."""

    codec: str
    "As in Format, or `RTX`."
    payload_type: int
    parameters: dict[str, str]
    "a=fmtp, the names in lower case."


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {key.strip().lower(): value.strip() for key, _, value in pairs if key.strip()}


def offered_formats(media: Media) -> list[OfferedFormat]:
    """The payload types of a section that can matter here, as the m= line prefers them."""
    rtpmaps: dict[str, str] = {}
    # Safari's later offers in a session may name a payload type twice: the first one counts.
    for value in media.attributes.all("rtpmap"):
        number, _, encoding = value.partition(" ")
        rtpmaps.setdefault(number, encoding.strip())
    fmtps: dict[str, str] = {}
    for value in media.attributes.all("fmtp"):
        number, _, text = value.partition(" ")
        fmtps.setdefault(number, text)
    found = []
    for name in dict.fromkeys(media.formats):
        if not _NUMBER.fullmatch(name) or int(name) not in _PAYLOAD_TYPES:
            continue
        encoding = rtpmaps.get(name, _STATIC.get(int(name), "")).lower()
        # Firefox writes the one channel out: G722/8000/1.
        codec = _ENCODINGS.get(encoding.removesuffix("/1"))
        if codec is not None:
            found.append(OfferedFormat(codec, int(name), _parameters(fmtps.get(name, ""))))
    return found


def _profile_idc(profile_level_id: str) -> int:
    return int(profile_level_id[:2], 16)


def choose_format(offered: Sequence[tuple[int, str]], stream_profile: str | None) -> tuple[int, str]:
    """The offered H.264 (payload type, profile-level-id) that fits the stream best.

    Exact profile first, then one that contains it, else the offer's first: some browsers name only
    constrained baseline and decode more. `offered` must not be empty.
    """
    if stream_profile is not None:
        wanted = _profile_idc(stream_profile)
        for profile in _H264_DECODES.get(wanted, (wanted,)):
            fitting = [entry for entry in offered if _profile_idc(entry[1]) == profile]
            # Of two baseline formats the constrained one is what streams carry (constraint_set1).
            fitting.sort(key=lambda entry: entry[1][2:4].lower() != stream_profile[2:4].lower())
            if fitting:
                return fitting[0]
    return offered[0]


def _h264(offered: Iterable[OfferedFormat], streams: Sequence[VideoReport | None]) -> Format | None:
    candidates = []
    for entry in offered:
        profile = entry.parameters.get("profile-level-id", DEFAULT_PROFILE_LEVEL_ID)
        single_nal = entry.parameters.get("packetization-mode", "0") != "1"
        if entry.codec == "H264" and not single_nal and _PROFILE_LEVEL_ID.fullmatch(profile):
            candidates.append((entry.payload_type, profile))
    if not candidates:
        return None
    known = [s.profile_level_id for s in streams if s is not None and s.profile_level_id is not None]
    # One format carries both streams of a camera, so that a viewer can be switched: it has to decode the
    # richer profile.
    richest = max(known, key=_profile_idc, default=None)
    payload_type, profile = choose_format(candidates, richest)
    # The profile must stay the offered one (RFC 6184 section 8.2.2), the level is the streams' own.
    level = max((text[4:].lower() for text in known), default=profile[4:])
    parameters = f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile[:4]}{level}"
    return Format("H264", payload_type, parameters, None)


def _profile_tier_level(parameters: dict[str, str]) -> tuple[int, int, int] | None:
    """profile-id, tier-flag and level-id of an a=fmtp, with the defaults of RFC 7798 section 7.1."""
    values = _parameters(DEFAULT_PROFILE_TIER_LEVEL) | parameters
    texts = values["profile-id"], values["tier-flag"], values["level-id"]
    if not all(map(_NUMBER.fullmatch, texts)):
        return None
    profile, tier, level = map(int, texts)
    return profile, tier, level


def _stream_tier_level(stream: VideoReport | None) -> tuple[int, int, int] | None:
    if stream is None or stream.profile_tier_level is None:
        return None
    return _profile_tier_level(_parameters(stream.profile_tier_level))


def _h265(offered: Iterable[OfferedFormat], streams: Sequence[VideoReport | None]) -> Format | None:
    """None also when no offered profile decodes every stream: Main decoders do not take Main 10."""
    known = [found for stream in streams if (found := _stream_tier_level(stream)) is not None]
    profiles = {profile for profile, _, _ in known}
    tier = max((tier for _, tier, _ in known), default=0)
    fitting = []
    for entry in offered:
        if entry.codec != "H265" or entry.parameters.get("tx-mode", "SRST").upper() != "SRST":
            continue
        terms = _profile_tier_level(entry.parameters)
        if terms is not None and all(terms[0] in _H265_DECODES.get(p, (p,)) for p in profiles):
            fitting.append((entry, terms))
    if not fitting:
        return None
    # The exact profile first. The tier bounds no more than the bit rate: decoders of the Main tier that
    # browsers have take the High tier at the rates of cameras.
    entry, terms = min(fitting, key=lambda found: (found[1][0] not in profiles, found[1][1] != tier))
    # Profile and tier must stay the offered ones (RFC 7798 section 7.2.2), the level is the streams' own.
    level = max((level for _, _, level in known), default=terms[2])
    level = next((number for number in _H265_LEVELS if number >= level), _H265_LEVELS[-1])
    parameters = f"level-id={level};profile-id={terms[0]};tier-flag={terms[1]}"
    if "tx-mode" in entry.parameters:
        parameters += ";tx-mode=SRST"
    return Format("H265", entry.payload_type, parameters, None)


_CHOOSERS = {"H264": _h264, "H265": _h265}


def _retransmission(offered: Iterable[OfferedFormat], payload_type: int) -> int | None:
    """The RTX payload type that repeats another (`apt`, RFC 4588 section 8.1)."""
    for entry in offered:
        if entry.codec == "RTX" and entry.parameters.get("apt") == str(payload_type):
            return entry.payload_type
    return None


def choose_video(
    offered: Sequence[OfferedFormat], codec: str, streams: Sequence[VideoReport | None]
) -> Format | None:
    """The offered payload type that carries all these streams of one codec; None: there is none.

    A stream of which nothing is known yet (None) asks for no profile.
    """
    found = _CHOOSERS[codec](offered, streams)
    if found is None:
        return None
    rtx = _retransmission(offered, found.payload_type)
    return Format(found.codec, found.payload_type, found.parameters, rtx)


def is_passed_through(audio: AudioReport) -> bool:
    """Whether a camera's audio is one of AUDIO_CODECS in the form in which browsers take it."""
    if audio.codec == "OPUS":
        return True
    # RFC 3551 section 4.5: 8000 per second, also where G.722 samples twice as often; one channel.
    return audio.codec in AUDIO_CODECS and audio.clock_rate == 8000 and audio.channels <= 1


def choose_audio(offered: Iterable[OfferedFormat], codec: str, stereo: bool) -> Format | None:
    """The offered payload type for an audio codec; None: there is none."""
    entry = next((entry for entry in offered if entry.codec == codec), None)
    if entry is None:
        return None
    parameters = ""
    if codec == "OPUS":
        parameters = "minptime=10;useinbandfec=1" + (";stereo=1;sprop-stereo=1" if stereo else "")
    return Format(codec, entry.payload_type, parameters, None)


def offered_feedback(media: Media, formats: Iterable[Format]) -> frozenset[str]:
    """What is offered for all the formats, `*` lines included (RFC 4585 section 4.2)."""
    offered: dict[str, set[str]] = {}
    for value in media.attributes.all("rtcp-fb"):
        number, _, name = value.partition(" ")
        offered.setdefault(number, set()).add(" ".join(name.split()))
    common = offered.get("*", set())
    return frozenset.intersection(
        *(frozenset(offered.get(str(entry.payload_type), set()) | common) for entry in formats)
    )
