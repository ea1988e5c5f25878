"""`cctv3 probe URL`: plays one camera as the service does, and says what it sends and what to set in it."""

import argparse
import asyncio
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import get_args

from common.access_unit import AccessUnit
from common.clock import SystemClock
from common.config import AUTO_TRANSPORT, Transport
from common.errors import CameraError, CameraRefusal, CctvError, ConfigError
from common.log import configure
from common.messages import AudioReport, RenditionReport, VideoReport
from common.urls import CameraUrl, parse_camera_url, redact
from ingest.camera import Camera, Hooks
from ingest.output import Output
from ingest.report import rendition_report
from ingest.source import Source
from ingest.sources import source_of

DEFAULT_SECONDS = 5.0
MAX_SECONDS = 3600.0
MAX_COLUMNS = 100
LABEL_COLUMNS = 18
SAME_CLOCK_S = 0.1
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
PASSWORD_VARIABLE = "CCTV3_PASSWORD"


async def probe(
    source: Source,
    seconds: float,
    patience_s: float | None = None,
    on_access_unit: Callable[[AccessUnit], None] = lambda unit: None,
) -> RenditionReport:
    """One attempt, until `seconds` after the first keyframe; a report with an error when it fails.

    The first keyframe is waited for as long as the service does, unless `patience_s` says less.
    """
    live = asyncio.Event()
    output = Output(epoch=0)
    camera = Camera(
        "probe",
        source,
        on_demand=False,
        output=output,
        clock=SystemClock(),
        hooks=Hooks(
            on_access_unit=on_access_unit,
            on_event=lambda state, reason, at_ns: live.set() if state == "live" else None,
        ),
    )
    attempt = asyncio.ensure_future(camera.run_once())
    shown = asyncio.ensure_future(live.wait())
    try:
        await asyncio.wait({attempt, shown}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if live.is_set():
            await asyncio.wait({attempt}, timeout=seconds)
            if not attempt.done():
                return rendition_report("main", camera, output)
        try:
            if not attempt.done():
                raise _overdue(camera, patience_s)
            await attempt
        except CctvError as exc:
            camera.error = redact(str(exc))
            report = rendition_report("main", camera, output)
            return replace(report, state="failed" if isinstance(exc, CameraRefusal) else "backing_off")
        raise AssertionError("a camera's attempt ends by its error")
    finally:
        for task in (attempt, shown):
            task.cancel()
        await asyncio.wait({attempt, shown})


def _overdue(camera: Camera, patience_s: float | None) -> CameraError:
    if camera.playback is None or camera.playback.playing_since is None:
        return CameraError(f"camera did not play within {patience_s:g} s")
    return CameraError(
        f"camera sent no keyframe within {patience_s:g} s; set a shorter I-frame interval in it"
    )


def _rate(bits_per_s: int | None) -> str:
    if bits_per_s is None:
        return "unknown"
    if bits_per_s < 1_000_000:
        return f"{bits_per_s / 1000:.0f} kbit/s"
    return f"{bits_per_s / 1_000_000:.1f} Mbit/s"


def _about_video(video: VideoReport) -> Iterator[tuple[str, str]]:
    size = f"{video.width} x {video.height}" if video.width else "size unknown"
    yield "video", ", ".join(part for part in (video.codec, video.profile, size) if part)
    if video.fps is not None:
        yield "frame rate", f"{video.fps:.1f} per second"
    peak = f", at most {_rate(video.peak_bitrate)} in a second" if video.peak_bitrate is not None else ""
    yield "bit rate", _rate(video.bitrate) + peak
    if video.codec == "JPEG":
        return
    if video.gop_s is None:
        yield "keyframes", "only one was seen; a longer --seconds shows their interval"
    else:
        frames = f" ({video.gop_frames} frames)" if video.gop_frames is not None else ""
        yield "keyframes", f"every {video.gop_s:.1f} s{frames}"
    if video.b_frames is not None:
        yield "B-frames", "yes" if video.b_frames else "no"


def _about_audio(audio: AudioReport) -> str:
    channels = {0: "", 1: ", mono", 2: ", stereo"}.get(audio.channels, f", {audio.channels} channels")
    return f"{audio.codec}, {audio.clock_rate / 1000:g} kHz{channels}, {_rate(audio.bitrate)}"


def _about_clock(report: RenditionReport) -> str:
    offset_s = report.clock_offset_s
    if offset_s is None:
        return "unknown: it sends no sender reports"
    jumps = f", {report.clock_jumps} jumps" if report.clock_jumps else ""
    if abs(offset_s) < SAME_CLOCK_S:
        return f"that of this machine, within {SAME_CLOCK_S:g} s{jumps}"
    where = "ahead of" if offset_s > 0 else "behind"
    return f"{abs(offset_s):.1f} s {where} this machine's{jumps}"


def _lines(report: RenditionReport) -> Iterator[tuple[str, str]]:
    if report.via is not None:
        yield "carried by", report.via
    if report.first_frame_s is not None:
        yield "first picture", f"after {report.first_frame_s:.2f} s"
    if report.video is not None:
        yield from _about_video(report.video)
    yield "audio", _about_audio(report.audio) if report.audio is not None else "none that is read"
    faults = f"{report.malformed} unreadable, {report.damaged} pictures damaged"
    if report.via is not None and report.via.startswith("RTSP"):
        faults = f"{report.lost_packets} lost, {report.reordered_packets} out of order, {faults}"
        if report.jitter_s is not None:
            yield "jitter", f"{1000 * report.jitter_s:.0f} ms"
        yield "camera's clock", _about_clock(report)
    yield "packets", faults
    if report.clock_drift_ppm is not None:
        yield "clock drift", f"{report.clock_drift_ppm:+.0f} ppm"
    if report.quirks:
        yield "quirks", ", ".join(report.quirks)


def _advice(report: RenditionReport, columns: int) -> str:
    fill = textwrap.TextWrapper(columns, initial_indent="  - ", subsequent_indent="    ").fill
    return "\n".join(fill(sentence) for sentence in report.advice)


def readable(url: CameraUrl, report: RenditionReport, columns: int) -> str:
    """The report for people, in lines of about `columns`."""
    indent = " " * (2 + LABEL_COLUMNS)
    lines = [redact(url.public)]
    lines += [
        textwrap.fill(text, columns, initial_indent=f"  {label:{LABEL_COLUMNS}}", subsequent_indent=indent)
        for label, text in _lines(report)
    ]
    if report.advice:
        lines += ["", "What to set:", _advice(report, columns)]
    else:
        lines += ["", "Nothing to set."]
    return "\n".join(lines)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError
    return seconds


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cctv3 probe",
        description="Plays one camera as the service does, and says what it sends and what to set in it.",
        epilog=f"A user name without a password in URL takes the password from {PASSWORD_VARIABLE}, "
        "where other users of this machine do not see it. Exit status: 0 the camera plays, 1 it does not.",
    )
    parser.add_argument("url", metavar="URL", help="as in the configuration: rtsp://user:password@host/path")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=DEFAULT_SECONDS,
        help="how long to measure after the first picture (default: %(default)g)",
    )
    parser.add_argument(
        "--transport",
        choices=("auto", *get_args(Transport)),
        default="auto",
        help="of RTSP (default: %(default)s, the service's order)",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="take any certificate, as `verify_tls: false` does"
    )
    return parser.parse_args(arguments)


def _url(text: str) -> CameraUrl:
    url = parse_camera_url(text)
    if url.username is not None and not url.password:
        return replace(url, password=os.environ.get(PASSWORD_VARIABLE, url.password))
    return url


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report on stdout, or the failure on stderr; gives the exit status."""
    options = _options(arguments)
    os.environ.setdefault("CCTV3_LOG", "ERROR")
    configure("probe")
    try:
        url = _url(options.url)
    except ConfigError as exc:
        print(f"cctv3 probe: URL {exc}", file=sys.stderr)
        return EXIT_USAGE
    transports = AUTO_TRANSPORT if options.transport == "auto" else (options.transport,)
    source = source_of(url, transports, not options.insecure, True, SystemClock())
    try:
        report = asyncio.run(probe(source, options.seconds))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    columns = min(shutil.get_terminal_size().columns, MAX_COLUMNS)
    if options.json:
        print(json.dumps({"url": redact(url.public), **asdict(report)}, indent=2))
    elif report.error is None:
        print(readable(url, report, columns))
    if report.error is None:
        return 0
    print(f"cctv3 probe: {report.error}", file=sys.stderr)
    if report.advice:
        print(_advice(report, columns), file=sys.stderr)
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
