"""What one viewer is given: real lanes and streams; the test is the camera, and time is its own."""

import dataclasses
import itertools
import socket
import types
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pylibsrtp
import pytest

from common import wire
from common.bus import ipc_endpoint
from common.messages import Quality, Rendition
from common.rtcp_feedback import KeyframeRequest, Nack, TransportFeedback
from common.rtp import ReceiverReport, ReportBlock, RtpPacket, SenderReport, parse_rtcp, parse_rtp
from fanout import viewing as viewing_module
from fanout.egress import Egress, Extensions
from fanout.ice.session import RemoteIce
from fanout.link import Link
from fanout.outlet import Outlet
from fanout.pacer import Paced
from fanout.sdp.formats import Format
from fanout.sdp.offer import MediaChoice, Offer
from fanout.srtp import MasterKey
from fanout.stream import Stream
from fanout.stream_pool import StreamPool
from fanout.viewing import EARLY_REPORTS, MAX_HOLD_S, Showing, Viewing
from tests.fanout.outgoing import KEY, SALT, UdpPath
from tests.fanout.units import access_unit, audio_unit
from tests.support.slow_link import START_S, STEP_S, Conditions, SlowLink

VIDEO_SSRC, RTX_SSRC, AUDIO_SSRC = 11, 12, 13
VIDEO_TYPE, RTX_TYPE, AUDIO_TYPE = 96, 97, 8
FRAME_S = 0.04
PARTS = round(FRAME_S / STEP_S)
SIZES = {"main": 9600, "sub": 1000}
"Octets of a picture: 2 Mbit/s and 200 kbit/s."
KEYFRAME_WEIGHT = 4
"Times the octets of another picture; the largest is no burst yet."


class Pacer:
    """Pumps when the test says that it is time."""

    def __init__(self) -> None:
        self._due: dict[Paced, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def add(self, paced: Paced) -> None:
        self._due.setdefault(paced, 0.0)

    def discard(self, paced: Paced) -> None:
        self._due.pop(paced, None)

    def run(self, now: float) -> None:
        while ready := [paced for paced, due in self._due.items() if due <= now]:
            for paced in ready:
                due = paced.pump(now)
                if due is None:
                    self._due.pop(paced, None)
                else:
                    self._due[paced] = due


class Feed:
    """A rendition's side of the bus."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.next = 0

    def end_join(self) -> None:
        self.stream._on_message(wire.encode_join_end(self.stream._join_topic, 1, 0))

    def picture(self, now: float, keyframe: bool, size: int, codec: str = "H264") -> None:
        now_ns = round(now * 1e9)
        unit = dataclasses.replace(
            access_unit(self.next, keyframe, size, codec=codec, timestamp=round(now * 90_000)),
            capture_ns=now_ns,
            arrival_ns=now_ns,
        )
        self.next += 1
        self.stream._on_message(wire.encode_access_unit(self.stream._video_topic, unit))

    def sound(self, now: float) -> None:
        unit = audio_unit("PCMA", bytes(160), capture_ns=round(now * 1e9))
        unit = dataclasses.replace(unit, timestamp=round(now * 8000))
        self.stream._on_message(wire.encode_access_unit(self.stream._audio_topic, unit))


class Scene:
    """A viewer of one camera. Each rendition has 25 pictures a second, and a keyframe each `gop`."""

    def __init__(
        self,
        endpoint: str,
        renditions: Sequence[Rendition] = ("main", "sub"),
        audible: Sequence[Rendition] = (),
        feedback: bool = True,
        gop: int = 50,
        quality: Quality = "auto",
    ) -> None:
        self.now = START_S
        self.way: SlowLink | None = None
        self.gop = gop
        self.frame = 0
        self.live: set[str] = {"main", "sub"}
        "Renditions whose camera sends."
        self.sounding: set[str] = set()
        self.feeds: dict[Stream, Feed] = {}
        self.changes: list[tuple[Showing, str]] = []
        self.problems: list[str] = []
        self.packets: list[RtpPacket] = []
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.setblocking(False)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        egress = Egress(self.socket.fileno(), -1, True)
        self.pacer = Pacer()
        self.pool = StreamPool("fanout-0", egress)
        video = MediaChoice(
            0,
            (Format("H264", VIDEO_TYPE, "", RTX_TYPE),),
            frozenset(),
            Extensions(transport_sequence=3 if feedback else 0),
        )
        audio = MediaChoice(1, (Format("PCMA", AUDIO_TYPE, "", None),), frozenset(), Extensions())
        ice = RemoteIce("ufrag", "password", ())
        self.viewing = Viewing(
            Offer((), video, audio, tuple(renditions), True, 0, ice, ()),
            MasterKey("SRTP_AEAD_AES_128_GCM", KEY, SALT),
            (VIDEO_SSRC, RTX_SSRC, AUDIO_SSRC),
            Outlet(egress, UdpPath(self.socket, *self.receiver.getsockname())),
            self.pacer,  # type: ignore[arg-type]
            self.pool,
            self.pool.acquire("gate", renditions[0 if quality in ("auto", "main") else -1], endpoint),
            renditions,
            audible,
            endpoint,
            quality,
            self.now,
            self.problems.append,
            lambda showing, reason: self.changes.append((showing, reason)),
        )
        self._srtp = pylibsrtp.Session(
            pylibsrtp.Policy(
                key=KEY + SALT,
                ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
                srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
            )
        )

    def stream(self, rendition: str) -> Stream | None:
        return self.pool._streams.get(("gate", rendition))  # type: ignore[call-overload]

    def users(self) -> dict[str, int]:
        return {stream.rendition: users for stream, users in self.pool._users.items()}

    def step(self) -> list[RtpPacket]:
        """The next pictures; gives what the viewer got."""
        keyframe = self.frame % self.gop == 0
        self.frame += 1
        self.now += FRAME_S
        for stream in tuple(self.pool._streams.values()):
            feed = self.feeds.get(stream)
            if feed is None:
                feed = self.feeds[stream] = Feed(stream)
                feed.end_join()
            if stream.rendition in self.live:
                feed.picture(
                    self.now, keyframe, SIZES[stream.rendition] * (KEYFRAME_WEIGHT if keyframe else 1)
                )
            if stream.rendition in self.sounding:
                feed.sound(self.now)
        got = []
        for part in range(PARTS):
            self.pacer.run(self.now + part * STEP_S)
            got += self.take()
            if self.way is not None:
                self.way.advance()
        return got

    def run(self, seconds: float, check: bool = True) -> list[RtpPacket]:
        """Lets time pass; the viewing is looked at twice a second."""
        got = []
        for step in range(round(seconds / FRAME_S)):
            got += self.step()
            if check and step % 12 == 0:
                self.viewing.check(self.now)
        return got

    def run_until(self, condition: Callable[[], bool], at_most_s: float) -> list[RtpPacket]:
        got = []
        for _ in range(round(at_most_s)):
            if condition():
                return got
            got += self.run(1)
        raise AssertionError(f"not within {at_most_s} s")

    def take(self) -> list[RtpPacket]:
        """What arrived since."""
        packets = []
        while True:
            try:
                data = self.receiver.recv(2048)
            except BlockingIOError:
                break
            packets.append(parse_rtp(self._srtp.unprotect(data)))
            if self.way is not None:
                self.way.send(len(data))
        self.packets += packets
        return packets

    def put_behind(self, conditions: Conditions) -> None:
        """Everything goes through a bottleneck from now on, and the viewer tells of what arrives."""
        self.way = SlowLink(conditions)
        self.viewing._link = self.way.link
        self.viewing._log = self.way.log  # type: ignore[assignment]

    def ask(self, packet: KeyframeRequest | Nack | TransportFeedback | ReceiverReport) -> None:
        self.viewing.on_rtcp((packet,), self.now)

    def close(self) -> None:
        self.viewing.close()
        self.pool.close()
        self.receiver.close()
        self.socket.close()


Make = Callable[..., Scene]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    scenes: list[Scene] = []

    def make(**options: object) -> Scene:
        scenes.append(Scene(ipc_endpoint(tmp_path, "gate"), **options))  # type: ignore[arg-type]
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()


def pictures(packets: Sequence[RtpPacket]) -> int:
    return len({packet.timestamp for packet in packets if packet.ssrc == VIDEO_SSRC})


def assert_unbroken(packets: Sequence[RtpPacket]) -> None:
    """One stream for the receiver: sequence numbers without a gap, timestamps never back nor far on."""
    video = [packet for packet in packets if packet.ssrc == VIDEO_SSRC]
    for before, after in itertools.pairwise(video):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        step = (after.timestamp - before.timestamp) & 0xFFFFFFFF
        assert (0 < step < 20 * 90_000) if before.marker else step == 0


async def test_another_rendition_is_shown_from_its_first_picture(make: Make) -> None:
    scene = make()
    scene.run(1)
    scene.viewing.select("sub", scene.now)
    # Until it has a picture, the main stream is watched.
    scene.live = {"main"}
    assert pictures(scene.run(2)) >= 49 and scene.changes == [] and scene.users() == {"main": 1, "sub": 1}
    scene.live = {"main", "sub"}
    scene.run(3)
    assert scene.changes == [("sub", "asked for")] and scene.users() == {"sub": 1}
    assert scene.viewing.switches == 1
    scene.viewing.select("main", scene.now)
    scene.run(1)
    # It was there already, with all that is needed: at once, by its cached GOP.
    assert scene.changes[-1] == ("main", "asked for") and scene.users() == {"main": 1}
    assert scene.problems == []
    assert_unbroken(scene.packets)


BROWSER = "the browser does not play what the main stream sends"


@pytest.mark.parametrize(
    ("quality", "renditions", "told"),
    [
        ("auto", ("main", "sub"), []),
        ("main", ("main", "sub"), []),
        ("sub", ("main", "sub"), [("sub", "asked for")]),
        ("keyframes", ("main", "sub"), [("keyframes", "asked for")]),
        ("sub", ("main",), [("main", "there is no smaller stream")]),
        ("keyframes", ("main",), [("keyframes", "asked for")]),
        ("auto", ("sub",), [("sub", BROWSER)]),
        ("main", ("sub",), [("sub", BROWSER)]),
        ("sub", ("sub",), [("sub", "asked for")]),
    ],
)
async def test_it_begins_with_what_was_asked_for_and_says_what_that_is(
    make: Make, quality: Quality, renditions: tuple[Rendition, ...], told: list[tuple[Showing, str]]
) -> None:
    scene = make(renditions=renditions, quality=quality)
    begun = renditions[0] if quality in ("auto", "main") else renditions[-1]
    shown = pictures(scene.run(4))
    # Nothing else was fetched, not for a moment; two keyframes in four seconds, and one in hand.
    assert {stream.rendition for stream in scene.pool._streams.values()} == {begun}
    assert (shown <= 3) if quality == "keyframes" else (shown >= 98)
    assert scene.changes == told and scene.viewing.switches == 0
    assert_unbroken(scene.packets)


async def test_what_was_begun_with_is_left_when_the_viewer_asks(make: Make) -> None:
    scene = make(quality="sub")
    scene.run(2)
    scene.viewing.select("main", scene.now)
    scene.run(3)
    assert [showing for showing, _ in scene.changes] == ["sub", "main"] and scene.users() == {"main": 1}
    assert scene.viewing.switches == 1
    assert_unbroken(scene.packets)


async def test_the_report_tells_of_the_stream_that_is_given(make: Make) -> None:
    scene = make(quality="sub")
    before = scene.viewing.report("s", "connected")
    assert (before.rendition, before.last_access_unit_age_s, before.keyframe_cached) == ("sub", None, False)
    scene.run(1)
    report = scene.viewing.report("s", "connected")
    assert report.last_access_unit_age_s is not None and 0 <= report.last_access_unit_age_s < 5
    assert (report.quality, report.showing, report.gaps, report.keyframe_cached) == ("sub", "sub", 0, True)
    sub = scene.stream("sub")
    assert sub is not None
    scene.feeds[sub].next += 1
    scene.step()
    report = scene.viewing.report("s", "connected")
    assert (report.gaps, report.keyframe_cached) == (1, False)


async def test_a_rendition_that_is_wanted_no_more_is_let_go(make: Make) -> None:
    scene = make()
    scene.live = {"main"}
    scene.run(1)
    scene.viewing.select("sub", scene.now)
    scene.run(2)
    scene.viewing.select("main", scene.now)
    assert scene.users() == {"main": 1}
    scene.live = {"main", "sub"}
    scene.run(3)
    assert scene.changes == [] and scene.users() == {"main": 1}


async def test_closed_while_another_rendition_is_on_its_way_leaves_nothing(make: Make) -> None:
    scene = make(audible=("main", "sub"))
    scene.live = {"main"}
    scene.run(1)
    scene.viewing.select("sub", scene.now)
    scene.run(1)
    streams = [scene.stream("main"), scene.stream("sub")]
    scene.viewing.close()
    assert scene.users() == {} and len(scene.pacer) == 0
    assert all(s is not None and not s.video.receivers | s.audio.receivers for s in streams)
    scene.live = {"main", "sub"}
    assert scene.run(3, check=False) == []
    scene.viewing.close = lambda: None  # type: ignore[method-assign]  # it is over


async def test_a_camera_that_is_silent_is_not_switched_to(make: Make) -> None:
    scene = make()
    scene.run(1)
    scene.viewing.select("sub", scene.now)
    scene.run(2)
    sub = scene.stream("sub")
    assert sub is not None and scene.changes[-1][0] == "sub"
    scene.viewing.select("main", scene.now)
    scene.run(1)
    # It lingers with an old picture, and its camera says nothing.
    sub._heard_s -= 300
    scene.live = {"main"}
    scene.viewing.select("sub", scene.now)
    assert pictures(scene.run(2)) >= 49 and scene.changes[-1][0] == "main"
    scene.live = {"main", "sub"}
    scene.run(3)
    assert scene.changes[-1][0] == "sub"


async def test_keyframes_only_and_back(make: Make) -> None:
    scene = make(renditions=("main",))
    scene.run(1)
    scene.viewing.select("keyframes", scene.now)
    assert pictures(scene.run(8)) == 4 and scene.changes == [("keyframes", "asked for")]
    scene.run(1)
    scene.viewing.select("main", scene.now)
    # What was left out comes at once, then every picture.
    assert pictures(scene.run(0.2)) > 20
    assert pictures(scene.run(1)) == 25 and scene.changes[-1] == ("main", "asked for")
    assert_unbroken(scene.packets)


async def test_a_request_before_does_not_delay_what_was_left_out(make: Make) -> None:
    scene = make(renditions=("main",), gop=250)
    scene.run(1)
    scene.viewing.select("keyframes", scene.now)
    scene.run(5)
    scene.ask(KeyframeRequest(1, VIDEO_SSRC))
    scene.run(0.5)
    scene.viewing.select("main", scene.now)
    assert pictures(scene.run(0.4)) > 100
    scene.run(1)
    assert pictures(scene.run(1)) == 25
    assert_unbroken(scene.packets)


async def test_keyframes_only_and_back_while_another_rendition_is_awaited(make: Make) -> None:
    scene = make()
    scene.live = {"main"}
    scene.run(1)
    scene.viewing.select("keyframes", scene.now)
    assert pictures(scene.run(4)) == 2
    for quality in ("sub", "main"):
        scene.viewing.select(quality, scene.now)
        scene.run(1)
        # What is watched meanwhile is not held back for what does not come.
        assert pictures(scene.run(2)) == 50
    scene.viewing.select("keyframes", scene.now)
    scene.run(1)
    assert pictures(scene.run(4)) == 2
    assert_unbroken(scene.packets)


async def test_it_switches_once_a_second(make: Make) -> None:
    scene = make(gop=25)
    scene.run(1)
    scene.viewing.select("sub", scene.now)
    scene.run(3)
    asked = 0
    for quality in itertools.islice(itertools.cycle(("main", "sub")), 100):
        scene.viewing.select(quality, scene.now)
        asked += 1
        scene.step()
        scene.viewing.check(scene.now)
    assert asked == 100 and 1 <= len(scene.changes) - 1 <= 5


async def test_keyframe_requests_have_a_budget(make: Make) -> None:
    """However often somebody asks: of a long GOP, no more than twice the stream itself."""
    scene = make(renditions=("main",), gop=250)
    scene.run(9.5)
    stream = scene.stream("main")
    assert stream is not None
    track = stream.video
    scene.gop, before = 10_000, scene.viewing._lane.octets
    for _ in range(25 * 60):
        for _ in range(5):
            scene.ask(KeyframeRequest(1, VIDEO_SSRC))
        scene.step()
    sent = scene.viewing._lane.octets - before
    share = sent * 8 / (60 * track.bitrate)
    assert 1.5 < share < 3.2
    assert scene.viewing.report("s", "connected").keyframe_requests == 25 * 60 * 5


async def test_a_keyframe_request_of_a_short_gop_is_answered_each_second(make: Make) -> None:
    scene = make(renditions=("main",), gop=25)
    scene.run(2.2)
    answers = 0
    for _ in range(50):
        scene.ask(KeyframeRequest(1, VIDEO_SSRC))
        scene.ask(KeyframeRequest(1, 4711))  # of another stream: nobody's
        answers += pictures(scene.step()) > 1
    assert answers == 2
    assert_unbroken(scene.packets)


async def test_choosing_back_and_forth_has_the_same_budget(make: Make) -> None:
    scene = make(renditions=("main",), gop=250)
    scene.run(9.5)
    stream = scene.stream("main")
    assert stream is not None
    scene.gop, before = 10_000, scene.viewing._lane.octets
    for _ in range(25 * 20):
        scene.viewing.select("keyframes", scene.now)
        scene.viewing.select("main", scene.now)
        scene.step()
    share = (scene.viewing._lane.octets - before) * 8 / (20 * stream.video.bitrate)
    assert share < 3.2


async def test_what_is_missed_is_sent_again(make: Make) -> None:
    scene = make()
    scene.run(1)
    lost = [packet for packet in scene.packets if packet.ssrc == VIDEO_SSRC][-5:]
    scene.ask(Nack(1, VIDEO_SSRC, tuple(packet.sequence for packet in lost)))
    again = scene.take()
    assert {packet.ssrc for packet in again} == {RTX_SSRC}
    assert [packet.payload[2:] for packet in again] == [packet.payload for packet in lost]
    assert scene.viewing.retransmitted == 5


async def test_sound_goes_on_until_the_other_rendition_has_some(make: Make) -> None:
    scene = make(audible=("main", "sub"))
    scene.sounding = {"main"}
    scene.run(1)
    scene.viewing.select("sub", scene.now)
    scene.run(3)
    assert scene.changes == [("sub", "asked for")]
    # Sub has no sound yet; the main stream is held for its own.
    got = scene.run(2)
    assert sum(packet.ssrc == AUDIO_SSRC for packet in got) == 50
    assert scene.users() == {"main": 1, "sub": 1}
    scene.sounding = {"main", "sub"}
    scene.run(1)
    scene.sounding = {"sub"}
    got = scene.run(2)
    assert sum(packet.ssrc == AUDIO_SSRC for packet in got) == 50 and scene.users() == {"sub": 2}
    sound = [packet for packet in scene.packets if packet.ssrc == AUDIO_SSRC]
    steps = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(sound)]
    assert Counter(steps).most_common(1) == [(320, len(steps))]


async def test_sound_of_the_main_stream_where_sub_has_none_ever(make: Make) -> None:
    scene = make(renditions=("sub",), audible=("main",))
    scene.sounding = {"main"}
    got = scene.run(2)
    assert scene.changes == [("sub", "the browser does not play what the main stream sends")]
    assert sum(packet.ssrc == AUDIO_SSRC for packet in got) == 50 and pictures(got) == 50


async def test_a_viewer_that_fails_is_told_of(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make(audible=("main",))
    scene.sounding = {"main"}
    scene.run(1)
    monkeypatch.setattr(scene.viewing._audio, "ready", None)
    got = scene.run(1)
    # Without sound there is a picture still.
    assert scene.problems == [] and pictures(got) == 25
    monkeypatch.setattr(scene.viewing._video, "ready", None)
    scene.run(1)
    assert len(scene.problems) == 1 and "failed to serve" in scene.problems[0]


async def test_reports_at_first_often_then_seldom(make: Make) -> None:
    scene = make(audible=("main",))
    assert scene.viewing.reports(scene.now, "cname") == []  # nothing was sent yet
    scene.sounding = {"main"}
    began = scene.now
    at: list[float] = []
    for _ in range(25 * 30):
        scene.step()
        reports = [parse_rtcp(data)[0] for data in scene.viewing.reports(scene.now, "cname")]
        if reports:
            at.append(scene.now - began)
            assert [r.ssrc for r in reports if isinstance(r, SenderReport)] == [VIDEO_SSRC, AUDIO_SSRC]
    waits = [later - sooner for sooner, later in itertools.pairwise(at)]
    assert at[0] < 0.1
    soon, seldom = waits[: EARLY_REPORTS - 1], waits[EARLY_REPORTS - 1 :]
    assert soon == pytest.approx([1] * len(soon), abs=0.1)
    assert len(seldom) > 3 and seldom == pytest.approx([5] * len(seldom), abs=0.1)


class Stuck(Link):
    """A link of which nothing good is heard."""

    bad = True

    @property
    def congested(self) -> bool:
        return self.bad


async def test_a_viewer_is_held_only_so_long(make: Make) -> None:
    """One that has nothing to report, because nothing is sent to it, must not be held for ever."""
    scene = make(renditions=("main",), feedback=False)
    scene.run(1)
    scene.viewing._link = link = Stuck()
    held = [(len(scene.run(0.5)) == 0) for _ in range(60)]
    # It is held, let go, and held again.
    runs = [(state, len(list(run)) / 2) for state, run in itertools.groupby(held)]
    assert len(runs) > 5
    assert all(seconds <= MAX_HOLD_S + 2.5 for state, seconds in runs if state)
    link.bad = False
    scene.run(3)
    assert pictures(scene.run(2)) == 50
    assert_unbroken(scene.packets)


async def test_losses_that_are_reported_once_do_not_end_a_viewer(make: Make) -> None:
    scene = make(renditions=("main",), feedback=False)
    highest = 5000
    for _ in range(5):
        scene.run(1)
        highest += 200
        scene.ask(ReceiverReport(1, (ReportBlock(VIDEO_SSRC, 100, 0, highest, 0, 0, 0),)))
    scene.run_until(lambda: scene.viewing._video.held or not scene.viewing._link.congested, 10)
    # Nothing more is reported of a stream that is not received.
    scene.run(15)
    assert pictures(scene.run(4)) == 100 and not scene.viewing._link.congested


@pytest.fixture
def make_slow(make: Make, monkeypatch: pytest.MonkeyPatch) -> Make:
    """The viewer is behind a bottleneck, of 10 Mbit/s at first."""

    def make_slow(**options: object) -> Scene:
        scene = make(**options)
        # Probes end by the clock that departures are logged with: here the test's.
        clock = types.SimpleNamespace(time_ns=lambda: round(scene.now * 1e9), monotonic=lambda: scene.now)
        monkeypatch.setattr(viewing_module, "time", clock)
        scene.put_behind(Conditions())
        return scene

    return make_slow


async def test_main_then_sub_then_main_as_the_link_goes(make_slow: Make) -> None:
    scene = make_slow()
    scene.run(10)
    assert scene.changes == []
    assert scene.way is not None
    scene.way.conditions.bitrate = 300e3
    scene.run(20)
    (change,) = scene.changes
    assert change[0] == "sub" and "the link carries" in change[1]
    # As every picture of the sub stream is, what is sent now is small.
    assert pictures(scene.run(4)) == 100
    assert len([packet for packet in scene.run(4) if packet.ssrc == VIDEO_SSRC]) < 250
    scene.way.conditions.bitrate = 10e6
    scene.run_until(lambda: len(scene.changes) > 1, 30)
    assert scene.changes[1:] == [("main", "the link recovered")]
    scene.run(2)
    assert pictures(scene.run(4)) == 100 and scene.users() == {"main": 1}
    assert_unbroken(scene.packets)
    assert scene.viewing.report("s", "connected").showing == "main"


async def test_a_probe_is_old_packets_beside_the_media_and_ends(make_slow: Make) -> None:
    scene = make_slow()
    scene.run(3)
    assert scene.way is not None
    scene.way.conditions.bitrate = 300e3
    scene.run_until(lambda: bool(scene.changes), 10)
    scene.run_until(lambda: any(packet.ssrc == RTX_SSRC for packet in scene.packets), 20)
    scene.run_until(lambda: scene.viewing._probe is None, 3)
    assert scene.way.link.probed is not None and not len(scene.pacer)
    originals = {packet.payload for packet in scene.packets if packet.ssrc == VIDEO_SSRC}
    probes = [packet.payload[2:] for packet in scene.packets if packet.ssrc == RTX_SSRC]
    assert len(probes) > 5 and set(probes) <= originals
    # Nobody asked for them.
    assert scene.viewing.retransmitted == 0


async def test_a_probe_ends_with_its_viewer(make_slow: Make) -> None:
    scene = make_slow()
    scene.run(3)
    assert scene.way is not None
    scene.way.conditions.bitrate = 300e3
    scene.run_until(lambda: bool(scene.changes), 10)
    for _ in range(25 * 20):
        scene.step()
        scene.viewing.check(scene.now)
        if scene.viewing._probe is not None:
            break
    assert len(scene.pacer) == 1
    scene.viewing.close()
    assert len(scene.pacer) == 0
    scene.take()
    assert scene.run(1, check=False) == []
    scene.viewing.close = lambda: None  # type: ignore[method-assign]  # it is over


async def test_held_while_nothing_arrives_then_shown_at_once(make_slow: Make) -> None:
    scene = make_slow(renditions=("main",))
    scene.run(5)
    assert scene.way is not None
    scene.way.conditions.loss = 1.0
    scene.run(2.5)
    assert scene.viewing._video.held and scene.run(0.5) == []
    scene.run(20)
    scene.way.conditions.loss = 0.0
    scene.run(10)
    assert not scene.viewing._video.held and pictures(scene.run(4)) == 100
    assert_unbroken(scene.packets)


async def test_the_only_stream_that_can_be_decoded_comes_back_by_its_own_rate(make_slow: Make) -> None:
    scene = make_slow(renditions=("sub",))
    # Somebody else watches the main stream, which is more than this link carries at the best of times.
    scene.pool.acquire("gate", "main", scene.viewing._endpoint)
    assert scene.way is not None
    scene.way.conditions.bitrate = 1e6
    scene.run(10)
    assert [showing for showing, _ in scene.changes] == ["sub"]
    scene.way.conditions.bitrate = 50e3
    scene.run_until(lambda: scene.changes[-1][0] == "keyframes", 20)
    scene.way.conditions.bitrate = 1e6
    scene.run_until(lambda: scene.changes[-1][0] == "sub", 20)
    assert_unbroken(scene.packets)


async def test_keyframes_only_where_not_even_sub_fits(make_slow: Make) -> None:
    scene = make_slow()
    scene.run(5)
    assert scene.way is not None
    scene.way.conditions.bitrate = 120e3
    scene.run(40)
    assert [showing for showing, _ in scene.changes] == ["sub", "keyframes"]
    assert pictures(scene.run(8)) == 4
    scene.way.conditions.bitrate = 10e6
    scene.run_until(lambda: scene.changes[-1][0] == "main", 60)
    assert [showing for showing, _ in scene.changes] == ["sub", "keyframes", "sub", "main"]
    assert_unbroken(scene.packets)
