"""SDP text to sections and attributes: what is read, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.sdp.reader import MAX_BYTES, MAX_FORMATS, MAX_LINES, MAX_SECTIONS, BadOffer, read, token
from tests.fanout.offers import ALL, CHROMIUM, FIREFOX


@pytest.mark.parametrize("sdp", ALL)
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_offers_of_browsers(sdp: str, end: str) -> None:
    found = read(sdp.replace("\r\n", end))
    assert {media.kind: media.protocol for media in found.media} == dict.fromkeys(
        ("audio", "video"), "UDP/TLS/RTP/SAVPF"
    )
    attributes = [line for line in sdp.splitlines() if line.startswith("a=")]
    kept = [found.session, *(media.attributes for media in found.media)]
    assert [f"a={n}:{v}" if v else f"a={n}" for part in kept for n, v in part.lines] == attributes


def test_an_attribute_of_the_session_is_that_of_its_sections() -> None:
    found = read(FIREFOX)
    video, audio = found.media
    assert found.attribute(video, "mid") == "0" and found.attribute(audio, "mid") == "1"
    assert video.attributes.first("fingerprint") is None
    assert (found.attribute(video, "fingerprint") or "").startswith("sha-256 ")
    assert found.attribute(video, "ice-lite") is None
    assert video.attributes.first("recvonly") == ""
    assert len(list(video.attributes.all("rtpmap"))) == 17


@pytest.mark.parametrize(
    ("sdp", "words"),
    [
        ("", "begin with v=0"),
        ("hello", "begin with v=0"),
        ("v=0" + "x" * MAX_BYTES, f"at most {MAX_BYTES}"),
        ("v=0\n" + "a\n" * MAX_LINES, f"more than {MAX_LINES} lines"),
        ("v=0\r\n" + "m=audio 9 RTP/SAVPF 0\r\n" * (MAX_SECTIONS + 1), f"more than {MAX_SECTIONS} sections"),
        ("v=0\r\nm=audio 9 RTP/SAVPF" + " 0" * (MAX_FORMATS + 1), "malformed m="),
        ("v=0\r\nm=audio 9 RTP/SAVPF\r\n", "malformed m="),
        ("v=0\r\nm=audio -9 RTP/SAVPF 0\r\n", "malformed m="),
        ("v=0\r\nm=audio 9 rtp/savpf 0\r\n", "malformed m="),
        ("v=0\r\nm=audio 9 RTP/SAVPF 0 \x01\r\n", "format in an m="),
        ("v=0\r\nhello\r\n", "no type"),
    ],
)
def test_refused(sdp: str, words: str) -> None:
    with pytest.raises(BadOffer, match=words):
        read(sdp)


def test_tokens_are_safe_to_repeat() -> None:
    assert token("a-b_c.d+e/f=", "x") == "a-b_c.d+e/f="
    for text in (None, "", "a b", "a\r\n", "ü", "a" * 257):
        with pytest.raises(BadOffer, match="a=mid"):
            token(text, "a=mid")


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for sdp in (text, "v=0\n" + text, CHROMIUM + text):
        try:
            read(sdp)
        except BadOffer:
            continue
