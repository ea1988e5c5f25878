"""An overview of the system as lines of a terminal. [P]

Fits 80 columns. Where there are more, names are whole and a camera's error stands in its line.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from common.commands.overview import Camera, Overview, Worker
from common.log import printable

NARROWEST = 80
_MIN_NAME = 12
_ERROR_LINES = 2
_MIN_ERROR = 30
_GAP = "  "

_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"
_STATE_COLOURS = {
    "live": _GREEN,
    "idle": _DIM,
    "connecting": _YELLOW,
    "stalled": _YELLOW,
    "backing_off": _RED,
    "failed": _RED,
    "down": _RED,
}


@dataclass(frozen=True, slots=True)
class Style:
    """How the terminal is."""

    width: int = 80
    colours: bool = False

    def paint(self, text: str, colour: str | None) -> str:
        """The text in a colour (ECMA-48 section 8.3.117), where the terminal has colours."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colours and colour else text


def render(overview: Overview, style: Style) -> list[str]:
    """The whole screen; no line is wider than the terminal where that has 80 columns."""
    style = Style(max(style.width, NARROWEST), style.colours)
    return [
        style.paint(_cut(_totals(overview), style.width), _BOLD),
        *_notices(overview, style),
        "",
        *_workers(overview.workers, style),
        "",
        *_cameras(overview.cameras, style),
    ]


def _totals(overview: Overview) -> str:
    cameras, workers = overview.cameras, overview.workers
    live = sum(camera.state == "live" for camera in cameras)
    troubled = sum(camera.needs_attention for camera in cameras)
    bitrate = sum(camera.bitrate or 0.0 for camera in cameras if camera.state == "live")
    parts = [
        f"{_count(len(cameras), 'camera')}, {live} live" + (f", {troubled} in trouble" if troubled else ""),
        _count(len(workers), "worker"),
        _count(sum(camera.viewers for camera in cameras), "viewer"),
        f"{_bitrate(bitrate)} in",
    ]
    return " · ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _notices(overview: Overview, style: Style) -> list[str]:
    notices = []
    if not overview.workers:
        notices.append(("no media worker is up: nobody can watch", _RED))
    settings = overview.settings
    if settings is None:
        notices.append(("the keeper of the configuration is not heard", _RED))
    else:
        if settings.error is not None:
            notices.append((f"the configuration file is refused: {settings.error}", _RED))
        if settings.restart_needed:
            notices.append((f"takes effect at the next start: {', '.join(settings.restart_needed)}", _YELLOW))
    return [line for text, colour in notices for line in _wrapped(f"! {text}", "  ", colour, style)]


def _wrapped(text: str, indent: str, colour: str, style: Style, lines: int | None = None) -> list[str]:
    wrapped = textwrap.wrap(
        printable(text), style.width, subsequent_indent=indent, max_lines=lines, placeholder=" …"
    )
    return [style.paint(line, colour) for line in wrapped]


_Cell = tuple[str, str | None]
"Text and colour."


def _workers(workers: Sequence[Worker], style: Style) -> list[str]:
    headings = ("VIEWERS", "CPU", "LAG", "PACKETS/S", "DROPPED", "")
    rows: list[tuple[str, tuple[_Cell, ...]]] = [
        (
            worker.name,
            (
                (str(worker.viewers), None),
                (_percent(worker.cpu), _load_colour(worker.cpu)),
                (_milliseconds(worker.loop_lag_s), None),
                (_grouped(worker.packets_per_s), None),
                (_grouped(worker.dropped_frames), None),
                ("draining" if worker.draining else "", _YELLOW),
            ),
        )
        for worker in workers
    ]
    return _table("WORKER", headings, (7, 5, 7, 10, 9, 8), "rrrrrl", rows, style)


def _cameras(cameras: Sequence[Camera], style: Style) -> list[str]:
    widths = (11, 5, 9, 5, 10, 7, 6)
    headings = ("STATE", "CODEC", "SIZE", "FPS", "BITRATE", "VIEWERS", "AGE")
    # Those that somebody has to look at come first; else the order of the configuration.
    cameras = sorted(cameras, key=lambda camera: not camera.needs_attention)
    rows: list[tuple[str, tuple[_Cell, ...]]] = [
        (
            camera.name,
            (
                (camera.state, _STATE_COLOURS.get(camera.state)),
                (camera.codec or "-", None),
                (f"{camera.width}x{camera.height}" if camera.width and camera.height else "-", None),
                (f"{camera.fps:.4g}" if camera.fps is not None else "-", None),
                (_bitrate(camera.bitrate) if camera.bitrate is not None else "-", None),
                (str(camera.viewers), None),
                (_age(camera.age_s), None),
            ),
        )
        for camera in cameras
    ]
    lines = _table("CAMERA", headings, widths, "lllrrrr", rows, style)
    names = _name_width([camera.name for camera in cameras], sum(widths) + len(_GAP) * len(widths), style)
    used = names + sum(widths) + len(_GAP) * (len(widths) + 1)
    shown = [lines[0]]
    for camera, line in zip(cameras, lines[1:], strict=True):
        if camera.error is None:
            shown.append(line)
        elif style.width - used >= _MIN_ERROR:
            shown.append(line + _GAP + style.paint(_cut(printable(camera.error), style.width - used), _RED))
        else:
            shown += [line, *_wrapped(f"  ! {camera.error}", "    ", _RED, style, _ERROR_LINES)]
    return shown


def _name_width(names: Sequence[str], others: int, style: Style) -> int:
    longest = max(map(len, names), default=0)
    return max(_MIN_NAME, min(longest, style.width - others))


def _table(
    first: str,
    headings: Sequence[str],
    widths: Sequence[int],
    sides: str,
    rows: Sequence[tuple[str, tuple[_Cell, ...]]],
    style: Style,
) -> list[str]:
    """A heading and a line for each row; the first column takes what the others leave."""
    names = _name_width([name for name, _ in rows], sum(widths) + len(_GAP) * len(widths), style)

    def line(name: str, cells: Sequence[_Cell]) -> str:
        parts = [_cut(printable(name), names).ljust(names)]
        for (text, colour), width, side in zip(cells, widths, sides, strict=True):
            text = _cut(printable(text), width)
            parts.append(style.paint(text.rjust(width) if side == "r" else text.ljust(width), colour))
        return _GAP.join(parts).rstrip()

    heading = line(first, [(text, None) for text in headings])
    return [style.paint(heading, _DIM), *(line(name, cells) for name, cells in rows)]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}%"


def _load_colour(share: float | None) -> str | None:
    return _RED if share is not None and share >= 0.9 else None


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"


def _grouped(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _bitrate(bits: float) -> str:
    return f"{bits / 1e6:.1f} Mb/s" if bits >= 1e6 else f"{bits / 1e3:.0f} kb/s"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    if seconds < 3600:
        return f"{seconds // 60:.0f}m"
    return f"{seconds // 3600:.0f}h"
