"""The screen, as people see it."""

import re
from dataclasses import replace

from common.commands.overview import Camera, Overview, Settings, Worker
from common.commands.status_screen import Style, render

FRONT = Camera("front", "live", "H264", 1920, 1080, 25.0, 4_000_000, 12, 0.04, None)
BEHIND = Camera(
    "yard-behind-the-old-house",
    "backing_off",
    None,
    None,
    None,
    None,
    None,
    0,
    400.0,
    "no answer from 192.0.2.1 within 5 s; is the camera on, and is it reached from this machine?",
)
NIGHT = Camera("night", "idle", "H265", 3840, 2160, 12.5, 950_000, 0, None, None)
WORKERS = (
    Worker("fanout-0", 12, 0.231, 0.0021, 9012.4, 3, False),
    Worker("fanout-1", 0, 0.95, 0.12, 0.0, 0, True),
    Worker("fanout-2", 0, None, None, None, None, False),
)
SYSTEM = Overview((FRONT, BEHIND, NIGHT), WORKERS, Settings(3, ("front",), None, ()))

AT_80 = """\
3 cameras, 1 live, 1 in trouble · 3 workers · 12 viewers · 4.0 Mb/s in

WORKER        VIEWERS    CPU      LAG   PACKETS/S    DROPPED
fanout-0           12    23%     2 ms       9,012          3
fanout-1            0    95%   120 ms           0          0  draining
fanout-2            0      -        -           -          -

CAMERA         STATE        CODEC  SIZE         FPS     BITRATE  VIEWERS     AGE
yard-behind-…  backing_off  -      -              -           -        0      6m
  ! no answer from 192.0.2.1 within 5 s; is the camera on, and is it reached
    from this machine?
front          live         H264   1920x1080     25    4.0 Mb/s       12    0.0s
night          idle         H265   3840x2160   12.5    950 kb/s        0       -
"""
AT_180_CAMERAS = """\
CAMERA                     STATE        CODEC  SIZE         FPS     BITRATE  VIEWERS     AGE
yard-behind-the-old-house  backing_off  -      -              -           -        0      6m  no answer from \
192.0.2.1 within 5 s; is the camera on, and is it reached from this machine?
front                      live         H264   1920x1080     25    4.0 Mb/s       12    0.0s
night                      idle         H265   3840x2160   12.5    950 kb/s        0       -
"""


def screen(overview: Overview, style: Style) -> str:
    return "".join(f"{line}\n" for line in render(overview, style))


def test_80_columns() -> None:
    assert screen(SYSTEM, Style(80)) == AT_80
    assert screen(SYSTEM, Style(40)) == AT_80


def test_more_columns() -> None:
    assert screen(SYSTEM, Style(190)).endswith(f"\n{AT_180_CAMERAS}")


def test_colours_change_nothing_else() -> None:
    coloured = screen(SYSTEM, Style(80, colours=True))
    assert "\x1b[32mlive" in coloured and "\x1b[31mbacking_off" in coloured
    plain = re.sub("\x1b\\[[0-9]+m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == AT_80.splitlines()


def test_settings() -> None:
    error = "config.yaml, line 4: cameras.1.url has no usable host and port; allowed: rtsp://host/path"
    broken = replace(SYSTEM, settings=Settings(3, (), error, ("http.listen", "media.port")))
    assert render(broken, Style(80))[1:5] == [
        "! the configuration file is refused: config.yaml, line 4: cameras.1.url has no",
        "  usable host and port; allowed: rtsp://host/path",
        "! takes effect at the next start: http.listen, media.port",
        "",
    ]


def test_what_is_missing() -> None:
    lines = render(Overview((), (), None), Style(80))
    assert lines[:3] == [
        "0 cameras, 0 live · 0 workers · 0 viewers · 0 kb/s in",
        "! no media worker is up: nobody can watch",
        "! the keeper of the configuration is not heard",
    ]


def test_foreign_text_stays_text() -> None:
    text = screen(replace(SYSTEM, cameras=(replace(FRONT, error="\x1b[2J\nforged"),)), Style(80, True))
    assert "\x1b[2J" not in text and "\nforged" not in text
