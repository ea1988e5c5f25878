"""`python -m ingest.trial FOLDER`: plays a camera that is not saved yet, for `POST /api/v1/probe`.

Stdin has the camera as the API was given it, so that no URL is among the arguments, which others can read; a
login that is kept comes from the camera's file in FOLDER, which is CCTV3_RUN. Stdout gets what came of it, a
JSON object. A process of its own, so that a picture that harms the decoder harms nobody else.
"""

import asyncio
import base64
import json
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common.access_unit import AccessUnit
from common.clock import SystemClock
from common.config import CameraConfig
from common.errors import ConfigError, LocalError
from common.keeper import editing
from common.keeper.entries import written_camera
from common.lifecycle import EXIT_CONFIG
from common.log import configure
from common.resolved import load_camera
from common.urls import parse_camera_url, redact
from ingest.probe import probe
from ingest.sources import source_of

SECONDS = 4.0
PATIENCE_S = 12.0
"For the first picture: there are cameras with a keyframe every 10 s."
MAX_WIDTH = 640
MAX_MEMORY = 2 << 30
UNNAMED = "new"


def wanted(wish: Mapping[str, Any], folder: Path) -> CameraConfig:
    """The camera to play; raises ConfigError in the same words as the keeper, who would save it."""
    content = dict(wish)
    name = content.pop("name", UNNAMED)
    before = _saved(folder, name)
    if before is not None and before.sub is not None and content.get("url") == redact(before.sub):
        before = replace(before, url=before.sub)  # the sub stream is tried out by its own URL
    entry = written_camera(content, before)
    _, whole = editing.changed(editing.NEW_FILE, Path("camera"), "camera", name, entry)
    return whole.cameras[0]


def _saved(folder: Path, name: str) -> CameraConfig | None:
    try:
        return load_camera(folder, name)
    except LocalError:
        return None


async def tried_out(
    camera: CameraConfig, seconds: float = SECONDS, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    """What came of it, as `POST /api/v1/probe` answers."""
    keyframes: list[AccessUnit] = []

    def shown(unit: AccessUnit) -> None:
        if not keyframes and unit.track == "video" and unit.keyframe:
            keyframes.append(unit)

    url = parse_camera_url(camera.url)
    source = source_of(url, camera.transport, camera.verify_tls, camera.audio, SystemClock())
    report = await probe(source, seconds, patience_s, shown)
    kind = None
    if report.error is not None:
        kind = "refused" if report.state == "failed" else "unreachable"
    width = report.video.width if report.video is not None else None
    return {
        "works": report.error is None,
        "error": report.error,
        "kind": kind,
        "report": asdict(report),
        "advice": report.advice,
        "picture": _picture(keyframes[0], width) if keyframes else None,
    }


def _picture(keyframe: AccessUnit, width: int | None) -> str | None:
    from ingest.snapshot import to_jpeg  # with PyAV, which a camera without a picture does not need

    try:
        jpeg = to_jpeg(keyframe, 0 if width is not None and width <= MAX_WIDTH else MAX_WIDTH)
    except LocalError:
        return None
    return base64.b64encode(jpeg).decode()


def main() -> int:
    """Gives the exit status; what is wrong with the camera's settings is one line on stderr."""
    folder = Path(sys.argv[1])
    os.environ["CCTV3_LOG"] = "ERROR"
    configure("trial")
    os.nice(10)  # viewers first
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    try:
        camera = wanted(json.load(sys.stdin), folder)
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return EXIT_CONFIG
    json.dump(asyncio.run(tried_out(camera)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
