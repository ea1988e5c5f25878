"""A real RTSP camera made of GStreamer's RTSP server; run with the interpreter that has Debian's `gi`.

    /usr/bin/python3 tests/support/gst_rtsp_server.py --port 0 [--user U --password P --auth digest]

Prints `READY rtsp://127.0.0.1:PORT/camera` when it answers and runs until SIGTERM; with a certificate a
second URL follows on that line, `rtsps://`. RTP goes over TCP, UDP or multicast, and RTSP over HTTP on the
same ports, as the client asks. One encoder of each track serves all clients of a port: they get the same
octets. With --sub-bitrate the path with `-sub` behind it is the smaller stream of the same camera.
"""

import argparse
import functools
import operator
import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

# `high` and `main` only bound the encoder: the SPS says the least profile that the tools in use need,
# so those tools are asked for by name. B-frames stay off, as WebRTC has no reordering.
TOOLS = {
    "baseline": "cabac=false dct8x8=false",
    "main": "cabac=true dct8x8=false",
    "high": "cabac=true dct8x8=true",
}
VIDEO = {
    "h264": (
        "x264enc speed-preset=ultrafast tune=zerolatency bframes=0 threads=1 {tools} "
        "key-int-max={gop} bitrate={bitrate} option-string=scenecut=0 ! "
        "video/x-h264,profile={profile} ! rtph264pay config-interval=-1"
    ),
    "h265": (
        "x265enc speed-preset=ultrafast tune=zerolatency key-int-max={gop} bitrate={bitrate} "
        "option-string=scenecut=0:bframes=0:pools=1 ! rtph265pay config-interval=-1"
    ),
    "jpeg": "jpegenc ! rtpjpegpay",
}
# Payload types of RFC 3551 where it has one; 20 ms a packet, as cameras send.
AUDIO = {
    "aac": (48_000, "voaacenc bitrate=64000 ! rtpmp4gpay pt=97"),
    "opus": (48_000, "opusenc ! rtpopuspay pt=97"),
    "pcma": (8_000, "alawenc ! rtppcmapay pt=8 min-ptime=20000000 max-ptime=20000000"),
    "pcmu": (8_000, "mulawenc ! rtppcmupay pt=0 min-ptime=20000000 max-ptime=20000000"),
    "g722": (16_000, "avenc_g722 ! rtpg722pay pt=9 min-ptime=20000000 max-ptime=20000000"),
    "l16": (16_000, "rtpL16pay pt=97 min-ptime=20000000 max-ptime=20000000"),
}
PROTOCOLS = {
    "tcp": GstRtsp.RTSPLowerTrans.TCP,
    "udp": GstRtsp.RTSPLowerTrans.UDP,
    "multicast": GstRtsp.RTSPLowerTrans.UDP_MCAST,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--path", default="/camera")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--auth", choices=("basic", "digest"), default="basic")
    parser.add_argument("--protocols", default="tcp,udp", help="of " + ",".join(PROTOCOLS))
    parser.add_argument("--multicast-group", default="239.255.42.1")
    parser.add_argument("--multicast-port", type=int, default=15_000, help="the first of four")
    parser.add_argument("--tls-cert", help="PEM file; adds an rtsps:// port")
    parser.add_argument("--tls-key", help="PEM file")
    parser.add_argument("--session-timeout", type=int, default=60, help="seconds")
    parser.add_argument("--codec", choices=tuple(VIDEO), default="h264")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--gop", type=int, default=25, help="frames from one IDR to the next")
    parser.add_argument("--bitrate", type=int, default=1000, help="kbit/s")
    parser.add_argument("--sub-bitrate", type=int, help="kbit/s; adds a stream of half the width and height")
    parser.add_argument("--profile", choices=tuple(TOOLS), default="high", help="of h264")
    parser.add_argument("--pattern", default="smpte", help="a pattern of videotestsrc")
    parser.add_argument("--audio", choices=("none", *AUDIO), default="none")
    parser.add_argument("--wave", default="white-noise", help="of audiotestsrc")
    parser.add_argument("--channels", type=int, choices=(1, 2), default=1, help="of the audio")
    return parser.parse_args()


def pipeline(args: argparse.Namespace) -> str:
    overlay = "timeoverlay ! " if Gst.ElementFactory.find("timeoverlay") else ""
    encoder = VIDEO[args.codec].format(tools=TOOLS[args.profile], **vars(args))
    video = (
        f"videotestsrc is-live=true pattern={args.pattern} ! "
        f"video/x-raw,format=I420,width={args.width},height={args.height},framerate={args.fps}/1 ! "
        f"{overlay}{encoder} name=pay0 pt={26 if args.codec == 'jpeg' else 96}"
    )
    if args.audio == "none":
        return f"( {video} )"
    rate, encoder = AUDIO[args.audio]
    # By default noise: no two frames are alike, so that two recordings can be laid over each other.
    audio = (
        f"audiotestsrc is-live=true wave={args.wave} volume=0.1 samplesperbuffer={rate // 50} ! "
        f"audioconvert ! audio/x-raw,rate={rate},channels={args.channels} ! {encoder} name=pay1"
    )
    return f"( {video} {audio} )"


def make_factory(args: argparse.Namespace) -> GstRtspServer.RTSPMediaFactory:
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline(args))
    factory.set_shared(True)
    factory.set_latency(0)
    # A camera cannot be rewound, but GStreamer thinks that its test sources can: each PLAY that says
    # `Range: npt=0.000-` would flush what the other clients get, and may deadlock the server (1.22).
    # Media that publishes its clock's offset is never asked to seek.
    factory.set_publish_clock_mode(GstRtspServer.RTSPPublishClockMode.CLOCK_AND_OFFSET)
    protocols = args.protocols.split(",")
    factory.set_protocols(functools.reduce(operator.or_, (PROTOCOLS[name] for name in protocols)))
    if "multicast" in protocols:
        pool = GstRtspServer.RTSPAddressPool()
        pool.add_range(
            args.multicast_group, args.multicast_group, args.multicast_port, args.multicast_port + 3, 1
        )
        factory.set_address_pool(pool)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS, True)
    permissions.add_permission_for_role("viewer", GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, True)
    factory.set_permissions(permissions)
    return factory


def login(args: argparse.Namespace) -> GstRtspServer.RTSPAuth:
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
    auth = GstRtspServer.RTSPAuth()
    if args.user is None:
        auth.set_default_token(token)
    elif args.auth == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(args.user, args.password, token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(args.user, args.password), token)
    return auth


def make_server(
    args: argparse.Namespace, mounts: GstRtspServer.RTSPMountPoints, port: int, secure: bool
) -> GstRtspServer.RTSPServer:
    server = GstRtspServer.RTSPServer()
    server.set_address(args.host)
    server.set_service(str(port))
    server.set_mount_points(mounts)
    auth = login(args)
    if secure:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(args.tls_cert, args.tls_key))
    server.set_auth(auth)

    def connected(_server: GstRtspServer.RTSPServer, client: GstRtspServer.RTSPClient) -> None:
        client.connect("new-session", lambda _client, session: session.set_timeout(args.session_timeout))

    def clean_up() -> bool:
        server.get_session_pool().cleanup()
        return True

    server.connect("client-connected", connected)
    GLib.timeout_add_seconds(1, clean_up)
    return server


def main() -> int:
    args = arguments()
    Gst.init(None)
    mounts = GstRtspServer.RTSPMountPoints()
    mounts.add_factory(args.path, make_factory(args))
    if args.sub_bitrate is not None:
        smaller = {"width": args.width // 4 * 2, "height": args.height // 4 * 2, "bitrate": args.sub_bitrate}
        mounts.add_factory(f"{args.path}-sub", make_factory(argparse.Namespace(**{**vars(args), **smaller})))
    servers = {"rtsp": make_server(args, mounts, args.port, secure=False)}
    if args.tls_cert:
        servers["rtsps"] = make_server(args, mounts, 0, secure=True)
    for server in servers.values():
        if server.attach(None) == 0:
            print(f"cannot listen on {args.host}:{server.get_service()}", file=sys.stderr)
            return 1
    loop = GLib.MainLoop()
    for number in (signal.SIGTERM, signal.SIGINT):
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, loop.quit)
    urls = (
        f"{scheme}://{args.host}:{server.get_bound_port()}{args.path}" for scheme, server in servers.items()
    )
    print("READY", *urls, flush=True)
    loop.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
