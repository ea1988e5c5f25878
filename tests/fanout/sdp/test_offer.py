"""Offers of real browsers and of nobody: what of a camera they are sent, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import AudioReport, RenditionFormat
from fanout.egress import Extensions
from fanout.ice.session import RemoteIce
from fanout.sdp.answer import answer
from fanout.sdp.offer import MAX_CANDIDATES, BadOffer, NotAcceptable, Offer, parse_offer
from tests.fanout import offers
from tests.fanout.offers import (
    CHROMIUM,
    CHROMIUM_CAPTURE_TIME,
    CHROMIUM_H265,
    FIREFOX,
    FIREFOX_WITHOUT_H264,
    SAFARI,
    camera,
    h264,
    h265,
)

HIGH = camera(h264("640028"))
NOT_KNOWN = camera(None)
TRANSPORT = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"


def without(text: str, sdp: str = CHROMIUM) -> str:
    return "".join(line for line in sdp.splitlines(True) if text not in line)


def video_section(sdp: str, change: str, to: str) -> str:
    """CHROMIUM-like offers with a change in the video section, which is the last."""
    at = sdp.index("m=video")
    return sdp[:at] + sdp[at:].replace(change, to)


def video_codecs(offer: Offer) -> list[str]:
    return [entry.codec for entry in offer.video.formats]


def audio_codecs(offer: Offer) -> list[str]:
    return [entry.codec for entry in offer.audio.formats] if offer.audio is not None else []


@pytest.mark.parametrize(
    ("sdp", "extensions"),
    [
        (CHROMIUM, Extensions(transport_sequence=3, playout_delay=5)),
        (CHROMIUM_CAPTURE_TIME, Extensions(transport_sequence=4, capture_time=13, playout_delay=5)),
        (CHROMIUM_H265, Extensions(transport_sequence=3, playout_delay=5)),
        (SAFARI, Extensions(transport_sequence=4, playout_delay=5)),
        (FIREFOX, Extensions(transport_sequence=7, playout_delay=6)),
    ],
)
def test_what_browsers_take(sdp: str, extensions: Extensions) -> None:
    offer = parse_offer(sdp, camera(h264("640028"), audio=offers.OPUS))
    video, audio = offer.video, offer.audio
    assert video_codecs(offer) == ["H264"] and offer.renditions == ("main",)
    assert video.formats[0].rtx_payload_type == video.formats[0].payload_type + 1
    assert video.feedback == {"nack", "nack pli", "ccm fir", "transport-cc"}
    assert video.extensions == extensions
    assert audio is not None and audio_codecs(offer) == ["OPUS"]
    assert audio.feedback == {"transport-cc"}
    assert audio.extensions == Extensions(transport_sequence=extensions.transport_sequence)
    assert {offer.sections[video.section].kind, offer.sections[audio.section].kind} == {"video", "audio"}
    assert offer.bundle and offer.transport == 0
    assert offer.fingerprints[0][0] == "sha-256" and len(offer.fingerprints) == 1


HEVC = h265(1)
BASELINE = h264("42e01e")


@pytest.mark.parametrize(
    ("sdp", "renditions", "codecs", "names"),
    [
        (CHROMIUM_H265, camera(HEVC), ["H265"], ("main",)),
        (CHROMIUM_H265, camera(HEVC, BASELINE), ["H265", "H264"], ("main", "sub")),
        (CHROMIUM_H265, camera(BASELINE, HEVC), ["H264", "H265"], ("main", "sub")),
        (CHROMIUM_H265, camera(HEVC, h265(2)), ["H265"], ("main", "sub")),
        # An H.265 main with an H.264 sub, in a browser that has no H.265.
        (CHROMIUM, camera(HEVC, BASELINE), ["H264"], ("sub",)),
        (FIREFOX, camera(HEVC, BASELINE), ["H264"], ("sub",)),
        (CHROMIUM, camera(offers.JPEG, BASELINE), ["H264"], ("sub",)),
        (CHROMIUM, camera(BASELINE, offers.JPEG), ["H264"], ("main",)),
        # A Main 10 main, which this browser does not decode.
        (SAFARI, camera(h265(2), HEVC), ["H265"], ("sub",)),
        (SAFARI, camera(HEVC, h265(2)), ["H265"], ("main",)),
        # What is not known yet may be anything that is given.
        (CHROMIUM, camera(None), ["H264"], ("main",)),
        (CHROMIUM_H265, camera(None), ["H264", "H265"], ("main",)),
        (CHROMIUM_H265, camera(None, HEVC), ["H264", "H265"], ("main", "sub")),
        (CHROMIUM_H265, camera(HEVC, None), ["H265", "H264"], ("main", "sub")),
        (CHROMIUM, camera(HEVC, None), ["H264"], ("sub",)),
    ],
)
def test_the_formats_of_main_and_sub(
    sdp: str, renditions: tuple[RenditionFormat, ...], codecs: list[str], names: tuple[str, ...]
) -> None:
    offer = parse_offer(sdp, renditions)
    assert video_codecs(offer) == codecs
    assert offer.renditions == names


def sub_with(audio: AudioReport | None) -> RenditionFormat:
    return RenditionFormat("sub", h264("42e01e"), audio)


@pytest.mark.parametrize(
    ("renditions", "codecs"),
    [
        (camera(h264("640028")), []),
        (camera(h264("640028"), audio=offers.PCMA), ["PCMA"]),
        (camera(h264("640028"), audio=offers.AAC), []),
        ((*camera(h264("640028"), audio=offers.AAC), sub_with(offers.PCMA)), ["PCMA"]),
        ((*camera(h264("640028"), audio=offers.PCMA), sub_with(offers.OPUS)), ["PCMA", "OPUS"]),
        (camera(None), ["OPUS", "PCMA", "PCMU", "G722"]),
        (camera(h264("640028"), None, audio=offers.PCMA), ["PCMA", "OPUS", "PCMU", "G722"]),
    ],
)
def test_the_formats_of_audio(renditions: tuple[RenditionFormat, ...], codecs: list[str]) -> None:
    assert audio_codecs(parse_offer(CHROMIUM, renditions)) == codecs


def test_opus_says_whether_it_is_stereo() -> None:
    mono = AudioReport("OPUS", 48_000, 1, None)
    for renditions, stereo in (
        (camera(h264(None), audio=mono), False),
        (camera(h264(None), audio=offers.OPUS), True),
        ((*camera(h264(None), audio=offers.OPUS), sub_with(mono)), True),
        ((*camera(h264(None), audio=mono), sub_with(offers.OPUS)), True),
    ):
        audio = parse_offer(CHROMIUM, renditions).audio
        assert audio is not None and ("sprop-stereo=1" in audio.formats[0].parameters) is stereo


PCMA = camera(h264("640028"), audio=offers.PCMA)


@pytest.mark.parametrize(
    "sdp",
    [
        without("a=group:BUNDLE"),
        CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 1"),
        CHROMIUM.replace("a=recvonly", "a=sendonly", 1),
        CHROMIUM.replace("m=audio 9 ", "m=audio 0 "),
        CHROMIUM.replace("PCMA/8000", "PCMX/8000"),
    ],
)
def test_audio_that_is_not_asked_for_or_outside_the_bundle(sdp: str) -> None:
    offer = parse_offer(sdp, PCMA)
    assert offer.audio is None
    assert audio_codecs(parse_offer(CHROMIUM, PCMA)) == ["PCMA"]


def test_transport_feedback_needs_rtx_the_extension_and_the_feedback_line() -> None:
    opus = camera(h264("640028"), audio=offers.OPUS)
    for sdp in (
        without(" rtx/90000"),
        without(TRANSPORT),
        video_section(CHROMIUM, "extmap:3 ", "extmap:15 "),
        video_section(CHROMIUM, "extmap:3 ", "extmap:0 "),
        video_section(CHROMIUM, "extmap:3 ", "extmap:3/sendonly "),
        video_section(CHROMIUM, "extmap:3 ", "extmap:3/inactive "),
        video_section(CHROMIUM, f"a=extmap:3 {TRANSPORT}", f"a=extmap:5 {TRANSPORT}"),
        without("transport-cc"),
    ):
        offer = parse_offer(sdp, opus)
        assert offer.video.extensions.transport_sequence == 0
        assert offer.video.feedback == {"nack", "nack pli", "ccm fir", "goog-remb"}
        assert offer.audio is not None and offer.audio.extensions == Extensions()
        assert offer.audio.feedback == set()


@pytest.mark.parametrize(
    "sdp",
    [
        CHROMIUM.replace("extmap:3 ", "extmap:9 ", 1),
        CHROMIUM.replace(f"a=extmap:3 {TRANSPORT}\r\n", "", 1),
        CHROMIUM.replace("a=rtcp-fb:111 transport-cc\r\n", ""),
    ],
)
def test_audio_takes_part_in_transport_feedback_under_the_same_id_only(sdp: str) -> None:
    offer = parse_offer(sdp, camera(h264("640028"), audio=offers.OPUS))
    assert offer.video.extensions.transport_sequence == 3
    assert offer.audio is not None
    assert (offer.audio.extensions, offer.audio.feedback) == (Extensions(), set())


def test_the_direction_of_an_extension_and_its_attributes() -> None:
    for line in ("5/recvonly {}", "5/sendrecv {}", "5 {} some attributes", "5  {}"):
        uri = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
        sdp = CHROMIUM.replace(f"a=extmap:5 {uri}", "a=extmap:" + line.format(uri))
        assert parse_offer(sdp, HIGH).video.extensions.playout_delay == 5


def test_retransmission_of_each_format_by_its_own_payload_type() -> None:
    offer = parse_offer(CHROMIUM_H265, camera(h265(1), h264("42e01e")))
    assert [(f.payload_type, f.rtx_payload_type) for f in offer.video.formats] == [(49, 50), (108, 109)]
    offer = parse_offer(without("apt=49", CHROMIUM_H265), camera(h265(1), h264("42e01e")))
    assert [f.rtx_payload_type for f in offer.video.formats] == [None, 109]
    assert "transport-cc" not in offer.video.feedback


def candidates(count: int) -> str:
    return "".join(f"a=candidate:{n} 1 udp {n} {n % 200}a.local 5000 typ host\r\n" for n in range(count))


def test_the_viewers_side_of_ice() -> None:
    assert parse_offer(CHROMIUM, HIGH).ice == RemoteIce("yKgp", "y8xem8/usWMiKMZ3jwlQaaVC")
    audio_at, video_at = CHROMIUM.index("a=mid:0"), CHROMIUM.index("a=mid:1")
    first, second = (f"candidate:{n} 1 udp 2113937151 192.0.2.{n} 5000 typ host" for n in (1, 2))
    sdp = (
        f"{CHROMIUM[:audio_at]}a={first}\r\n{CHROMIUM[audio_at:video_at]}a={first}\r\na={second}\r\n"
        f"a=candidate:3 \x01\r\na=candidate:{'4' * 600}\r\na=end-of-candidates\r\n{CHROMIUM[video_at:]}"
    )
    assert parse_offer(sdp, HIGH).ice.candidates == (first, second)
    assert "y8xem8" not in repr(parse_offer(sdp, HIGH))
    assert len(parse_offer(CHROMIUM + candidates(MAX_CANDIDATES), HIGH).ice.candidates) == MAX_CANDIDATES
    with pytest.raises(BadOffer, match="candidates"):
        parse_offer(CHROMIUM + candidates(MAX_CANDIDATES + 1), HIGH)


def test_the_bundles_first_section_has_the_transport() -> None:
    at = CHROMIUM.index("m=video")
    audio, video = CHROMIUM[:at], CHROMIUM[at:]
    other = parse_offer(audio + video.replace("yKgp", "other"), HIGH)
    assert (other.transport, other.ice.ufrag) == (0, "yKgp")
    rejected = parse_offer(audio.replace("m=audio 9", "m=audio 0") + video.replace("yKgp", "other"), HIGH)
    assert (rejected.transport, rejected.ice.ufrag) == (1, "other")
    alone = parse_offer(without("a=group", audio + video.replace("yKgp", "other")), HIGH)
    assert (alone.bundle, alone.transport, alone.ice.ufrag) == (False, 1, "other")
    data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\na=ice-ufrag:data\r\n"
    offer = parse_offer(CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 2 1 0") + data, HIGH)
    assert (offer.transport, offer.ice.ufrag) == (1, "yKgp")


def test_a_bundle_only_video_takes_the_transport_of_its_bundle() -> None:
    at = CHROMIUM.index("m=video")
    video = "".join(
        line
        for line in CHROMIUM[at:].splitlines(True)
        if not line.startswith(("a=ice-", "a=fingerprint", "a=setup"))
    )
    video = video.replace("m=video 9 ", "m=video 0 ").replace("a=mid:1", "a=bundle-only\r\na=mid:1")
    offer = parse_offer(CHROMIUM[:at] + video, HIGH)
    assert offer.ice == parse_offer(CHROMIUM, HIGH).ice
    assert offer.fingerprints and offer.bundle and offer.transport == 0


def test_the_direction_may_be_that_of_the_session() -> None:
    with pytest.raises(NotAcceptable, match="only send"):
        parse_offer(without("a=recvonly").replace("t=0 0", "t=0 0\r\na=sendonly"), HIGH)
    assert parse_offer(without("a=recvonly"), HIGH).renditions == ("main",)


def test_the_first_video_section_that_fits_is_taken() -> None:
    at = SAFARI.index("m=audio")
    start, video = SAFARI.index("m=video"), SAFARI[SAFARI.index("m=video") : at]
    second = video.replace("a=mid:0", "a=mid:2").replace("H264/", "H999/")
    sdp = SAFARI[:start] + second + video + SAFARI[at:]
    offer = parse_offer(sdp, HIGH)
    assert (offer.video.section, offer.transport) == (1, 1)


@pytest.mark.parametrize(
    ("sdp", "renditions", "words"),
    [
        (CHROMIUM[: CHROMIUM.index("m=video")], HIGH, "no video section"),
        (CHROMIUM.replace("m=video 9 ", "m=video 0 "), HIGH, "only send"),
        (CHROMIUM.replace("a=recvonly", "a=sendonly"), HIGH, "only send"),
        (CHROMIUM.replace("setup:actpass", "setup:passive"), HIGH, "setup:passive"),
        (CHROMIUM.replace("H264/", "H999/"), HIGH, r"no H\.264 with packetization-mode=1"),
        (CHROMIUM.replace("H264/", "H999/"), NOT_KNOWN, r"no H\.264"),
        (
            CHROMIUM.replace("packetization-mode=1", "packetization-mode=0"),
            HIGH,
            "packetization-mode=1",
        ),
        (FIREFOX_WITHOUT_H264, HIGH, "OpenH264"),
        (
            CHROMIUM,
            camera(h265(1)),
            r"sends H265 Main and .* set the camera to H264.*browser that plays H265",
        ),
        (CHROMIUM, camera(h265(1), offers.JPEG), "sends H265 Main and the offer"),
        (SAFARI, camera(h265(2)), "sends H265 Main and the offer"),
        (CHROMIUM, camera(offers.JPEG), "sends JPEG Baseline; only H264 and H265 .* set the camera to H264"),
        (CHROMIUM, camera(offers.JPEG, offers.JPEG), "sends JPEG Baseline; only"),
    ],
)
def test_not_acceptable(sdp: str, renditions: tuple[RenditionFormat, ...], words: str) -> None:
    with pytest.raises(NotAcceptable, match=words):
        parse_offer(sdp, renditions)


@pytest.mark.parametrize(
    ("sdp", "words"),
    [
        ("", "begin with v=0"),
        ("v=0\r\nm=video\r\n", "malformed m="),
        ("v=0\r\n" + "a=x\r\n" * 20_000, "at most"),
        (without("ice-pwd"), "ice-pwd"),
        (without("ice-ufrag"), "ice-ufrag"),
        (CHROMIUM.replace("ice-pwd:y", "ice-pwd:\x01"), "ice-pwd"),
        (without("a=fingerprint"), "fingerprint"),
        (CHROMIUM.replace("fingerprint:sha-256", "fingerprint:"), "fingerprint"),
        (without("a=mid"), "a=mid"),
        (CHROMIUM.replace("a=mid:1", "a=mid:1 \x01"), "a=mid"),
        (CHROMIUM.replace("a=mid:1", "a=mid:0"), "two sections"),
    ],
)
def test_bad_offers(sdp: str, words: str) -> None:
    with pytest.raises(BadOffer, match=words):
        parse_offer(sdp, HIGH)


def test_an_unlisted_payload_type_is_not_taken() -> None:
    offer = parse_offer(CHROMIUM.replace(" 108 ", " "), camera(h264("42e01f")))
    assert offer.video.formats[0].payload_type != 108


@given(st.text(max_size=300))
def test_fuzz_text(text: str) -> None:
    for sdp in (text, "v=0\r\n" + text, CHROMIUM + text, CHROMIUM + "a=" + text):
        try:
            parse_offer(sdp, NOT_KNOWN)
        except (BadOffer, NotAcceptable):
            continue


_NAMES = st.sampled_from(
    ["rtpmap", "fmtp", "rtcp-fb", "extmap", "candidate", "group", "fingerprint", "ice-ufrag", "setup", "mid"]
)


@given(st.lists(st.tuples(_NAMES, st.text(max_size=30)), max_size=8), st.booleans())
def test_fuzz_attributes(lines: list[tuple[str, str]], session: bool) -> None:
    text = "".join(f"a={name}:{value}\r\n" for name, value in lines)
    at = CHROMIUM_H265.index("m=audio") if session else CHROMIUM_H265.rindex("a=recvonly")
    _answered_or_refused(CHROMIUM_H265[:at] + text + CHROMIUM_H265[at:])


@given(st.integers(0, len(CHROMIUM_H265)), st.integers(0, 40), st.text(max_size=20))
def test_fuzz_changed_offer(at: int, cut: int, put: str) -> None:
    _answered_or_refused(CHROMIUM_H265[:at] + put + CHROMIUM_H265[at + cut :])


def _answered_or_refused(sdp: str) -> None:
    try:
        offer = parse_offer(sdp, camera(None, h265(1)))
    except (BadOffer, NotAcceptable):
        return
    text = answer(offer, offers.LITE, 1)
    assert all(line.isprintable() and line.isascii() for line in text.split("\r\n"))
