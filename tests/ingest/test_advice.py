"""Sentences for people: only when there is something to do, and with the setting to change."""

import re
from dataclasses import replace

import pytest

from common.messages import AudioReport
from ingest.advice import ERRORS, advise
from tests.support.reports import VIDEO, WELL


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"video": None, "audio": None, "via": None, "jitter_s": None, "clock_offset_s": None},
        {"lost_packets": 9, "access_units": 100},
        {"lost_packets": 100, "access_units": 100_000},
        {"audio": AudioReport("OPUS", 48_000, 2, 64_000), "clock_jumps": 1, "clock_offset_s": 0.4},
        {"error": "something that nobody has seen before"},
    ],
)
def test_silent_when_all_is_well(changes):
    assert advise(replace(WELL, **changes)) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"b_frames": True}, "B-frames.*profile to Baseline"),
        ({"codec": "H265", "profile": "Main", "profile_level_id": None}, "H.265.*H.264"),
        (
            {"codec": "H265", "profile": "Main 10", "profile_level_id": None},
            r"10 bits.*\(Main 10\)",
        ),
        (
            {"codec": "JPEG", "profile": None, "profile_level_id": None, "gop_s": 8.0},
            "no Motion JPEG.*H.264",
        ),
        (
            {"gop_s": 8.04, "gop_frames": 201},
            r"every 8\.0 s only \(201 frames\).*I-frame interval to 1 or 2 s",
        ),
        ({"gop_s": 12.0, "gop_frames": None}, r"every 12\.0 s only, and"),
        ({"profile": "High 10", "profile_level_id": "6e0028"}, r"10 bits per sample \(High 10\)"),
        ({"profile": "High 4:2:2", "profile_level_id": "7a0028"}, "H.264 High 4:2:2.*Main or High"),
        ({"profile_level_id": "64003c"}, r"Level 6\.0"),
        ({"width": 5120, "height": 1440}, "5120 x 1440 pixels.*4096"),
        ({"width": 2160, "height": 5120}, "2160 x 5120.*4096"),
    ],
)
def test_video(changes, words):
    advice = advise(replace(WELL, video=replace(VIDEO, **changes)))
    assert any(re.search(words, sentence) for sentence in advice)
    assert len(advice) == (2 if changes.get("profile") == "Main 10" else 1)


def test_smart_codec_instead_of_its_long_gop():
    report = replace(WELL, video=replace(VIDEO, gop_s=10.0))
    (sentence,) = advise(report, gop_varies=True)
    assert "smart codec off" in sentence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audio": AudioReport("AAC", 48_000, 2, None)}, "no AAC.*G.711.*Opus"),
        ({"audio": AudioReport("L16", 44_100, 2, None)}, "no L16"),
        ({"via": "RTSP over UDP", "lost_packets": 30}, r"30 packets.*RTSP over UDP.*`transport: tcp`"),
        ({"via": "RTSP over multicast", "lost_packets": 30}, r"`transport: tcp`"),
        ({"lost_packets": 30}, "left out 30 packets.*bit rate"),
        ({"jitter_s": 0.25}, "jitter 250 ms.*Wi-Fi"),
        ({"clock_offset_s": 7200.4}, "clock is 2 hours ahead: set an NTP server"),
        ({"clock_offset_s": -3.21}, r"3\.2 s behind"),
        ({"clock_offset_s": -300.0}, "5 minutes behind"),
        ({"clock_offset_s": -1.7e9}, "54 years behind"),
        ({"clock_offset_s": 300_000.0}, "3 days ahead"),
        ({"clock_jumps": 3}, "jumped 3 times.*NTP"),
    ],
)
def test_sound_network_and_clock(changes, words):
    (sentence,) = advise(replace(WELL, **changes))
    assert re.search(words, sentence)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            "camera refuses the user name or password (401 to Digest); check its URL",
            "password in `url`.*%40.*after 5 minutes only",
        ),
        (
            "camera is connected but sent no video for 10 s, only 9 packets without a payload",
            "Restart the camera, and update its firmware",
        ),
        ("camera at h wants another login (HTTP 401)", "password in `url`"),
        ("camera answers DESCRIBE with 403 Forbidden: the user may not watch", "right to watch"),
        ("camera answers DESCRIBE with 404 Not Found: it has no stream at rtsp://h/x", "path in `url`"),
        ("camera answers SETUP with 453 Not Enough Bandwidth", "no more viewers"),
        ("camera answers SETUP with 461 Unsupported Transport", "`transport: auto`"),
        ("camera at 192.0.2.1:322 shows a certificate that is not trusted", "`verify_tls: false`"),
        ("camera at 192.0.2.1:555 refuses connections; check the port", "port in `url`"),
        ("what listens at the camera's address does not speak RTSP, it says 'HTTP'", "web page"),
        ("camera at cam:554 cannot be reached: Name or service not known", "host name in `url`"),
        ("camera at 192.0.2.1:554 cannot be reached: No route to host", "power, cable"),
        ("camera at 192.0.2.1:554 does not answer within 5 s; check its address and power", "power, cable"),
        ("camera is connected but sent no video for 10 s", "`transport: tcp`"),
    ],
)
def test_errors(error, words):
    (sentence,) = advise(replace(WELL, state="failed", video=None, audio=None, error=error))
    assert re.search(words, sentence)


def test_all_are_sentences():
    texts = [text.format(key="url") for _, text in ERRORS]
    for report in (
        replace(WELL, video=replace(VIDEO, b_frames=True, gop_s=9.0, codec="H265", width=9000)),
        replace(WELL, jitter_s=1.0, lost_packets=999, clock_jumps=9, audio=AudioReport("AAC", 1, 1, None)),
    ):
        texts += advise(report)
    for text in texts:
        assert re.match("[A-Z0-9]", text) and text.endswith(".") and "  " not in text
