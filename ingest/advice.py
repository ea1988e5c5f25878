"""What to set in a camera or in the configuration, by what its report shows; sentences for people."""

import re
from collections.abc import Iterator

from common.messages import AudioReport, RenditionReport, VideoReport
from ingest.timeline import MAX_EARLY_NS, MAX_LATE_NS, SECOND_NS

MAX_GOP_S = 4.0
MAX_JITTER_S = 0.1
MAX_SIDE = 4096  # of nearly all hardware decoders
MIN_JUMPS = 3
MIN_LOST = 10
UNITS_PER_LOST = 500
"One lost packet for more pictures than this is not worth a word: 20 s at 25 pictures per second."
H264_PROFILES = frozenset({"Constrained Baseline", "Baseline", "Main", "High"})
MAX_H264_LEVEL = 52  # 5.2; level_idc of ITU-T H.264 clause A.3.1
AUDIO = frozenset({"OPUS", "PCMA", "PCMU", "G722"})  # RFC 7874 section 3, and G.722 in every browser

# The first that is found in the error; `{key}` is where the rendition's URL stands in the configuration.
ERRORS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), text)
    for pattern, text in (
        (
            r"\b401\b|password",
            "Check the user name and password in `{key}`; write special characters percent-encoded ('@' is "
            "%40). Some cameras have users of their own for RTSP or ONVIF. As many lock one out after wrong "
            "logins, a refused one is tried again after 5 minutes only, or at once when the configuration "
            "changes or ingest restarts.",
        ),
        (r"\b403\b", "Give the user in `{key}` the right to watch live video in the camera."),
        (
            r"\b404\b",
            "Check the path in `{key}`: the camera's manual or its ONVIF page says which ones it has, "
            "and the stream must be switched on in it.",
        ),
        (
            r"\b453\b|\b503\b",
            "The camera serves no more viewers: close other programs that watch it (recorders, players), or "
            "raise its number of streams.",
        ),
        (
            r"\b461\b",
            "The camera refuses this way of transport: set `transport: auto`, or allow TCP in the camera.",
        ),
        (
            r"certificate",
            "Give the camera a certificate that this machine trusts, or set `verify_tls: false` for it.",
        ),
        (
            r"refuses connections",
            "Check the port in `{key}` (RTSP is 554 as a rule), and switch RTSP on in the camera, mostly "
            "under network services.",
        ),
        (
            r"not speak RTSP",
            "Something else answers at the port in `{key}`, often its web page: RTSP is 554 as a rule.",
        ),
        (
            r"name or service|no address associated|name resolution|nodename",
            "The host name in `{key}` is unknown here: check its spelling and the DNS server, or write the "
            "camera's address.",
        ),
        (
            r"cannot be reached|does not answer|unreachable|no route|timed out",
            "Check the camera's power, cable and address, and that no firewall stands between.",
        ),
        (
            r"sent no video for .*, only",
            "Restart the camera, and update its firmware if this stays: its packets hold no video.",
        ),
        (
            r"sent no video",
            "Restart the camera if this stays; a firewall may hold back video that comes by UDP: set "
            "`transport: tcp`.",
        ),
    )
)


def advise(report: RenditionReport, gop_varies: bool = False) -> tuple[str, ...]:
    """What would make this rendition better, the most important first; empty when all is well."""
    advice: list[str] = []
    if report.error is not None:
        advice += _about_error(report.error, report.name)
    if report.video is not None:
        advice += _about_video(report.video, gop_varies)
    if report.audio is not None:
        advice += _about_audio(report.audio)
    advice += _about_network(report)
    advice += _about_clock(report)
    return tuple(advice)


def _about_error(error: str, name: str) -> Iterator[str]:
    for pattern, text in ERRORS:
        if pattern.search(error):
            yield text.format(key="sub" if name == "sub" else "url")
            return


def _about_video(video: VideoReport, gop_varies: bool) -> Iterator[str]:
    if video.codec == "H265":
        yield (
            "Not every browser decodes H.265 over WebRTC: set the video encoding to H.264 in the camera to "
            "reach all of them."
        )
    elif video.codec == "JPEG":
        yield "WebRTC has no Motion JPEG: set the video encoding to H.264 in the camera."
    if video.b_frames:
        yield (
            "The camera sends B-frames, which WebRTC does not put back in order, so motion stutters: set "
            "B-frames to 0 or the profile to Baseline in the camera."
        )
    yield from _about_profile(video)
    if max(video.width or 0, video.height or 0) > MAX_SIDE:
        yield (
            f"{video.width} x {video.height} pixels are more than many decoders take: set at most {MAX_SIDE} "
            "for the longer side in the camera."
        )
    if video.codec == "JPEG":
        return
    if gop_varies:
        yield (
            "The I-frame interval changes by itself: switch the smart codec off in the camera (H.264+, "
            "Smart Codec, Zipstream's dynamic GOP), so that the picture is there at once after a loss."
        )
    elif video.gop_s is not None and video.gop_s > MAX_GOP_S:
        frames = f" ({video.gop_frames} frames)" if video.gop_frames is not None else ""
        yield (
            f"A keyframe comes every {video.gop_s:.1f} s only{frames}, and after a loss the picture "
            "waits for it: set the I-frame interval to 1 or 2 s in the camera."
        )


def _about_profile(video: VideoReport) -> Iterator[str]:
    profile = video.profile or ""
    if re.search(r"\b10\b", profile):
        yield (
            f"Browsers do not decode 10 bits per sample ({profile}) everywhere: set 8 bits (profile Main or "
            "High, no HDR) in the camera."
        )
    elif video.codec == "H264" and profile and profile not in H264_PROFILES:
        yield f"Browsers do not decode H.264 {profile}: set the profile Baseline, Main or High in the camera."
    if video.profile_level_id is not None:
        level = int(video.profile_level_id[4:6], 16)
        if level > MAX_H264_LEVEL:
            yield (
                f"Level {level / 10:.1f} is more than most decoders promise: lower the resolution or the "
                "frame rate in the camera."
            )


def _about_audio(audio: AudioReport) -> Iterator[str]:
    if audio.codec not in AUDIO:
        yield (
            f"WebRTC has no {audio.codec}: set the audio encoding G.711 (PCMA, PCMU) or Opus in the camera."
        )


def _about_network(report: RenditionReport) -> Iterator[str]:
    via = report.via or ""
    if report.lost_packets >= MIN_LOST and report.lost_packets * UNITS_PER_LOST > report.access_units:
        if "UDP" in via or "multicast" in via.lower():
            yield (f"{report.lost_packets} packets were lost on the way ({via}): set `transport: tcp`.")
        else:
            yield (
                f"The camera left out {report.lost_packets} packets: it or its network cannot keep up; lower "
                "the bit rate in the camera, or use cable instead of Wi-Fi."
            )
    if report.jitter_s is not None and report.jitter_s > MAX_JITTER_S:
        yield (
            f"Pictures come unevenly (jitter {1000 * report.jitter_s:.0f} ms): look for a weak Wi-Fi link or "
            "a full network, or lower the bit rate in the camera."
        )


def _about_clock(report: RenditionReport) -> Iterator[str]:
    offset_s = report.clock_offset_s
    if offset_s is not None and not -MAX_LATE_NS <= offset_s * SECOND_NS <= MAX_EARLY_NS:
        where = "ahead" if offset_s > 0 else "behind"
        yield f"The camera's clock is {_duration(abs(offset_s))} {where}: set an NTP server in the camera."
    elif report.clock_jumps >= MIN_JUMPS:
        yield (
            f"The camera's clock jumped {report.clock_jumps} times: set one NTP server in the camera, and "
            "switch other ways of setting its time off."
        )


def _duration(seconds: float) -> str:
    for unit, size in (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"
