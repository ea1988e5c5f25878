"""Answers as aiortc and Chromium read them."""

from dataclasses import replace

import pytest
from aiortc.sdp import MediaDescription, SessionDescription

from common.messages import RenditionFormat
from fanout.sdp.answer import answer
from fanout.sdp.offer import EXTENSIONS, parse_offer
from tests.fanout import offers
from tests.fanout.offers import (
    ALL,
    CHROMIUM,
    CHROMIUM_CAPTURE_TIME,
    CHROMIUM_H265,
    FIREFOX,
    FULL,
    LITE,
    SAFARI,
    camera,
    h264,
    h265,
)
from tests.support.browser import chromium

HIGH = camera(h264("640028"))
HIGH_AND_OPUS = camera(h264("640028"), audio=offers.OPUS)


def answered(sdp: str, renditions: tuple[RenditionFormat, ...]) -> dict[str, MediaDescription]:
    """The answer of an ICE-lite end as aiortc reads it, by kind of section."""
    text = answer(parse_offer(sdp, renditions), LITE, 1)
    return {media.kind: media for media in SessionDescription.parse(text).media}


def codecs(media: MediaDescription) -> dict[int, str]:
    return {codec.payloadType: codec.name for codec in media.rtp.codecs}


def lines(sdp: str, renditions: tuple[RenditionFormat, ...], kind: str) -> list[str]:
    """The lines of one section of the answer."""
    text = answer(parse_offer(sdp, renditions), LITE, 1)
    section = next(part for part in text.split("\r\nm=")[1:] if part.startswith(kind))
    return section.split("\r\n")


@pytest.mark.parametrize("sdp", ALL)
def test_video_and_audio_over_one_transport(sdp: str) -> None:
    text = answer(parse_offer(sdp, HIGH_AND_OPUS), LITE, 1)
    session = SessionDescription.parse(text)
    offered = SessionDescription.parse(sdp)
    assert [media.kind for media in session.media] == [media.kind for media in offered.media]
    assert session.group[0].items == [media.rtp.muxId for media in offered.media]
    for media in session.media:
        assert (media.port, media.direction, media.host) == (8189, "sendonly", "127.0.0.1")
        assert media.rtcp_mux and media.profile == "UDP/TLS/RTP/SAVPF"
        assert media.ice.iceLite and media.ice.usernameFragment == "ufrag123"
        assert media.dtls is not None and media.dtls.role == "server"
        assert [c.ip for c in media.ice_candidates] == ["127.0.0.1", "2001:db8::5", "127.0.0.1"]
        assert media.ice_candidates_complete and media.ice_options is None
        assert media.msid == f"gate {media.kind}"
    sections = {media.kind: media for media in session.media}
    assert list(codecs(sections["video"]).values()) == ["H264", "rtx"]
    assert [(s.ssrc, s.cname) for s in sections["video"].ssrc] == [(77, "cctv3"), (78, "cctv3")]
    assert [(g.semantic, g.items) for g in sections["video"].ssrc_group] == [("FID", [77, 78])]
    assert list(codecs(sections["audio"]).values()) == ["opus"]
    assert [(s.ssrc, s.cname) for s in sections["audio"].ssrc] == [(79, "cctv3")]
    assert sections["audio"].ssrc_group == []
    assert text.startswith("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n")
    assert text.count("\n") == text.count("\r\n") == len(text.splitlines())


def test_full_ice_trickles() -> None:
    offer = parse_offer(CHROMIUM, HIGH_AND_OPUS)
    for media in SessionDescription.parse(answer(offer, FULL, 1)).media:
        assert not media.ice.iceLite and media.ice_options == "trickle"
        assert len(media.ice_candidates) == 1 and media.ice_candidates_complete
        assert media.dtls is not None and media.dtls.role == "server"


def test_an_ipv6_address() -> None:
    text = answer(parse_offer(CHROMIUM, HIGH), replace(LITE, address="2001:db8::5"), 1)
    assert "c=IN IP6 2001:db8::5\r\n" in text and "IP4 2001" not in text
    assert SessionDescription.parse(text).media[1].host == "2001:db8::5"


@pytest.mark.parametrize(
    ("stream", "profile"),
    [("640028", "f40028"), ("4d0029", "4d0029"), ("42e01e", "42e01e"), ("42001e", "42001e")],
)
def test_the_streams_own_profile(stream: str, profile: str) -> None:
    video = answered(CHROMIUM, camera(h264(stream)))["video"]
    parameters = video.rtp.codecs[0].parameters
    assert parameters == {
        "level-asymmetry-allowed": "1",
        "packetization-mode": "1",
        "profile-level-id": profile,
    }


def test_h265_with_its_h264_sub_stream() -> None:
    renditions = camera(h265(2, 0, 150), h264("42e01e"))
    video = lines(CHROMIUM_H265, renditions, "video")
    assert video[0] == "video 8189 UDP/TLS/RTP/SAVPF 51 108 52 109"
    assert [line for line in video if line.startswith(("a=rtpmap", "a=fmtp"))] == [
        "a=rtpmap:51 H265/90000",
        "a=fmtp:51 level-id=150;profile-id=2;tier-flag=0;tx-mode=SRST",
        "a=rtpmap:52 rtx/90000",
        "a=fmtp:52 apt=51",
        "a=rtpmap:108 H264/90000",
        "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01e",
        "a=rtpmap:109 rtx/90000",
        "a=fmtp:109 apt=108",
    ]
    assert codecs(answered(CHROMIUM_H265, renditions)["video"]) == {
        51: "H265",
        52: "rtx",
        108: "H264",
        109: "rtx",
    }


@pytest.mark.parametrize(
    ("sdp", "extensions"),
    [
        (CHROMIUM, {3: "transport-wide-cc-extensions-01", 5: "playout-delay"}),
        (
            CHROMIUM_CAPTURE_TIME,
            {4: "transport-wide-cc-extensions-01", 13: "abs-capture-time", 5: "playout-delay"},
        ),
        (SAFARI, {4: "transport-wide-cc-extensions-01", 5: "playout-delay"}),
        (FIREFOX, {7: "transport-wide-cc-extensions-01", 6: "playout-delay"}),
    ],
)
def test_extensions_and_feedback(sdp: str, extensions: dict[int, str]) -> None:
    sections = answered(sdp, HIGH_AND_OPUS)
    video, audio = sections["video"], sections["audio"]
    names = {entry.id: entry.uri for entry in video.rtp.headerExtensions}
    assert names.keys() == extensions.keys()
    assert all(names[number].endswith(end) for number, end in extensions.items())
    assert [entry.id for entry in audio.rtp.headerExtensions] == [next(iter(extensions))]
    feedback = [" ".join(filter(None, (f.type, f.parameter))) for f in video.rtp.codecs[0].rtcpFeedback]
    assert feedback == ["ccm fir", "nack", "nack pli", "transport-cc"]
    assert [f.type for f in audio.rtp.codecs[0].rtcpFeedback] == ["transport-cc"]


def test_without_rtx_there_is_one_ssrc() -> None:
    video = answered(CHROMIUM.replace(" rtx/90000", " xrt/90000"), HIGH)["video"]
    assert list(codecs(video).values()) == ["H264"]
    assert [s.ssrc for s in video.ssrc] == [77] and video.ssrc_group == []
    assert "goog-remb" in {f.type for f in video.rtp.codecs[0].rtcpFeedback}


def test_the_first_of_the_bundle_keeps_the_transport_where_it_is_not_sent() -> None:
    sections = answered(CHROMIUM, HIGH)
    audio = sections["audio"]
    assert (audio.port, audio.direction, audio.ssrc, codecs(audio)) == (8189, "inactive", [], {111: "opus"})
    assert audio.ice.usernameFragment == "ufrag123" and audio.dtls is not None
    # Behind the video it is simply not taken.
    audio = answered(FIREFOX, HIGH)["audio"]
    assert (audio.port, audio.direction) == (0, "inactive")


def test_without_a_bundle_the_answer_has_none() -> None:
    sdp = CHROMIUM.replace("a=group:BUNDLE 0 1\r\n", "")
    text = answer(parse_offer(sdp, HIGH_AND_OPUS), LITE, 1)
    audio, video = SessionDescription.parse(text).media
    assert "BUNDLE" not in text and audio.port == 0 and video.port == 8189


def test_sections_that_nobody_asked_for_are_rejected_as_they_came() -> None:
    data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\n"
    sdp = CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0 1 2") + data
    text = answer(parse_offer(sdp, HIGH_AND_OPUS), LITE, 1)
    assert "a=group:BUNDLE 0 1\r\n" in text
    assert text.endswith(
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=inactive\r\n"
    )


_NEGOTIATE = """async ([sdp]) => {
    const connection = window.connection;
    await connection.setRemoteDescription({type: 'answer', sdp});
    return connection.getTransceivers().map(transceiver => ({
        kind: transceiver.receiver.track.kind,
        direction: transceiver.currentDirection,
        extensions: transceiver.getNegotiatedHeaderExtensions()
            .filter(entry => entry.direction !== 'stopped').map(entry => entry.uri),
    }));
}"""
_OFFER = """async ([kinds, captureTime]) => {
    const connection = window.connection = new RTCPeerConnection();
    for (const kind of kinds) {
        const transceiver = connection.addTransceiver(kind, {direction: 'recvonly'});
        if (captureTime) {
            const extensions = transceiver.getHeaderExtensionsToNegotiate();
            for (const entry of extensions)
                if (entry.uri.endsWith('abs-capture-time')) entry.direction = 'recvonly';
            transceiver.setHeaderExtensionsToNegotiate(extensions);
        }
    }
    await connection.setLocalDescription();
    return connection.localDescription.sdp;
}"""


async def test_chromium_takes_the_answers() -> None:
    video, audio = ("video", "recvonly"), ("audio", "recvonly")
    pcma = camera(h264("640028"), h264("42e01e"), audio=offers.PCMA)
    async with chromium() as browser:
        page = await browser.new_page()
        for kinds, renditions, sections in (
            (["video", "audio"], HIGH_AND_OPUS, [video, audio]),
            (["audio", "video"], HIGH_AND_OPUS, [audio, video]),
            (["audio", "video"], pcma, [audio, video]),
            (["audio", "video"], camera(None), [audio, video]),
            (["video", "audio"], HIGH, [video]),  # what is rejected is gone
            (["audio", "video"], HIGH, [("audio", "inactive"), video]),
            (["video"], HIGH, [video]),
        ):
            for capture_time, local in ((True, LITE), (False, FULL)):
                offer = parse_offer(await page.evaluate(_OFFER, [kinds, capture_time]), renditions)
                found = await page.evaluate(_NEGOTIATE, [answer(offer, local, 1)])
                assert [(entry["kind"], entry["direction"]) for entry in found] == sections
                uris = {EXTENSIONS["transport_sequence"]}
                extensions = {entry["kind"]: set(entry["extensions"]) for entry in found}
                if offer.audio is not None and "transport-cc" in offer.audio.feedback:
                    assert extensions["audio"] == uris
                uris.add(EXTENSIONS["playout_delay"])
                if capture_time:
                    uris.add(EXTENSIONS["capture_time"])
                assert extensions["video"] == uris
                assert offer.video.formats[0].rtx_payload_type is not None
