"""Offers of browsers, and cameras to answer them for.

Recorded: Chromium 156 (`chromium_capture_time` after setHeaderExtensionsToNegotiate) and Firefox 153. Put
together from published offers of the same browsers: `chromium_h265` (with hardware decoding), `firefox`
(with OpenH264), `safari`.
"""

from dataclasses import replace
from pathlib import Path

from common.messages import AudioReport, RenditionFormat, VideoReport
from fanout.sdp.answer import LocalEnd
from tests.support.reports import VIDEO

_FOLDER = Path(__file__).parent.parent / "testdata/sdp"


def recorded(name: str) -> str:
    """An offer of tests/testdata/sdp, line ends as they came."""
    return (_FOLDER / f"{name}.sdp").read_bytes().decode()


CHROMIUM = recorded("chromium_audio_video")
CHROMIUM_CAPTURE_TIME = recorded("chromium_capture_time")
CHROMIUM_H265 = recorded("chromium_h265")
SAFARI = recorded("safari")
FIREFOX = recorded("firefox")
FIREFOX_WITHOUT_H264 = recorded("firefox_without_h264")
ALL = (CHROMIUM, CHROMIUM_CAPTURE_TIME, CHROMIUM_H265, SAFARI, FIREFOX)

LITE = LocalEnd(
    ice_ufrag="ufrag123",
    ice_pwd="p" * 24,
    ice_lite=True,
    candidates=(
        "candidate:1 1 udp 2130706431 127.0.0.1 8189 typ host",
        "candidate:2 1 udp 2130706175 2001:db8::5 8189 typ host",
        "candidate:3 1 tcp 1671430143 127.0.0.1 8189 typ host tcptype passive",
    ),
    fingerprint=":".join(["AB"] * 32),
    address="127.0.0.1",
    port=8189,
    cname="cctv3",
    stream_id="gate",
    video_ssrc=77,
    rtx_ssrc=78,
    audio_ssrc=79,
)
FULL = replace(LITE, ice_lite=False, candidates=LITE.candidates[:1])


def h264(profile_level_id: str | None) -> VideoReport:
    return replace(VIDEO, profile_level_id=profile_level_id)


def h265(profile: int | None = 1, tier: int = 0, level: int = 120) -> VideoReport:
    text = f"profile-id={profile};tier-flag={tier};level-id={level}" if profile is not None else None
    return replace(
        VIDEO, codec="H265", profile="Main", profile_level_id=None, profile_tier_level=text, b_frames=False
    )


JPEG = replace(VIDEO, codec="JPEG", profile="Baseline", profile_level_id=None)
PCMA = AudioReport("PCMA", 8000, 1, None)
OPUS = AudioReport("OPUS", 48_000, 2, None)
AAC = AudioReport("AAC", 16_000, 1, None)


def camera(
    main: VideoReport | None, *sub: VideoReport | None, audio: AudioReport | None = None
) -> tuple[RenditionFormat, ...]:
    """A camera's renditions; the audio is that of main."""
    return (
        RenditionFormat("main", main, audio),
        *(RenditionFormat("sub", video, None) for video in sub),
    )
