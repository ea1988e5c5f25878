"""The report of a rendition: what its camera, its output and its statistics say, and what to do about it."""

from dataclasses import replace

from common.messages import AudioReport, RenditionReport, VideoReport
from ingest.advice import advise
from ingest.camera import Camera
from ingest.output import Output
from ingest.statistics import StreamFigures


def rendition_report(name: str, camera: Camera, output: Output) -> RenditionReport:
    """Everything known now. What the tracks are outlasts the connection."""
    now = camera.now
    playback = camera.playback
    source = output.video.source if playback is not None and playback.playing_since is not None else None
    figures = output.video.statistics.figures(now)
    faults = output.faults
    report = RenditionReport(
        name=name,
        state=camera.state,
        state_s=camera.state_s,
        via=playback.via if playback is not None else None,
        video=_video(output, figures),
        audio=_audio(output, now),
        access_units=output.video.published,
        lost_packets=faults.lost,
        reordered_packets=faults.reordered,
        damaged=faults.damaged,
        malformed=faults.malformed,
        source_restarts=output.restarts,
        jitter_s=source.jitter_s if source is not None else None,
        clock_offset_s=output.clock.offset_s,
        clock_drift_ppm=output.video.drift.ppm,
        clock_jumps=output.clock.jumps,
        first_frame_s=camera.first_frame_s,
        last_access_unit_age_s=figures.last_access_unit_age_s,
        reconnects=camera.reconnects,
        error=camera.error,
        advice=(),
        quirks=playback.quirks if playback is not None else (),
    )
    notes = playback.notes if playback is not None else ()
    return replace(report, advice=(*advise(report, figures.gop_varies), *notes))


def _video(output: Output, figures: StreamFigures) -> VideoReport | None:
    source = output.video.source
    if source is None:
        return None
    parameters = output.video.parameters
    b_frames = figures.b_frames
    if b_frames is None and parameters is not None and parameters.max_reorder_frames == 0:
        b_frames = False
    return VideoReport(
        codec=source.codec,
        profile=parameters.profile if parameters else None,
        profile_level_id=parameters.profile_level_id if parameters else None,
        profile_tier_level=parameters.profile_tier_level if parameters else None,
        width=parameters.width if parameters else None,
        height=parameters.height if parameters else None,
        fps=figures.fps,
        bitrate=figures.bitrate,
        peak_bitrate=figures.peak_bitrate,
        gop_s=figures.gop_s,
        gop_frames=figures.gop_frames,
        b_frames=b_frames,
    )


def _audio(output: Output, now: float) -> AudioReport | None:
    source = output.audio.source
    if source is None or not output.has_audio:
        return None
    return AudioReport(
        codec=source.codec,
        clock_rate=source.clock_rate,
        channels=source.channels,
        bitrate=output.audio.statistics.figures(now).bitrate,
    )
