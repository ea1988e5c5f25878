"""The report of a camera with which all is well; tests change what they are about."""

from common.messages import AudioReport, RenditionReport, VideoReport

VIDEO = VideoReport(
    codec="H264",
    profile="High",
    profile_level_id="640028",
    profile_tier_level=None,
    width=1920,
    height=1080,
    fps=25.0,
    bitrate=4_000_000,
    peak_bitrate=5_000_000,
    gop_s=2.0,
    gop_frames=50,
    b_frames=False,
)
WELL = RenditionReport(
    name="main",
    state="live",
    state_s=60.0,
    via="RTSP over TCP",
    video=VIDEO,
    audio=AudioReport("PCMA", 8000, 1, 64_000),
    access_units=1500,
    lost_packets=0,
    reordered_packets=0,
    damaged=0,
    malformed=0,
    source_restarts=0,
    jitter_s=0.004,
    clock_offset_s=-0.2,
    clock_drift_ppm=20.0,
    clock_jumps=0,
    first_frame_s=0.3,
    last_access_unit_age_s=0.02,
    reconnects=0,
    error=None,
    advice=(),
    quirks=(),
)
