"""A program of its own: a camera that is simulated, seen by others as any RTSP camera (RFC 2326).

python -m ingest.simulated_camera --port 8554 [--host 127.0.0.1] [--codec h265] [--audio opus] …

It has two renditions, /simulated and the smaller /simulated-sub, over TCP, UDP, multicast and HTTP.
"""

import argparse
import sys
from typing import get_args

from common import lifecycle
from common.clock import SystemClock
from common.errors import ConfigError
from ingest.simulated.faults import NAMES, Faults, parse_faults
from ingest.simulated.options import (
    AudioCodec,
    CameraOptions,
    LoginOptions,
    LoginScheme,
    VideoCodec,
    smaller,
    video_options,
)
from ingest.simulated.server import SimulatedCamera


def _faults(text: str) -> Faults:
    try:
        return parse_faults(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A simulated RTSP camera with the clock drawn in.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--codec", choices=get_args(VideoCodec), default="h264")
    parser.add_argument("--audio", choices=get_args(AudioCodec), default="none")
    parser.add_argument("--width", type=int, default=1280, help="of the main stream; sub has half of it")
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--bitrate", type=int, help="bit/s of the main stream (default: by codec and size)")
    parser.add_argument("--gop", type=int, help="frames from keyframe to keyframe (default: 2 s)")
    parser.add_argument("--user", help="asks for a login")
    parser.add_argument("--password", default="")
    parser.add_argument("--auth", choices=get_args(LoginScheme), default="digest")
    parser.add_argument("--tls-cert", help="PEM file; the port then speaks RTSPS only")
    parser.add_argument("--tls-key", help="PEM file, where the certificate's file does not hold the key")
    parser.add_argument(
        "--faults", type=_faults, default=Faults(), help=f"what to do wrong, with commas: {', '.join(NAMES)}"
    )
    return parser.parse_args()


def _options(args: argparse.Namespace) -> CameraOptions:
    """Raises ConfigError."""
    main = video_options(args.codec, args.width, args.height, args.fps, args.bitrate, args.gop)
    if args.tls_key is not None and args.tls_cert is None:
        raise ConfigError("--tls-key without --tls-cert")
    return CameraOptions(
        main=main,
        sub=smaller(main),
        audio=args.audio,
        login=LoginOptions(args.user, args.password, args.auth) if args.user is not None else None,
        tls_cert=args.tls_cert,
        tls_key=args.tls_key,
        faults=args.faults,
    )


def main() -> int:
    """Serves until SIGTERM; gives the exit status."""
    args = _arguments()

    async def serve() -> None:
        await SimulatedCamera(SystemClock(), _options(args)).run(args.host, args.port)

    return lifecycle.run("simulated-camera", serve)


if __name__ == "__main__":
    sys.exit(main())
