"""Session descriptions as real cameras write them."""

import base64
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rtsp.messages import RtspError
from ingest.rtsp.sdp import MAX_SDP_BYTES, join_control, parameter_sets, parse_sdp, select_video

SPS = bytes.fromhex("6742c01fda0280bfe5c044000003000400000300c83c60ca80")
PPS = bytes.fromhex("68ce3c80")
SPROP = base64.b64encode(SPS).decode() + "," + base64.b64encode(PPS).decode()
BASE = "rtsp://10.0.0.9:554/stream"

PLAIN = f"""v=0
o=- 1 1 IN IP4 10.0.0.9
s=Media Presentation
t=0 0
a=control:*
m=audio 0 RTP/AVP 8
a=control:track2
m=video 0 RTP/AVP 26 96
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=42C01F; packetization-mode=1; sprop-parameter-sets={SPROP}
a=control:trackID=1
m=application 0 RTP/AVP 107
a=rtpmap:107 vnd.onvif.metadata/90000
"""


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_plain(ending):
    track = select_video(parse_sdp(PLAIN.replace("\n", ending).encode()), BASE)
    assert track.setup_url == f"{BASE}/trackID=1"
    assert track.play_url == BASE
    assert track.payload_type == 96
    assert track.parameter_sets == (SPS, PPS)


@pytest.mark.parametrize(
    ("base", "control", "url"),
    [
        (BASE, None, BASE),
        (BASE, "", BASE),
        (BASE, "*", BASE),
        (BASE, "trackID=1", BASE + "/trackID=1"),
        (BASE + "/", "trackID=1", BASE + "/trackID=1"),
        (BASE, "/trackID=1", BASE + "/trackID=1"),
        (BASE + "?ch=1&s=0", "trackID=1", BASE + "?ch=1&s=0/trackID=1"),
        (BASE, "?ctype=video", BASE + "?ctype=video"),
        (BASE, "rtsp://192.168.1.2/x/track1", "rtsp://192.168.1.2/x/track1"),
        (BASE, "rtsp://u:p@192.168.1.2/x", "rtsp://192.168.1.2/x"),
    ],
)
def test_control_urls(base, control, url):
    assert join_control(base, control) == url


@pytest.mark.parametrize(
    ("sprop", "expected"),
    [
        ("", ()),
        (SPROP, (SPS, PPS)),
        (SPROP + ",", (SPS, PPS)),
        (SPROP.replace("=", ""), (SPS, PPS)),
        ("!!!,d29ybGQ=", ()),
        (base64.b64encode(b"\x00\x00\x00\x01" + SPS).decode(), (SPS,)),
        ("A", ()),
    ],
)
def test_parameter_sets(sprop, expected):
    assert parameter_sets(sprop) == expected


REFUSED = {
    "empty": ("", "no tracks"),
    "not SDP": ("<html>\n<body>hello</body>", "no tracks"),
    "no video": ("v=0\nm=audio 0 RTP/AVP 8\n", "no video track, only audio"),
    "H.265": ("m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000\n", "sends its video as H265; set it to H.264"),
    "static type": ("m=video 0 RTP/AVP 26\n", "payload type 26"),
    "mode 2": (
        "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=2\n",
        "packetization mode 2",
    ),
    "media line": ("m=video\n", "no SDP media line"),
    "too many tracks": ("m=video 0 RTP/AVP 96\n" * 65, "more than 64 tracks"),
    "too large": ("v" * (MAX_SDP_BYTES + 1), "at most"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    text, error = REFUSED[name]
    with pytest.raises(RtspError, match=error):
        select_video(parse_sdp(text.encode()), BASE)


LINES = st.one_of(
    st.sampled_from([*PLAIN.splitlines(), "a=rtpmap:", "a=fmtp:96", "a=control", "m=video 0 RTP/AVP 999 x"]),
    st.text(max_size=30),
    st.text(max_size=20).map("a=fmtp:96 ".__add__),
    st.text(max_size=20).map("a=rtpmap:96 ".__add__),
)


@settings(deadline=None)
@given(st.lists(LINES, max_size=20))
def test_fuzz_only_the_documented_error(lines):
    with contextlib.suppress(RtspError):
        select_video(parse_sdp("\n".join(lines).encode("utf-8", "surrogatepass")), BASE)
