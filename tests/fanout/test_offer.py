"""Offers of real browsers and of nobody: what is answered, what is refused."""

from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from fanout.answer import LocalEnd, answer
from fanout.offer import BadOffer, NotAcceptable, choose_format, parse_offer

CHROMIUM = (Path(__file__).parent.parent / "testdata/sdp/chromium_audio_video.sdp").read_bytes().decode()
LOCAL = LocalEnd("ufrag123", "p" * 24, "AA:BB", ("127.0.0.1", "192.0.2.5"), 8189, 77, "cctv3", "gate")


def without(text: str) -> str:
    return "".join(line for line in CHROMIUM.splitlines(True) if text not in line)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [("640028", "f40028"), ("4d0029", "4d0029"), ("42e01e", "42e01e"), ("42001e", "42001e"), (None, None)],
)
def test_chromium_gets_the_streams_own_profile(stream: str | None, expected: str | None) -> None:
    offer = parse_offer(CHROMIUM, stream)
    assert offer.sections[offer.video].kind == "video"
    if expected is not None:
        assert offer.profile_level_id == expected
    text = answer(offer, LOCAL, 1)
    session = SessionDescription.parse(text)
    audio, video = session.media
    assert (audio.port, audio.direction) == (8189, "inactive")
    assert (video.port, video.direction) == (8189, "sendonly")
    assert video.ice.iceLite and video.dtls is not None and video.dtls.role == "server"
    assert "a=setup:passive\r\n" in text and "a=ice-lite\r\n" in text
    assert [codec.mimeType for codec in video.rtp.codecs] == ["video/H264"]
    assert [c.ip for c in video.ice_candidates] == ["127.0.0.1", "192.0.2.5"]
    assert session.group[0].items == [audio.rtp.muxId, video.rtp.muxId]
    assert {f"{f.type} {f.parameter}" for f in video.rtp.codecs[0].rtcpFeedback} == {"nack pli", "ccm fir"}


def test_without_a_bundle_the_answer_has_none() -> None:
    text = answer(parse_offer(without("a=group:BUNDLE"), "42e01f"), LOCAL, 1)
    audio, video = SessionDescription.parse(text).media
    assert "BUNDLE" not in text and audio.port == 0 and video.port == 8189


def test_a_bundle_only_video_takes_the_transport_of_its_bundle() -> None:
    at = CHROMIUM.index("m=video")
    video = "".join(
        line
        for line in CHROMIUM[at:].splitlines(True)
        if not line.startswith(("a=ice-", "a=fingerprint", "a=setup"))
    )
    video = video.replace("m=video 9 ", "m=video 0 ").replace("a=mid:1", "a=bundle-only\r\na=mid:1")
    offer = parse_offer(CHROMIUM[:at] + video, "42e01f")
    assert offer.ice_ufrag == parse_offer(CHROMIUM, "42e01f").ice_ufrag
    assert offer.fingerprints and offer.bundle == ("0", "1")


def test_a_section_that_is_not_offered_is_not_answered() -> None:
    with pytest.raises(NotAcceptable):
        parse_offer(CHROMIUM.replace("m=video 9 ", "m=video 0 "), None)


@pytest.mark.parametrize("payload_type", ["4000000", "200", "72", "95"])
def test_payload_types_that_rtp_cannot_carry_are_not_taken(payload_type: str) -> None:
    sdp = CHROMIUM.replace(":108 ", f":{payload_type} ").replace(" 108 ", f" {payload_type} ")
    try:
        offer = parse_offer(sdp, "42e01f")
    except BadOffer:
        return
    assert offer.payload_type < 128 and offer.payload_type != int(payload_type)


def test_an_unlisted_payload_type_is_not_taken() -> None:
    assert parse_offer(CHROMIUM.replace(" 108 ", " "), "42e01f").payload_type != 108


def test_an_offer_made_to_be_slow_is_refused_before_it_is_parsed() -> None:
    # aiortc.sdp takes the product of the two: 7 s for this one.
    lines = "".join(f"a=rtpmap:{n % 60} X/90000\r\na=rtcp-fb:* nack\r\n" for n in range(1500))
    with pytest.raises(BadOffer, match="lines of"):
        parse_offer(CHROMIUM + lines, None)


BASELINE, MAIN, HIGH = (96, "42e01f"), (98, "4d001f"), (100, "64001f")


@pytest.mark.parametrize(
    ("offered", "stream", "expected"),
    [
        ([BASELINE, MAIN, HIGH], "640028", HIGH),
        ([BASELINE, MAIN, HIGH], "4d0028", MAIN),
        ([BASELINE, HIGH], "4d0028", HIGH),
        ([MAIN, HIGH], "42e01f", MAIN),
        ([BASELINE], "640028", BASELINE),
        ([(95, "42001f"), BASELINE], "42e01e", BASELINE),
        ([HIGH, BASELINE], None, HIGH),
        ([HIGH], "58001f", HIGH),
        ([BASELINE, (41, "f4001f")], "640028", (41, "f4001f")),
    ],
)
def test_format_choice(offered: list[tuple[int, str]], stream: str | None, expected: tuple[int, str]) -> None:
    assert choose_format(offered, stream) == expected


@pytest.mark.parametrize(
    ("sdp", "error", "words"),
    [
        ("", BadOffer, "begin with v=0"),
        ("hello", BadOffer, "begin with v=0"),
        ("v=0\r\nm=video\r\n", BadOffer, "not valid SDP"),
        ("v=0\r\n" + "a=x\r\n" * 20_000, BadOffer, "at most"),
        (CHROMIUM[: CHROMIUM.index("m=video")], NotAcceptable, "no video section"),
        (CHROMIUM.replace("H264/", "H999/"), NotAcceptable, "no H.264"),
        (
            CHROMIUM.replace("packetization-mode=1", "packetization-mode=0"),
            NotAcceptable,
            "packetization-mode",
        ),
        (CHROMIUM.replace("a=recvonly", "a=sendonly"), NotAcceptable, "only send"),
        (without("ice-pwd"), BadOffer, "ice-pwd"),
        (without("a=fingerprint"), BadOffer, "fingerprint"),
        (CHROMIUM.replace("setup:actpass", "setup:passive"), NotAcceptable, "setup:passive"),
        (without("a=mid"), BadOffer, "a=mid"),
        (CHROMIUM.replace("a=mid:1", "a=mid:1 \x01"), BadOffer, "a=mid"),
    ],
)
def test_refused(sdp: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        parse_offer(sdp, "640028")


@given(st.text(max_size=300))
def test_fuzz_text(text: str) -> None:
    for sdp in (text, "v=0\r\n" + text, CHROMIUM + text):
        try:
            parse_offer(sdp, None)
        except (BadOffer, NotAcceptable):
            continue


@given(st.integers(0, len(CHROMIUM)), st.integers(0, 40), st.text(max_size=20))
def test_fuzz_changed_offer(at: int, cut: int, put: str) -> None:
    try:
        offer = parse_offer(CHROMIUM[:at] + put + CHROMIUM[at + cut :], "640028")
    except (BadOffer, NotAcceptable):
        return
    text = answer(offer, LOCAL, 1)
    assert all(line.isprintable() for line in text.split("\r\n"))
