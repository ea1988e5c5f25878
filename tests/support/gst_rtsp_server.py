"""A real RTSP camera made of GStreamer's RTSP server; run with the interpreter that has Debian's `gi`.

    /usr/bin/python3 tests/support/gst_rtsp_server.py --port 0 [--user U --password P --auth digest]

Prints `READY rtsp://127.0.0.1:PORT/camera` when it answers and runs until SIGTERM. RTP goes over TCP or
UDP, as the client asks; one encoder serves all clients.
"""

import argparse
import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

# `high` and `main` only bound the encoder: the SPS says the least profile that the tools in use need,
# so those tools are asked for by name. B-frames stay off, as WebRTC has no reordering.
TOOLS = {
    "baseline": "cabac=false dct8x8=false",
    "main": "cabac=true dct8x8=false",
    "high": "cabac=true dct8x8=true",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--path", default="/camera")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--auth", choices=("basic", "digest"), default="basic")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--gop", type=int, default=25, help="frames from one IDR to the next")
    parser.add_argument("--bitrate", type=int, default=1000, help="kbit/s")
    parser.add_argument("--profile", choices=tuple(TOOLS), default="high")
    parser.add_argument("--pattern", default="smpte", help="a pattern of videotestsrc")
    return parser.parse_args()


def pipeline(args: argparse.Namespace) -> str:
    overlay = "timeoverlay ! " if Gst.ElementFactory.find("timeoverlay") else ""
    return (
        f"( videotestsrc is-live=true pattern={args.pattern} ! "
        f"video/x-raw,format=I420,width={args.width},height={args.height},framerate={args.fps}/1 ! {overlay}"
        f"x264enc speed-preset=ultrafast tune=zerolatency bframes=0 threads=1 {TOOLS[args.profile]} "
        f"key-int-max={args.gop} bitrate={args.bitrate} option-string=scenecut=0 ! "
        f"video/x-h264,profile={args.profile} ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )


def require_login(server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, args) -> None:
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
    auth = GstRtspServer.RTSPAuth()
    if args.auth == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(args.user, args.password, token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(args.user, args.password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS, True)
    permissions.add_permission_for_role("viewer", GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, True)
    factory.set_permissions(permissions)


def main() -> int:
    args = arguments()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(args.host)
    server.set_service(str(args.port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline(args))
    factory.set_shared(True)
    factory.set_latency(0)
    factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP)
    if args.user is not None:
        require_login(server, factory, args)
    server.get_mount_points().add_factory(args.path, factory)
    if server.attach(None) == 0:
        print(f"cannot listen on {args.host}:{args.port}", file=sys.stderr)
        return 1
    loop = GLib.MainLoop()
    for number in (signal.SIGTERM, signal.SIGINT):
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, loop.quit)
    print(f"READY rtsp://{args.host}:{server.get_bound_port()}{args.path}", flush=True)
    loop.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
