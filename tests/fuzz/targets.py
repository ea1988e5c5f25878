"""The parsers of what cameras send, each with what its documentation says it raises; and all targets."""

from collections.abc import Sequence

from common.aac import AacError, parse_audio_specific_config
from common.errors import CameraError, ConfigError
from common.h264 import H264Error, parse_sps, split_annex_b
from common.h265 import H265Error
from common.h265 import parse_sps as parse_h265_sps
from common.rtp import RtpError, SenderReport, parse_rtcp, parse_rtp
from common.urls import parse_camera_url, redact
from ingest.codecs.frame import Frame
from ingest.codecs.registry import problem_with
from ingest.reorder import ReorderBuffer
from ingest.rtp_track import RtpTrack
from ingest.rtsp.auth import Credentials, authorization, parse_challenges
from ingest.rtsp.events import RtcpData, RtpData, SessionOptions
from ingest.rtsp.messages import RtspError
from ingest.rtsp.parser import RtspParser
from ingest.rtsp.quirks import Quirks
from ingest.rtsp.sdp import parse_sdp, select_tracks
from ingest.rtsp.session import RtspSession
from ingest.rtsp.transport import agreed
from ingest.rtsp.tunnel import TunnelReply
from ingest.source import Remarks, SourceTrack
from tests.fuzz import corpus, targets_feedback, targets_media, targets_viewer
from tests.fuzz.engine import Target

# An access unit may grow to its limit, and no further.
MAX_HELD_BYTES = 9 << 20


class _Sink:
    """Looks at every frame as the bus would."""

    def playing(self, tracks: tuple[SourceTrack, ...], via: str, remarks: Remarks | None = None) -> None:
        assert tracks and via

    def frames(self, track: int, frames: list[Frame]) -> None:
        for frame in frames:
            assert frame.nals and all(frame.nals)
            assert sum(map(len, frame.nals)) <= MAX_HELD_BYTES
            assert 0 <= frame.timestamp < 1 << 32

    def restarted(self, track: int) -> None:
        assert track == 0

    def sender_report(self, track: int, report: SenderReport, arrival_ns: int) -> None:
        assert report.ntp >= 0


def _rtp_track(codec: str, in_order: bool) -> Target:
    description = corpus.TRACKS[codec]

    def run(pieces: Sequence[bytes]) -> None:
        reorder = None if in_order else ReorderBuffer(description.payload_type)
        track = RtpTrack(description, 0, _Sink(), 1, "fuzz", reorder)
        now = 1.0
        for piece in pieces:
            now += 0.04
            track.rtp(corpus.unframed(piece), now, int(now * 1e9))
            track.rtcp(corpus.rtcp()[:1], now, int(now * 1e9))
            track.poll(now + 0.05, int(now * 1e9))
        track.receiver_report(now)
        assert track.lost >= 0 and track.damaged >= 0 and track.jitter_s >= 0

    good = corpus.framed(corpus.rtp(codec))
    name = f"rtp-{codec}" if in_order else f"rtp-{codec}-reordered"
    return Target(name, (good,), run, (CameraError,), streams=False)


def _parser(pieces: Sequence[bytes]) -> None:
    parser = RtspParser()
    parser.channels = frozenset({0, 1})
    for piece in pieces:
        parser.feed(piece)
        parser.events()


def _session(options: SessionOptions) -> Target:
    url = parse_camera_url("rtsp://user:p%40ss@cam/live")

    def run(pieces: Sequence[bytes]) -> None:
        session = RtspSession(url, b"seed", options)
        now = 0.0
        session.start(now)
        for piece in pieces:
            now += 0.01
            session.feed(piece, now)
            for event in session.events():
                if isinstance(event, RtpData | RtcpData):
                    assert event.packets
            assert b"p@ss" not in session.data_to_send()
            session.tick(now)
        session.teardown(now)
        session.eof()

    inputs = (corpus.responses(), corpus.challenged(), *corpus.exchanges())
    return Target(f"session-{options.transport}", inputs, run, (CameraError, ConfigError))


def _sdp(pieces: Sequence[bytes]) -> None:
    description = parse_sdp(b"".join(pieces))
    for track in select_tracks(description, "rtsp://cam/live/", True, problem_with):
        assert problem_with(track) is None


def _auth(pieces: Sequence[bytes]) -> None:
    text = b"".join(pieces).decode("utf-8", "replace")
    challenge = parse_challenges(text.split("\n"))
    authorization(challenge, Credentials("user", "pass"), "DESCRIBE", "rtsp://cam/", 1, "0123")


def _transport(pieces: Sequence[bytes]) -> None:
    text = b"".join(pieces).decode("utf-8", "replace")
    for kind in ("tcp", "udp", "multicast"):
        try:
            agreed(text, kind, 0, (5000, 5001), corpus.TRACKS["h264"], (), Quirks())
        except RtspError:
            continue


def _tunnel(pieces: Sequence[bytes]) -> None:
    reply = TunnelReply()
    for piece in pieces:
        if reply.feed(piece):
            return


def _url(pieces: Sequence[bytes]) -> None:
    text = b"".join(pieces).decode("utf-8", "replace")
    redact(text)
    parse_camera_url(text)


def _all(function: object) -> object:
    def run(pieces: Sequence[bytes]) -> None:
        function(b"".join(pieces))  # type: ignore[operator]

    return run


_CHALLENGES = (
    b'Digest realm="a, b", nonce="0123", opaque="x", qop="auth,auth-int", algorithm=MD5, stale=FALSE',
    b'Basic realm="cam"\nDigest realm=cam, nonce=1, algorithm="SHA-256"',
)
_TRANSPORTS = (
    b"RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=12345678;mode=play",
    b"RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001;source=192.0.2.1",
    b"RTP/AVP;multicast;destination=239.1.2.3;port=5000-5001;ttl=16",
)
_TUNNEL = (b"HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\nRTSP/1.0 200 OK\r\n\r\n",)
_URLS = (b"rtsp://user:p%40ss@[fe80::1]:554/a?b=c&token=1", b"file:///clips/a.mp4", b"http://u:p@h/x")
_CONFIGS = (bytes.fromhex("1190"), bytes.fromhex("2b118800"))
_ANNEX_B = (b"\0\0\0\1" + b"\0\0\1".join(corpus.H264_SETS),)

_TARGETS = (
    Target("rtsp-parser", (corpus.responses(), corpus.challenged()), _parser, (RtspError,)),
    _session(SessionOptions()),
    _session(SessionOptions("udp", client_ports=((5000, 5001), (5002, 5003)))),
    Target("sdp", (corpus.SDP,), _sdp, (CameraError,), streams=False),
    Target("auth", _CHALLENGES, _auth, (RtspError, ConfigError), streams=False),
    Target("transport", _TRANSPORTS, _transport, (), streams=False),
    Target("tunnel", _TUNNEL, _tunnel, (CameraError,)),
    Target("url", _URLS, _url, (ConfigError,), streams=False),
    Target("rtp", tuple(corpus.rtp("h264")), _all(parse_rtp), (RtpError,), streams=False),
    Target("rtcp", tuple(corpus.rtcp()), _all(parse_rtcp), (RtpError,), streams=False),
    Target("h264-sps", corpus.H264_SETS[:1], _all(parse_sps), (H264Error,), streams=False),
    Target("h265-sps", corpus.H265_SETS[1:2], _all(parse_h265_sps), (H265Error,), streams=False),
    Target(
        "aac-config",
        (bytes.fromhex("1190"), bytes.fromhex("2b118800")),
        _all(parse_audio_specific_config),
        (AacError,),
        streams=False,
    ),
    Target("annex-b", _ANNEX_B, _all(split_annex_b), (), streams=False),
    *(_rtp_track(codec, in_order=True) for codec in corpus.TRACKS),
    _rtp_track("h264", in_order=False),
    _rtp_track("opus", in_order=False),
)
TARGETS = {
    target.name: target
    for target in (*_TARGETS, *targets_media.TARGETS, *targets_viewer.TARGETS, *targets_feedback.TARGETS)
}
"By name."
