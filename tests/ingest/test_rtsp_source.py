"""A camera by RTSP: the order of transports, redirects, logins, silence, and leaving."""

import asyncio
import contextlib
import re
import socket

import pytest

from common import urls
from common.clock import SystemClock
from common.errors import CameraError, CameraRefusal
from common.rtp import (
    Goodbye,
    ReceiverReport,
    RtpPacket,
    SenderReport,
    parse_rtcp,
    serialize_rtcp,
    serialize_rtp,
)
from common.urls import parse_camera_url
from ingest import dial, reorder, rtsp_play, rtsp_source
from ingest.rtsp.messages import RtspError, TransportRefused
from ingest.rtsp_play import Silent
from ingest.rtsp_source import MAX_REDIRECTS, RtspOptions, RtspSource
from ingest.udp import PUNCH, bind_pair
from tests.support.certificates import self_signed
from tests.support.faulty_camera import (
    SDP,
    Close,
    Hang,
    Read,
    Reset,
    Send,
    faulty_camera,
    interleaved,
    reply,
    until_playing,
)
from tests.support.ports import free_tcp_port
from tests.support.processes import gst_camera
from tests.support.udp_relay import Weather, udp_relay
from tests.support.vlc_rtsp_server import vlc_camera

from .codecs.test_h264 import IDR, PPS, SLICE, SPS
from .recording_sink import RecordingSink

PUBLIC = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"
LOGIN = reply("401 Unauthorized", 'WWW-Authenticate: Digest realm="r", nonce="n"')


def rtp(sequence, payload, timestamp):
    return serialize_rtp(RtpPacket(96, True, sequence, timestamp, 7, payload))


PACKETS = [rtp(1, SPS, 0), rtp(2, PPS, 0), rtp(3, IDR, 0), rtp(4, SLICE, 3600), rtp(5, SLICE, 7200)]
VIDEO = Send(b"".join(interleaved(0, packet) for packet in PACKETS))
REFUSED_TCP = [*until_playing()[:5], reply("461 Unsupported Transport"), Hang()]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rtsp_play, "TICK_S", 0.05)


def source(url, *transports, **options):
    chosen = RtspOptions(transports or ("tcp",), **options)
    return RtspSource(parse_camera_url(url), chosen, SystemClock())


class Play:
    """`play` under way; `failure` is what ended it."""

    def __init__(self, played):
        self.sink = RecordingSink()
        self.task = asyncio.ensure_future(played.play(self.sink))
        self.task.add_done_callback(lambda _: self.sink.called.set())

    async def frames(self, count):
        await self.sink.until(lambda: self.task.done() or len(self.sink.all_frames) >= count)
        if self.task.done():
            await self.task

    async def failure(self):
        async with asyncio.timeout(20):
            await asyncio.wait({self.task})
        return self.task.exception()

    async def end(self):
        self.task.cancel()
        await asyncio.wait({self.task})


@contextlib.asynccontextmanager
async def playing(played):
    play = Play(played)
    try:
        yield play
    finally:
        await play.end()


async def failure(url, *transports, **options):
    async with playing(source(url, *transports, **options)) as play:
        return await play.failure()


# Against scripts.


async def test_plays_and_says_goodbye():
    script = [*until_playing(), VIDEO, Read(), reply("200 OK"), Hang()]
    async with faulty_camera(script) as camera:
        async with playing(source(camera.url)) as play:
            await play.frames(3)
            assert play.sink.calls[0] == ("playing", "RTSP over TCP")
            assert [track.codec for track in play.sink.tracks] == ["H264"]
        assert camera.requests[-1].startswith("TEARDOWN")


async def test_nothing_comes_after_the_cancellation():
    more = Send(b"".join(interleaved(0, rtp(number, SLICE, number * 3600)) for number in range(6, 20)))
    script = [*until_playing(), VIDEO, Read(), more, reply("200 OK"), Hang()]
    async with faulty_camera(script) as camera:
        async with playing(source(camera.url)) as play:
            await play.frames(3)
        assert camera.requests[-1].startswith("TEARDOWN")
    assert [frame.timestamp for _, frame in play.sink.all_frames] == [0, 3600, 7200]


async def test_reports_go_to_the_camera(monkeypatch):
    monkeypatch.setattr(rtsp_play, "REPORT_EVERY_S", 0.01)
    got = asyncio.get_running_loop().create_future()

    def send_rtcp(connection, track, packet):
        if not got.done() and parse_rtcp(packet)[0].reports:
            got.set_result((track, parse_rtcp(packet)[0].reports[0]))

    monkeypatch.setattr(rtsp_play.CameraConnection, "send_rtcp", send_rtcp)
    async with faulty_camera([*until_playing(), VIDEO, Hang()]) as camera, playing(source(camera.url)):
        track, report = await asyncio.wait_for(got, 5)
    assert (track, report.ssrc, report.highest_sequence) == (0, 7, 5)


async def test_faults_are_told_once(caplog):
    lossy = Send(b"".join(interleaved(0, packet) for packet in (*PACKETS, rtp(9, SLICE, 9000), b"\x80")))
    script = [*until_playing(), lossy, Hang()]
    async with faulty_camera(script) as camera, playing(source(camera.url)) as play:
        await play.frames(3)
        async with asyncio.timeout(5):
            while not caplog.records:
                await asyncio.sleep(0.01)
        # Some ticks more.
        await asyncio.sleep(5 * rtsp_play.TICK_S)
    assert caplog.messages == ["! camera at 127.0.0.1: 3 packets lost, 1 malformed"]


async def test_what_the_sink_raises_ends_it():
    fault = ValueError("sink")

    def refuse(*_):
        raise fault

    script = [*until_playing(), VIDEO, Read(), reply("200 OK"), Hang()]
    async with faulty_camera(script) as camera, playing(source(camera.url)) as play:
        play.sink.frames = refuse
        assert await play.failure() is fault
        assert camera.requests[-1].startswith("TEARDOWN")


async def test_goodbye_to_a_camera_that_says_goodbye():
    bye = Send(VIDEO.data + interleaved(1, serialize_rtcp(Goodbye((7,)))))
    script = [*until_playing(), bye, Read(), reply("200 OK"), Hang()]
    async with faulty_camera(script) as camera:
        assert "RTCP BYE" in str(await failure(camera.url))
        assert camera.requests[-1].startswith("TEARDOWN")
    async with faulty_camera([*until_playing(), bye, Close()]) as camera:
        assert "RTCP BYE" in str(await failure(camera.url))


async def test_broken_sound_does_not_end_the_picture(caplog):
    """Two senders of sound on one port; and it is told once."""
    script = until_playing(SDP + "m=audio 0 RTP/AVP 8\r\na=control:track2\r\n")
    script[6:6] = [
        Read(),
        reply("200 OK", "Session: 1234", "Transport: RTP/AVP/TCP;unicast;interleaved=2-3"),
    ]
    sound = [RtpPacket(8, True, number, number * 160, 7 + number % 2, b"a" * 160) for number in range(60)]
    script += [Send(b"".join(interleaved(2, serialize_rtp(packet)) for packet in sound)), VIDEO, Hang()]
    async with faulty_camera(script) as camera, playing(source(camera.url)) as play:
        await play.sink.until(lambda: play.task.done() or any(not track for track, _ in play.sink.all_frames))
        (note,) = play.sink.remarks.notes
        assert note.startswith("audio is left out: it began anew 20 times within 10 s")
        await asyncio.sleep(5 * rtsp_play.TICK_S)
        assert not play.task.done()
    assert caplog.messages.count(f"! camera at 127.0.0.1: {note}") == 1


async def test_keep_alives_come_in_time_and_remarks_while_it_plays(monkeypatch):
    # Nothing but the camera's timeout makes it look in time.
    monkeypatch.setattr(rtsp_play, "TICK_S", 60.0)
    script = until_playing()
    script[5] = reply("200 OK", "Session: 1;timeout=1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
    script += [VIDEO, Read(), reply("400 Bad Request"), Read(), reply("200 OK"), Hang()]
    async with faulty_camera(script) as camera, playing(source(camera.url)) as play:
        await play.frames(3)
        assert (play.sink.remarks.quirks, play.sink.remarks.notes) == ((), ())
        async with asyncio.timeout(20):
            while len(camera.requests) < 6:
                await asyncio.sleep(0.01)
        methods = [request.split()[0] for request in camera.requests[4:]]
        assert methods == ["GET_PARAMETER", "OPTIONS"]
        assert play.sink.remarks.quirks == ("keep-alive-refused",)


@contextlib.contextmanager
def by_udp():
    """A camera's socket, and the script that leads there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        setup = reply(
            "200 OK",
            "Session: 1",
            f"Transport: RTP/AVP;unicast;server_port={sender.getsockname()[1]}-9",
        )
        played = reply("200 OK", "Session: 1")
        yield sender, [*until_playing()[:5], setup, Read(), played, Read(), reply("200 OK")]


async def send_when_played(camera, sender):
    async with asyncio.timeout(5):
        while not any(request.startswith("PLAY") for request in camera.requests):
            await asyncio.sleep(0.01)
    ports = re.search(r"client_port=(\d+)-(\d+)", "".join(camera.requests))
    for packet in PACKETS:
        sender.sendto(packet, ("127.0.0.1", int(ports[1])))


async def test_the_next_transport_after_a_refusal_and_memory(caplog):
    with by_udp() as (sender, script):
        async with faulty_camera(REFUSED_TCP, script) as camera:
            played = source(camera.url, "tcp", "udp")
            for _ in range(2):
                camera.requests.clear()
                async with playing(played) as play:
                    await send_when_played(camera, sender)
                    await play.frames(3)
                    assert play.sink.via == "RTSP over UDP"
                    # From the same address, so it is the way that was opened.
                    assert sender.recv(100) == PUNCH
            # The second time it began with what worked.
            assert not any("RTP/AVP/TCP" in request for request in camera.requests)
    assert "now by udp" in caplog.text


@pytest.mark.parametrize("status", ["500 Internal Server Error", "400 Bad Request", "451 Not Understood"])
async def test_a_refusal_that_may_pass_is_not_remembered(status):
    """A camera that boots refuses TCP once, takes UDP a second later, and TCP from then on."""
    busy = [*until_playing()[:5], reply(status), Hang()]
    with by_udp() as (sender, script):
        async with faulty_camera(busy, script, [*until_playing(), VIDEO, Hang()]) as camera:
            played = source(camera.url, "tcp", "udp")
            async with playing(played) as play:
                await send_when_played(camera, sender)
                await play.frames(3)
                assert play.sink.via == "RTSP over UDP"
            camera.requests.clear()
            async with playing(played) as play:
                await play.frames(3)
                assert play.sink.via == "RTSP over TCP"
            assert sum("RTP/AVP/TCP" in request for request in camera.requests) == 1


@pytest.mark.parametrize(("on_get", "gets"), [([Read(), Close()], 2), ([Read(), Hang()], 1)])
async def test_http_that_was_refused_is_tried_again_but_not_where_it_was_silent(monkeypatch, on_get, gets):
    monkeypatch.setattr(dial, "CONNECT_DEADLINE_S", 0.2)
    by_tcp = [*until_playing(), VIDEO, Hang()]
    async with faulty_camera(*([on_get, by_tcp] * gets)) as camera:
        played = source(camera.url, "http", "tcp")
        for _ in range(2):
            async with playing(played) as play:
                await play.frames(3)
                assert play.sink.via == "RTSP over TCP"
        assert sum(request.startswith("GET ") for request in camera.requests) == gets


async def test_every_transport_refused():
    async with faulty_camera(REFUSED_TCP) as camera:
        assert isinstance(await failure(camera.url, "tcp", "udp"), TransportRefused)
        assert camera.connections == 2


SILENCE = [Read(), Hang()]
ON_GET = [
    *([Read(), Send(answer), Hang()] for answer in (b"\0\1\2\3\4\5\6\7", b"RTSP/1.0 400 Bad\r\n\r\n")),
    [Read(), Send(b"HTTP/1.0 404 Not Found\r\n\r\n"), Hang()],
    [Read(), Close()],
    [Reset()],
    SILENCE,
]


@pytest.mark.parametrize("on_get", ON_GET)
async def test_the_next_transport_after_http(monkeypatch, on_get):
    monkeypatch.setattr(dial, "CONNECT_DEADLINE_S", 0.2 if on_get is SILENCE else 5.0)
    async with faulty_camera(on_get, [*until_playing(), VIDEO, Hang()]) as camera:
        async with playing(source(camera.url, "http", "tcp")) as play:
            await play.frames(3)
        assert play.sink.via == "RTSP over TCP"


@contextlib.contextmanager
def ports(monkeypatch, rtsp, http):
    """URLs without port mean these."""
    monkeypatch.setattr(dial, "HTTP_PORT", http)
    monkeypatch.setitem(urls.DEFAULT_PORTS, "rtsp", rtsp)
    yield "rtsp://127.0.0.1/camera"


async def test_the_next_transport_has_another_port(monkeypatch, caplog):
    refuses = free_tcp_port()
    async with faulty_camera([*until_playing(), VIDEO, Hang()]) as camera:
        with ports(monkeypatch, rtsp=camera.port, http=refuses) as url:
            async with playing(source(url, "http", "tcp")) as play:
                await play.frames(3)
    async with faulty_camera([Read(), Close()]) as camera:
        with ports(monkeypatch, rtsp=refuses, http=camera.port) as url:
            played = source(url, "tcp", "udp", "http")
            for _ in range(2):
                async with playing(played) as play:
                    assert "closes RTSP over HTTP" in str(await play.failure())
            assert [request.split()[0] for request in camera.requests] == ["GET", "GET"]
    # Once in an outage.
    assert caplog.text.count(f"camera at 127.0.0.1:{refuses} refuses connections") == 2
    assert caplog.text.count("now by http") == 1


async def test_no_port_that_takes_connections(monkeypatch):
    first, second = free_tcp_port(), free_tcp_port()
    with ports(monkeypatch, rtsp=first, http=second) as url:
        error = await failure(url, "tcp", "http")
    assert f"camera at 127.0.0.1:{first} refuses connections" in str(error)


async def test_nothing_is_sent_to_the_third_that_a_camera_names(monkeypatch):
    made = []

    class Receiver(rtsp_play.UdpReceiver):
        def __init__(self, pair, track, clock, hosts, rtp, rtcp, unheard, *calls):
            made.append((hosts, sorted(rtp), sorted(rtcp), unheard))
            super().__init__(pair, track, clock, hosts, rtp, rtcp, unheard, *calls)

    monkeypatch.setattr(rtsp_play, "UdpReceiver", Receiver)
    setup = reply("200 OK", "Session: 1", "Transport: RTP/AVP;unicast;source=192.0.2.9;server_port=6-7")
    async with faulty_camera([*until_playing()[:5], setup, Read(), Close()]) as camera:
        await failure(camera.url, "udp")
    hosts = {"127.0.0.1", "192.0.2.9"}
    targets = [[("127.0.0.1", port), ("192.0.2.9", port)] for port in (6, 7)]
    assert made == [(hosts, *targets, {"192.0.2.9"})]


async def test_udp_that_stays_silent(monkeypatch):
    monkeypatch.setattr(rtsp_play, "SILENT_AFTER_S", 0.2)
    setup = reply("200 OK", "Session: 1", "Transport: RTP/AVP;unicast;server_port=9-10")
    silent = [*until_playing()[:5], setup, Read(), reply("200 OK", "Session: 1"), Read(), reply("200 OK")]
    async with faulty_camera(silent) as camera:
        error = await failure(camera.url, "udp")
        assert isinstance(error, Silent)
        assert "camera plays over UDP, but nothing came within 0.2 s" in str(error)
        assert camera.requests[-1].startswith("TEARDOWN")
    async with faulty_camera(silent, [*until_playing(), VIDEO, Hang()]) as camera:
        async with playing(source(camera.url, "udp", "tcp")) as play:
            await play.frames(3)
        assert play.sink.calls[0] == ("playing", "RTSP over TCP")


async def test_a_multicast_group():
    pair = bind_pair(("127.0.0.1", 0))
    rtp_port, rtcp_port = pair.ports
    pair.close()
    group = "239.255.77.2"
    setup = reply(
        "200 OK",
        "Session: 1",
        f"Transport: RTP/AVP;multicast;destination={group};port={rtp_port}-{rtcp_port};ttl=1",
    )
    script = [*until_playing()[:5], setup, Read(), reply("200 OK", "Session: 1"), Read(), reply("200 OK")]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sender.bind(("127.0.0.1", 0))
        async with faulty_camera(script) as camera, playing(source(camera.url, "multicast")) as play:
            async with asyncio.timeout(5):
                while not any(request.startswith("PLAY") for request in camera.requests):
                    await asyncio.sleep(0.01)
            report = serialize_rtcp(SenderReport(7, 1 << 32, 0, 0, 0))
            sender.sendto(report, (group, rtcp_port))
            for packet in PACKETS:
                sender.sendto(packet, (group, rtp_port))
            await play.frames(3)
            assert play.sink.via == "RTSP multicast"
            await play.sink.until(lambda: any(call[0] == "sender_report" for call in play.sink.calls))


async def test_rtsps_sends_nothing_in_clear(tmp_path):
    assert isinstance(await failure("rtsps://127.0.0.1:9/", "udp", "multicast"), CameraRefusal)
    error = await failure(f"rtsps://127.0.0.1:{free_tcp_port()}/", "udp", "tcp")
    assert "refuses connections" in str(error)


# Logins.


async def test_a_camera_that_closes_after_its_401():
    first = [Read(), LOGIN, Close()]
    async with faulty_camera(first, [*until_playing(), VIDEO, Hang()]) as camera:
        async with playing(source(camera.url.replace("//", "//u:p@"))) as play:
            await play.frames(3)
        assert "Authorization" not in camera.requests[0]
        assert camera.connections == 2
        assert 'Authorization: Digest username="u"' in camera.requests[1]


async def test_a_camera_that_always_closes_after_its_401():
    async with faulty_camera([Read(), LOGIN, Close()]) as camera:
        error = await failure(camera.url.replace("//", "//u:p@"))
        assert isinstance(error, CameraError)
        assert camera.connections == 2


async def test_a_wrong_password_is_not_remembered():
    async with faulty_camera([Read(), LOGIN, Read(), LOGIN, Hang()]) as camera:
        played = source(camera.url.replace("//", "//u:p@"))
        for _ in range(2):
            camera.requests.clear()
            async with playing(played) as play:
                assert isinstance(await play.failure(), CameraRefusal)
            assert "Authorization" not in camera.requests[0]


async def test_the_login_is_known_the_next_time():
    first = [Read(), LOGIN, *until_playing(), Close()]
    async with faulty_camera(first, [*until_playing(), VIDEO, Hang()]) as camera:
        played = source(camera.url.replace("//", "//u:p@"))
        async with playing(played) as play:
            assert isinstance(await play.failure(), RtspError)
        camera.requests.clear()
        async with playing(played) as play:
            await play.frames(3)
        assert camera.requests[0].startswith("OPTIONS")
        assert "Authorization: Digest" in camera.requests[0]


# Redirects.


def redirect(location):
    return [Read(), reply("200 OK", PUBLIC), Read(), reply("302 Moved", f"Location: {location}"), Hang()]


async def test_a_redirect_is_followed_with_the_login_to_the_same_host():
    async with faulty_camera([Read(), LOGIN, *until_playing(), VIDEO, Hang()]) as target:
        for location in (target.url, target.url.replace("//", "//u:p@")):
            async with (
                faulty_camera(redirect(location)) as camera,
                playing(source(camera.url.replace("//", "//u:p@"))) as play,
            ):
                await play.frames(3)
            assert 'username="u"' in target.requests[-1]


async def test_the_login_does_not_go_elsewhere():
    async with faulty_camera([Read(), LOGIN, Hang()]) as target:
        other = target.url.replace("127.0.0.1", "localhost")
        async with faulty_camera(redirect(other)) as camera:
            error = await failure(camera.url.replace("//", "//u:secret@"))
        assert isinstance(error, CameraRefusal)
        assert "wants a user name and password" in str(error)
        assert "secret" not in str(error)


async def test_the_login_does_not_leave_tls():
    played = source("rtsps://u:p@h/", "tcp")
    with pytest.raises(CameraRefusal, match=r"from rtsps:// to rtsp://h:554, which is not encrypted"):
        played._redirected(parse_camera_url("rtsps://h/"), "rtsp://h/x")
    assert played._redirected(parse_camera_url("rtsps://h/"), "rtsps://h:99/x").username == "u"
    assert played._redirected(parse_camera_url("rtsps://h/"), "/x").public == "rtsps://h/x"
    assert played._redirected(parse_camera_url("rtsps://h:9/"), "/x").public == "rtsps://h:9/x"
    assert source("rtsp://u:p@h/")._redirected(parse_camera_url("rtsp://h/"), "rtsps://h/").username == "u"


async def test_redirects_in_a_circle():
    async with faulty_camera(redirect("rtsp://127.0.0.1:{cseq}/")) as camera:
        camera.scripts = [redirect(camera.url)]
        error = await failure(camera.url)
    assert isinstance(error, CameraRefusal)
    assert "circle" in str(error)
    assert camera.connections == 1


async def test_redirects_without_end():
    async with faulty_camera(redirect("")) as camera:
        camera.scripts = [redirect(f"{camera.url}/{number}") for number in range(20)]
        error = await failure(camera.url)
    assert isinstance(error, CameraRefusal)
    assert camera.connections == MAX_REDIRECTS + 1


def redirect_while_playing(location):
    script = [
        *until_playing(),
        Send(VIDEO.data + f"REDIRECT * RTSP/1.0\r\nLocation: {location}\r\n\r\n".encode()),
    ]
    return [*script, Hang()]


async def test_redirects_without_end_while_it_plays(monkeypatch):
    async with faulty_camera([]) as camera:
        camera.scripts = [redirect_while_playing(f"{camera.url}/{number}") for number in range(20)]
        async with playing(source(camera.url)) as play:
            assert "more than 5 times" in str(await play.failure())
        assert camera.connections == MAX_REDIRECTS + 1
        # The pictures before each were shown.
        assert len(play.sink.all_frames) == 3 * (MAX_REDIRECTS + 1)
        # After a long play it is another matter.
        monkeypatch.setattr(rtsp_source, "STABLE_AFTER_S", 0.0)
        async with playing(source(camera.url)) as play:
            await play.frames(3 * (MAX_REDIRECTS + 3))


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("nonsense?pw", RtspError),
        ("http://u:pw@h/pw?pw", CameraRefusal),
        ("rtsp://u:pw@/", RtspError),
        ("rtsp://u:pw@a..b/", CameraRefusal),
    ],
)
async def test_redirects_to_nowhere(location, kind):
    async with faulty_camera(redirect(location)) as camera:
        error = await failure(camera.url)
    assert isinstance(error, kind)
    assert "pw" not in str(error)


# Against real servers.


@pytest.mark.peers
@pytest.mark.parametrize("transport", ["tcp", "udp", "http"])
async def test_gstreamer(transport):
    options = {"audio": "pcma", "user": "u", "password": "p/@", "auth": "digest"}
    async with gst_camera(**options) as camera:
        url = camera.ready.split()[0].replace("//", "//u:p%2F%40@")
        async with playing(source(url, transport)) as play:
            await play.frames(100)
            assert play.sink.via == f"RTSP over {transport.upper()}"
            assert [track.codec for track in play.sink.tracks] == ["H264", "PCMA"]
            await play.sink.until(lambda: any(call[0] == "sender_report" for call in play.sink.calls))
            assert {track for track, _ in play.sink.all_frames} == {0, 1}
            assert [track.lost for track in play.sink.tracks] == [0, 0]


@pytest.mark.peers
@pytest.mark.parametrize("transport", ["tcp", "http"])
async def test_gstreamer_with_tls(tmp_path, transport):
    files = self_signed(tmp_path)
    async with gst_camera(tls_cert=files.certificate, tls_key=files.key) as camera:
        url = camera.ready.split()[1]
        assert isinstance(await failure(url, transport), CameraRefusal)
        async with playing(source(url, transport, verify_tls=False)) as play:
            await play.frames(30)
            assert play.sink.via == f"RTSPS over {transport.upper()}"


@pytest.mark.peers
async def test_vlc_sends_over_udp_only():
    async with vlc_camera(audio="pcma") as url, playing(source(url, "tcp", "udp")) as play:
        await play.frames(50)
        assert play.sink.via == "RTSP over UDP"
        assert play.sink.tracks[0].codec == "H264"


def port_of(url):
    return int(re.search(r":(\d+)/", url)[1])


@pytest.mark.peers
async def test_jitter_that_reorders_costs_nothing(monkeypatch):
    # So long may a busy machine be about a datagram.
    monkeypatch.setattr(reorder, "MAX_HOLD_S", 1.0)
    async with (
        gst_camera(bitrate=4000) as camera,
        udp_relay(port_of(camera.ready), Weather(delay_s=0.02, jitter_s=0.05)) as relay,
        playing(source(f"rtsp://127.0.0.1:{relay.port}/camera", "udp")) as play,
    ):
        await play.frames(60)
        (track,) = play.sink.tracks
        assert track.reordered > 20
        assert track.lost == 0
        # What was overtaken by the very first packet is not missed but never read.
        assert sum(frame.gap for _, frame in play.sink.all_frames[1:]) == 0
        assert PUNCH in relay.from_client


@pytest.mark.peers
@pytest.mark.parametrize("loss", [0.01, 0.05])
async def test_loss_leaves_only_whole_pictures(loss, monkeypatch):
    monkeypatch.setattr(rtsp_play, "REPORT_EVERY_S", 0.2)
    monkeypatch.setattr(reorder, "MAX_HOLD_S", 0.3)
    async with gst_camera(bitrate=1000, gop=10) as camera:
        weather = Weather(loss=loss, delay_s=0.02, jitter_s=0.05)
        async with udp_relay(port_of(camera.ready), weather) as relay:
            url = f"rtsp://127.0.0.1:{relay.port}/camera"
            async with playing(source(url, "udp")) as play:
                await play.frames(60)
                (track,) = play.sink.tracks
                assert 0 < track.lost <= relay.lost + track.dropped  # late, on a busy machine
                assert track.reordered > 0
                frames = [frame for _, frame in play.sink.all_frames]
                assert all(frame.keyframe for frame in frames if frame.gap)
            reports = [
                packet
                for data in relay.from_client
                if data != PUNCH
                for packet in parse_rtcp(data)
                if isinstance(packet, ReceiverReport) and packet.reports
            ]
            assert reports[-1].reports[0].packets_lost > 0


@pytest.mark.peers
async def test_a_firewall_against_udp(monkeypatch):
    monkeypatch.setattr(rtsp_play, "SILENT_AFTER_S", 1.0)
    async with (
        gst_camera() as camera,
        udp_relay(port_of(camera.ready), Weather(loss=1.0)) as relay,
        playing(source(f"rtsp://127.0.0.1:{relay.port}/camera", "udp", "tcp")) as play,
    ):
        await play.frames(10)
        vias = [call[1] for call in play.sink.calls if call[0] == "playing"]
        assert vias == ["RTSP over TCP"]
