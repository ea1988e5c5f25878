"""Which payload type of an offer carries which stream."""

import pytest

from common.messages import AudioReport, VideoReport
from fanout.sdp.formats import (
    Format,
    OfferedFormat,
    choose_audio,
    choose_format,
    choose_video,
    is_passed_through,
    offered_feedback,
    offered_formats,
)
from fanout.sdp.reader import Media, read
from tests.fanout.offers import CHROMIUM, CHROMIUM_H265, FIREFOX, SAFARI, h264, h265


def section(sdp: str, kind: str) -> Media:
    return next(media for media in read(sdp).media if media.kind == kind)


def video(text: str) -> Media:
    """A section with these lines, whose m= line lists what its rtpmap lines do."""
    numbers = " ".join(line.split()[0].partition(":")[2] for line in text.splitlines() if "rtpmap" in line)
    return read(f"v=0\nm=video 9 UDP/TLS/RTP/SAVPF {numbers}\n{text}").media[0]


def test_what_chromium_offers() -> None:
    found = offered_formats(section(CHROMIUM_H265, "video"))
    codecs = {entry.payload_type: entry.codec for entry in found}
    assert [number for number, codec in codecs.items() if codec == "H265"] == [49, 51]
    assert [number for number, codec in codecs.items() if codec == "H264"] == [
        *(102, 104, 108, 114, 116, 39, 41, 43)
    ]
    assert next(e for e in found if e.payload_type == 51).parameters == {
        "level-id": "180",
        "profile-id": "2",
        "tier-flag": "0",
        "tx-mode": "SRST",
    }
    audio = offered_formats(section(CHROMIUM, "audio"))
    assert [(e.codec, e.payload_type) for e in audio] == [
        ("OPUS", 111),
        ("G722", 9),
        ("PCMU", 0),
        ("PCMA", 8),
    ]


def test_firefox_writes_the_channel_out() -> None:
    audio = offered_formats(section(FIREFOX, "audio"))
    assert [(e.codec, e.payload_type) for e in audio] == [
        ("OPUS", 109),
        ("G722", 9),
        ("PCMU", 0),
        ("PCMA", 8),
    ]


def test_static_payload_types_need_no_rtpmap() -> None:
    media = read("v=0\nm=audio 9 RTP/SAVPF 0 8 9 10 96\n").media[0]
    assert [(e.codec, e.payload_type) for e in offered_formats(media)] == [
        ("PCMU", 0),
        ("PCMA", 8),
        ("G722", 9),
    ]
    media = read("v=0\nm=audio 9 RTP/SAVPF 0\na=rtpmap:0 PCMU/16000\n").media[0]
    assert offered_formats(media) == []


@pytest.mark.parametrize("number", ["64", "95", "128", "200", "4000000", "-1", "x", "9" * 200])
def test_payload_types_that_rtp_cannot_carry(number: str) -> None:
    media = read(f"v=0\nm=video 9 RTP/SAVPF {number}\na=rtpmap:{number} H264/90000\n").media[0]
    assert offered_formats(media) == []


def test_a_payload_type_counts_once_and_only_where_it_is_listed() -> None:
    sdp = "v=0\nm=video 9 RTP/SAVPF 96 96\na=rtpmap:96 VP8/90000\na=rtpmap:96 H264/90000\n"
    assert offered_formats(read(sdp).media[0]) == []
    sdp = "v=0\nm=video 9 RTP/SAVPF 96\na=rtpmap:97 H264/90000\na=rtpmap:96 H264/8000\n"
    assert offered_formats(read(sdp).media[0]) == []


def test_parameters_with_blanks_and_capitals() -> None:
    media = video("a=rtpmap:96 h264/90000\na=fmtp:96 Packetization-Mode=1; profile-level-id=640028;;x")
    assert offered_formats(media) == [
        OfferedFormat("H264", 96, {"packetization-mode": "1", "profile-level-id": "640028", "x": ""})
    ]


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


def chosen(sdp: str, codec: str, *streams: VideoReport | None) -> Format | None:
    return choose_video(offered_formats(section(sdp, "video")), codec, streams)


@pytest.mark.parametrize(
    ("sdp", "streams", "payload_type", "profile", "rtx"),
    [
        (CHROMIUM, [h264("640028")], 41, "f40028", 42),
        (CHROMIUM, [h264("4d0029")], 116, "4d0029", 117),
        (CHROMIUM, [h264("42E01E")], 108, "42e01e", 109),
        (CHROMIUM, [h264("42001e")], 102, "42001e", 103),
        (CHROMIUM, [h264(None)], 102, "42001f", 103),
        (CHROMIUM, [None], 102, "42001f", 103),
        # The richer profile and the higher level of the two streams.
        (CHROMIUM, [h264("42e033"), h264("4d001e")], 116, "4d0033", 117),
        (CHROMIUM, [h264("640028"), None], 41, "f40028", 42),
        (SAFARI, [h264("640028")], 96, "640c28", 97),
        (SAFARI, [h264("4d0028")], 96, "640c28", 97),
        (FIREFOX, [h264("640028")], 126, "42e028", 127),
        (FIREFOX, [h264("42001e")], 105, "42001e", 106),
    ],
)
def test_h264(sdp: str, streams: list[VideoReport | None], payload_type: int, profile: str, rtx: int) -> None:
    parameters = f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
    assert chosen(sdp, "H264", *streams) == Format("H264", payload_type, parameters, rtx)


def test_h264_needs_packetization_mode_1() -> None:
    assert chosen(CHROMIUM.replace("packetization-mode=1", "packetization-mode=0"), "H264", None) is None
    assert choose_video(offered_formats(video("a=rtpmap:96 H264/90000")), "H264", [None]) is None
    broken = video("a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;profile-level-id=64")
    assert choose_video(offered_formats(broken), "H264", [None]) is None


@pytest.mark.parametrize(
    ("sdp", "streams", "payload_type", "parameters"),
    [
        (CHROMIUM_H265, [h265(1, 0, 93)], 49, "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"),
        (CHROMIUM_H265, [h265(2, 0, 150)], 51, "level-id=150;profile-id=2;tier-flag=0;tx-mode=SRST"),
        # A Main 10 decoder takes Main too, so that one format carries both.
        (CHROMIUM_H265, [h265(2), h265(1)], 51, "level-id=120;profile-id=2;tier-flag=0;tx-mode=SRST"),
        (CHROMIUM_H265, [h265(1), h265(2)], 51, "level-id=120;profile-id=2;tier-flag=0;tx-mode=SRST"),
        (CHROMIUM_H265, [h265(3)], 49, "level-id=120;profile-id=1;tier-flag=0;tx-mode=SRST"),
        # Tier and profile stay the offered ones; a level that no table has is rounded up.
        (CHROMIUM_H265, [h265(1, 1, 121)], 49, "level-id=123;profile-id=1;tier-flag=0;tx-mode=SRST"),
        (CHROMIUM_H265, [h265(1, 0, 255)], 49, "level-id=186;profile-id=1;tier-flag=0;tx-mode=SRST"),
        (CHROMIUM_H265, [None], 49, "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"),
        (CHROMIUM_H265, [h265(None)], 49, "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"),
        (SAFARI, [h265(1, 0, 153)], 104, "level-id=153;profile-id=1;tier-flag=0;tx-mode=SRST"),
    ],
)
def test_h265(sdp: str, streams: list[VideoReport | None], payload_type: int, parameters: str) -> None:
    found = chosen(sdp, "H265", *streams)
    assert found == Format("H265", payload_type, parameters, payload_type + 1)


def test_a_main_decoder_does_not_take_main_10() -> None:
    assert chosen(SAFARI, "H265", h265(2)) is None
    assert chosen(SAFARI, "H265", h265(1), h265(2)) is None
    assert chosen(CHROMIUM_H265, "H265", h265(4)) is None
    assert chosen(CHROMIUM, "H265", h265(1)) is None


@pytest.mark.parametrize(
    ("fmtp", "parameters"),
    [
        ("", "level-id=120;profile-id=1;tier-flag=0"),  # older Safari
        ("a=fmtp:96 tier-flag=1;level-id=150", "level-id=120;profile-id=1;tier-flag=1"),
        ("a=fmtp:96 tx-mode=srst", "level-id=120;profile-id=1;tier-flag=0;tx-mode=SRST"),
        ("a=fmtp:96 tx-mode=MRST", None),
        ("a=fmtp:96 level-id=high", None),
        ("a=fmtp:96 profile-id=-1", None),
        ("a=fmtp:96 profile-id=2", "level-id=120;profile-id=2;tier-flag=0"),
    ],
)
def test_h265_parameters_that_are_missing_or_strange(fmtp: str, parameters: str | None) -> None:
    found = choose_video(offered_formats(video(f"a=rtpmap:96 H265/90000\n{fmtp}")), "H265", [h265()])
    assert found == (Format("H265", 96, parameters, None) if parameters else None)


def test_the_tier_of_the_stream_is_preferred() -> None:
    text = "a=rtpmap:96 H265/90000\na=rtpmap:97 H265/90000\na=fmtp:97 tier-flag=1;level-id=150"
    for tier, payload_type in ((0, 96), (1, 97)):
        found = choose_video(offered_formats(video(text)), "H265", [h265(1, tier, 150)])
        assert found is not None and found.payload_type == payload_type


@pytest.mark.parametrize(
    ("audio", "passed"),
    [
        (AudioReport("OPUS", 48_000, 2, None), True),
        (AudioReport("OPUS", 48_000, 1, None), True),
        (AudioReport("PCMA", 8000, 1, None), True),
        (AudioReport("PCMU", 8000, 0, None), True),
        (AudioReport("G722", 8000, 1, None), True),
        (AudioReport("PCMA", 16_000, 1, None), False),
        (AudioReport("PCMU", 8000, 2, None), False),
        (AudioReport("AAC", 48_000, 2, None), False),
        (AudioReport("L16", 8000, 1, None), False),
    ],
)
def test_audio_that_browsers_take_as_it_is(audio: AudioReport, passed: bool) -> None:
    assert is_passed_through(audio) is passed


def test_audio_formats() -> None:
    offered = offered_formats(section(CHROMIUM, "audio"))
    opus = "minptime=10;useinbandfec=1"
    assert choose_audio(offered, "OPUS", False) == Format("OPUS", 111, opus, None)
    assert choose_audio(offered, "OPUS", True) == Format("OPUS", 111, f"{opus};stereo=1;sprop-stereo=1", None)
    assert choose_audio(offered, "G722", False) == Format("G722", 9, "", None)
    assert choose_audio(offered[:1], "G722", False) is None


def test_feedback_of_all_formats() -> None:
    media = video(
        "a=rtpmap:96 H264/90000\na=rtpmap:97 H265/90000\na=rtcp-fb:96 nack\na=rtcp-fb:96 nack  pli\n"
        "a=rtcp-fb:97 nack\na=rtcp-fb:97 ccm fir\na=rtcp-fb:* transport-cc"
    )
    first, second = Format("H264", 96, "", None), Format("H265", 97, "", None)
    assert offered_feedback(media, [first]) == {"nack", "nack pli", "transport-cc"}
    assert offered_feedback(media, [first, second]) == {"nack", "transport-cc"}
