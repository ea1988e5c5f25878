"""Session descriptions as real cameras write them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codecs.registry import problem_with
from ingest.rtsp.messages import RtspError, RtspRefusal
from ingest.rtsp.quirks import Quirks
from ingest.rtsp.sdp import (
    MAX_LINE_CHARACTERS,
    MAX_PARAMETERS,
    MAX_SDP_BYTES,
    Track,
    audio_tracks,
    parse_sdp,
    select_tracks,
)
from tests.support.growth import assert_linear

BASE = "rtsp://10.0.0.9:554/stream"
AAC = "streamtype=5;mode=AAC-hbr;SizeLength=13;IndexLength=3;IndexDeltaLength=3;config=1190"

PLAIN = f"""v=0
o=- 1 1 IN IP4 10.0.0.9
s=Media Presentation
t=0 0
a=control:*
m=audio 0 RTP/AVP 97
a=rtpmap:97 mpeg4-generic/48000/2
a=fmtp:97 {AAC}
a=control:track2
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 Profile-Level-ID=42C01F; packetization-mode=1;
a=control:trackID=1
m=application 0 RTP/AVP 107
a=rtpmap:107 vnd.onvif.metadata/90000
a=control:track3
"""


def tracks(text, audio=True):
    return select_tracks(parse_sdp(text.encode()), BASE, audio, problem_with)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\r\n\r\n"])
def test_plain(ending):
    video, audio = tracks(PLAIN.replace("\n", ending))
    assert video == Track(
        kind="video",
        encoding="H264",
        payload_type=96,
        clock_rate=90_000,
        channels=0,
        parameters=(("profile-level-id", "42C01F"), ("packetization-mode", "1")),
        setup_url=f"{BASE}/trackID=1",
    )
    assert (audio.kind, audio.encoding, audio.payload_type) == ("audio", "MPEG4-GENERIC", 97)
    assert (audio.clock_rate, audio.channels) == (48_000, 2)
    assert dict(audio.parameters)["sizelength"] == "13"
    assert audio.setup_url == f"{BASE}/track2"


def test_audio_that_nobody_wants_is_left_out():
    assert [track.kind for track in tracks(PLAIN, audio=False)] == ["video"]


VIDEO = "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n"


@pytest.mark.parametrize(
    ("line", "encoding", "clock_rate", "channels"),
    [
        ("m=audio 0 RTP/AVP 0", "PCMU", 8000, 1),
        ("m=audio 0 RTP/AVP 8", "PCMA", 8000, 1),
        ("m=audio 0 RTP/AVP 9", "G722", 8000, 1),
        ("m=audio 0 RTP/AVP 10", "L16", 44_100, 2),
        ("m=audio 0 RTP/AVP 11", "L16", 44_100, 1),
        ("m=audio 0 RTP/AVP 8\t \na=rtpmap:8 PCMA/8000/1 ", "PCMA", 8000, 1),
        ("m=audio 0 RTP/AVP 8\na=rtpmap:8 PCMU/8000/1", "PCMU", 8000, 1),
        ("m=audio 0 RTP/AVP 99\na=rtpmap:99 L16/16000/2", "L16", 16_000, 2),
        ("m=audio 0 RTP/AVP 99\na=rtpmap:99 pcma", "PCMA", 8000, 1),
        ("m=audio 0 RTP/AVP 99\na=rtpmap:99 PCMA/8000\na=rtpmap:99 PCMU/8000", "PCMU", 8000, 1),
        ("m=audio 0 RTP/AVP 100 8\na=rtpmap:100 speex/8000", "PCMA", 8000, 1),
        ("m=audio 0 RTP/AVP 100\na=rtpmap:100 speex/8000\nm=audio 0 RTP/AVP 0", "PCMU", 8000, 1),
    ],
)
def test_audio(line, encoding, clock_rate, channels):
    _, audio = tracks(f"{VIDEO}{line}\n")
    assert (audio.encoding, audio.clock_rate, audio.channels) == (encoding, clock_rate, channels)


@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        ("m=video 0 RTP/AVP 26", "JPEG"),
        ("m=video 0 RTP/AVP 26 96\na=rtpmap:96 H264/90000", "JPEG"),
        ("m=video 0 RTP/AVP 98 96\na=rtpmap:98 MP4V-ES/90000\na=rtpmap:96 H264/90000", "H264"),
        (
            "m=video 0 RTP/AVP 98\na=rtpmap:98 MP4V-ES/90000\nm=video 0 RTP/AVP 96\na=rtpmap:96 h265/90000",
            "H265",
        ),
        ("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000 \nm=video 0 RTP/AVP 26", "H264"),
    ],
)
def test_the_first_readable_video(line, encoding):
    (video,) = tracks(f"{line}\n")
    assert (video.encoding, video.clock_rate, video.channels) == (encoding, 90_000, 0)


def test_unreadable_audio_is_left_out_and_can_be_named():
    text = f"{VIDEO}m=audio 0 RTP/AVP 97\na=rtpmap:97 G726-32/8000\n"
    assert len(tracks(text)) == 1
    assert [track.encoding for track in audio_tracks(parse_sdp(text.encode()), BASE)] == ["G726-32"]


@pytest.mark.parametrize(("direction", "played"), [("", 1), ("a=recvonly\n", 1), ("a=sendonly\n", 0)])
def test_a_backchannel_is_not_played(direction, played):
    assert len(tracks(f"{VIDEO}m=audio 0 RTP/AVP 0\n{direction}")) == 1 + played


def test_a_camera_that_calls_everything_sendonly_has_no_backchannel():
    assert len(tracks(f"{VIDEO}a=sendonly\nm=audio 0 RTP/AVP 0\na=sendonly\n")) == 2


@pytest.mark.parametrize(
    ("session", "media", "address"),
    [
        ("IN IP4 0.0.0.0", None, None),
        ("IN IP4 239.1.2.3/127", None, "239.1.2.3"),
        ("IN IP4 239.1.2.3/127/2", "IN IP4 239.9.9.9", "239.9.9.9"),
        (None, "IN IP6 ff15::7", "ff15::7"),
        (None, "IN IP6 ::", None),
        (None, "IN", None),
        (None, "", None),
        ("IN IP4 camera.example", None, None),
    ],
)
def test_connection_lines(session, media, address):
    top = f"c={session}\n" if session is not None else ""
    below = f"c={media}\n" if media is not None else ""
    (video,) = tracks(f"v=0\n{top}{VIDEO}{below}")
    assert video.address == address


@pytest.mark.parametrize(
    ("attribute", "size"),
    [
        ("framesize:96 2592-1944", "2592-1944"),
        ("x-dimensions:1920,1080", "1920-1080"),
        ("x-dimensions: 704, 576", "704-576"),
        ("x-dimensions:big", None),
    ],
)
def test_size_of_the_picture(attribute, size):
    (video,) = tracks(f"{VIDEO}a={attribute}\n")
    assert dict(video.parameters).get("framesize") == size


def test_port_of_the_media_line():
    assert tracks(VIDEO.replace("video 0", "video 50000/2"))[0].port == 50_000
    assert tracks(VIDEO.replace("video 0", "video 99999"))[0].port == 0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (PLAIN, ()),
        (VIDEO, ("bare-description",)),
        (PLAIN + "m=application/X 0 RTP/AVP smart/1/90000\n", ("payload-type-in-words",)),
        (PLAIN + "m=audio 0 RTP/AVP 0\na=rtpmap:0 MPEG4-GENERIC/16000\n", ("static-type-remapped",)),
    ],
)
def test_policies_in_force(text, names):
    quirks = Quirks()
    parse_sdp(text.encode(), quirks)
    assert quirks.names == names


REFUSED = {
    "empty": ("", RtspError, "no tracks"),
    "not SDP": ("<html>\n<body>hello</body>", RtspError, "no tracks"),
    "no video": ("v=0\nm=audio 0 RTP/AVP 8\n", RtspRefusal, "no video track, only audio"),
    "H.263": (
        "m=video 0 RTP/AVP 34\na=rtpmap:34 H263/90000\n",
        RtspRefusal,
        "H263, which is not read; set it to H.264",
    ),
    "nobody says what": ("m=video 0 RTP/AVP 97\n", RtspRefusal, "PAYLOAD TYPE 97|payload type 97"),
    "no payload type": ("m=video 0 RTP/AVP\n", RtspRefusal, "no video track"),
    "mode 2": (
        "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=2\n",
        RtspRefusal,
        "packetization mode 2",
    ),
    "media line": ("m=video\n", RtspError, "no SDP media line"),
    "too many tracks": ("m=video 0 RTP/AVP 96\n" * 65, RtspError, "more than 64 tracks"),
    "too large": ("v" * (MAX_SDP_BYTES + 1), RtspError, "at most"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    text, kind, error = REFUSED[name]
    with pytest.raises(RtspError, match=error) as caught:
        tracks(text)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "attribute",
    [
        "rtpmap:96 H264/90000/",
        "rtpmap:96 H264/90000/1/x",
        "rtpmap:96  H264/90000abc",
        "rtpmap:96 H264/90000 x",
    ],
)
def test_what_follows_the_clock_rate_is_passed_over(attribute):
    (video,) = tracks(f"m=video 0 RTP/AVP 96\na={attribute}\n")
    assert (video.encoding, video.clock_rate) == ("H264", 90_000)


def test_an_endless_line_is_passed_over():
    value = "x" * (MAX_LINE_CHARACTERS - len("fmtp:96 a="))
    for more, parameters in (("", (("a", value),)), ("x", ())):
        (video,) = tracks(f"{VIDEO}a=fmtp:96 a={value}{more}\n")
        assert video.parameters == parameters


def test_parameters_of_one_format_are_bounded():
    (video,) = tracks(VIDEO + "a=fmtp:96 a=1;b=2\n" * 1000)
    assert video.parameters == (("a", "1"), ("b", "2")) * (MAX_PARAMETERS // 2)
    (video,) = tracks(VIDEO + "a=fmtp:96 " + "a;" * 1000)
    assert video.parameters == (("a", ""),) * MAX_PARAMETERS


@pytest.mark.parametrize(
    ("begin", "piece", "end"),
    [
        ("a=rtpmap:96 ", "a", " b"),
        ("a=rtpmap:96 ", "/1", " b"),
        ("a=rtpmap:96", " ", ""),
        ("a=rtpmap:", "1", " b"),
        ("a=fmtp:96", " ", "a"),
        ("a=fmtp:96 ", ";", ""),
        ("", "a=fmtp:96 a\n", ""),
        ("", "a=rtpmap:96 a/9\n", ""),
        ("a=framesize:96", " ", "1"),
        ("a=framesize:1", " ", "x"),
        ("a=control:", "rtsp://", ""),
        ("c=", "1 ", ""),
        ("m=", "a", ""),
        ("m=video 0 RTP/AVP ", "1 ", ""),
    ],
)
def test_time_in_proportion_to_the_description(begin, piece, end):
    def of_size(size):
        # A line as long as it may be, or many.
        pieces = size // 2 - len(begin + end) if begin else size
        return f"{VIDEO}{begin}{piece * (pieces // len(piece))}{end}\n"

    def read(text):
        with contextlib.suppress(RtspError):
            tracks(text)

    assert_linear(read, of_size)


LINES = st.one_of(
    st.sampled_from([*PLAIN.splitlines(), "a=rtpmap:", "a=fmtp:96", "a=control", "m=video 0 RTP/AVP 999 x"]),
    st.text(max_size=30),
    st.text(max_size=20).map("a=fmtp:96 ".__add__),
    st.text(max_size=20).map("a=rtpmap:96 ".__add__),
    st.text(max_size=20).map("c=IN IP4 ".__add__),
    st.text(max_size=20).map("m=video ".__add__),
    st.text(max_size=20).map("a=framesize:".__add__),
)


@given(st.lists(LINES, max_size=20))
def test_fuzz_only_the_documented_error(lines):
    with contextlib.suppress(RtspError):
        description = parse_sdp("\n".join(lines).encode("utf-8", "surrogatepass"))
        audio_tracks(description, BASE)
        select_tracks(description, BASE, True, problem_with)
