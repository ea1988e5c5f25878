"""A camera in a worker, over a real bus: joins, gaps, restarts, foreign versions."""

import asyncio
import dataclasses
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgpack
import pytest

from common import wire
from common.bus import DRAIN_BATCH, MediaPublisher, ipc_endpoint
from fanout import stream as stream_module
from fanout.egress import Egress, Lane
from fanout.packetizing.packetized import PacketizedUnit
from fanout.sender import Source
from fanout.stream import Stream
from tests.fanout.units import access_unit, audio_unit

LIVE_TOPIC = wire.live_topic("main", "video")
AUDIO_TOPIC = wire.live_topic("main", "audio")


class Viewer:
    """Deals with every unit by itself."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.failures = 0
        self.live: list[PacketizedUnit] = []
        self.cached: list[PacketizedUnit] = []
        self.all: list[PacketizedUnit] = []

    def follow(self, source: Source) -> None:
        self.sources.append(source)

    def is_owed(self, unit: PacketizedUnit) -> bool:
        raise AssertionError

    def failed(self) -> None:
        self.failures += 1

    def ready(self, unit: PacketizedUnit) -> Lane | None:
        self.live.append(unit)
        self.all.append(unit)
        return None

    def refused(self) -> None:
        raise AssertionError

    def send_cached(self, units: Sequence[PacketizedUnit]) -> None:
        self.cached = list(units)
        self.all += units


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


class Camera:
    """A publisher that answers joins with what is in `gop`."""

    def __init__(self, endpoint: str) -> None:
        self.topics: set[bytes] = set()
        self.gop: list[int] = []
        self.answers = True
        self.busy = True
        "Live units pass before a join is answered."
        self.arrival_ns = 0
        self.next = 0
        self.publisher = MediaPublisher(endpoint, self.on_subscription)

    def on_subscription(self, topic: bytes, subscribed: bool) -> None:
        (self.topics.add if subscribed else self.topics.discard)(topic)
        if subscribed and isinstance(wire.parse_topic(topic), wire.JoinTopic) and self.answers:
            if self.busy:
                self.live(self.next)
            for sequence in self.gop:
                self.send(topic, sequence)
            self.publisher.publish(wire.encode_join_end(topic, 1, self.next))

    def send(self, topic: bytes, sequence: int, **extra: int) -> None:
        unit = access_unit(sequence, keyframe=sequence % 10 == 0, **extra)
        if self.arrival_ns:
            unit = dataclasses.replace(unit, arrival_ns=self.arrival_ns)
        self.publisher.publish(wire.encode_access_unit(topic, unit))

    def live(self, sequence: int, **extra: int) -> None:
        self.gop.append(sequence)
        self.next = sequence + 1
        self.send(LIVE_TOPIC, sequence, **extra)


@pytest.fixture
async def camera(tmp_path: Path) -> AsyncIterator[Camera]:
    camera = Camera(ipc_endpoint(tmp_path, "m"))
    yield camera
    camera.publisher.close()


Watch = Callable[[], Stream]


@pytest.fixture
async def watch(tmp_path: Path) -> AsyncIterator[Watch]:
    """Makes the stream when the test has set its camera up."""
    streams: list[Stream] = []

    def make() -> Stream:
        endpoint = ipc_endpoint(tmp_path, "m")
        streams.append(Stream("gate", "main", "fanout-0", endpoint, Egress(-1, -1, False)))
        return streams[-1]

    yield make
    for stream in streams:
        stream.close()


def timestamps(units: Sequence[PacketizedUnit]) -> list[int]:
    return [unit.timestamp for unit in units]


async def test_join_gives_the_gop_and_merges_with_live(camera: Camera, watch: Watch) -> None:
    for sequence in range(10, 17):
        camera.live(sequence)
    stream = watch()
    await until(lambda: stream.octets > 0)
    camera.live(18)
    viewer = Viewer()
    stream.add(viewer)
    assert len(viewer.cached) == 8 and viewer.cached[0].keyframe and stream.gaps == 0
    assert timestamps(viewer.cached) == [3600 * n for n in range(8)]
    await until(lambda: LIVE_TOPIC in camera.topics and len(camera.topics) == 2)
    await until(lambda: len(viewer.live) == 1)
    assert viewer.live[0].timestamp == 8 * 3600


async def test_a_viewer_that_is_there_before_the_join_gets_the_past_as_the_past(
    camera: Camera, watch: Watch
) -> None:
    for sequence in range(10, 17):
        camera.live(sequence)
    viewer = Viewer()
    watch().add(viewer)
    await until(lambda: viewer.all)
    assert len(viewer.cached) == 8 and viewer.live == []


async def test_an_answer_that_lay_unread_is_not_given_up(
    camera: Camera, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process stood still past the deadline, and the answer is more than is read in one go."""
    monkeypatch.setattr(stream_module, "JOIN_DEADLINE_S", 0.05)
    answer = camera.on_subscription

    def answer_and_stand_still(topic: bytes, subscribed: bool) -> None:
        answer(topic, subscribed)
        if subscribed and isinstance(wire.parse_topic(topic), wire.JoinTopic):
            time.sleep(0.1)

    monkeypatch.setattr(camera.publisher, "_on_subscription", answer_and_stand_still)
    # The keyframe comes last, behind several rounds of reading.
    camera.gop, camera.busy = list(range(11, 21 + 10 * (3 * DRAIN_BATCH // 10))), False
    camera.next = camera.gop[-1] + 1
    stream = watch()
    await until(lambda: stream._held is None)
    assert stream._next_sequence == camera.next and stream.video.history.gop()


async def test_a_join_that_is_late_ends_with_its_stream(
    camera: Camera, watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream_module, "JOIN_DEADLINE_S", 0.0)
    camera.answers = False
    for turns in range(6):
        stream = watch()
        for _ in range(turns):
            await asyncio.sleep(0)
        stream.close()
    await asyncio.sleep(0.05)
    assert [record.getMessage() for record in caplog.records] == []


async def test_old_pictures_of_a_silent_camera_are_not_repeated(
    camera: Camera, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "SILENT_AFTER_S", 0.2)
    camera.live(10)
    stream = watch()
    viewer = Viewer()
    stream.add(viewer)
    await until(lambda: stream.octets > 0)
    camera.live(camera.next)
    await until(lambda: len(viewer.live) == 1)
    seen = len(viewer.all)
    stream.resend(viewer)
    assert len(viewer.all) > seen
    await asyncio.sleep(0.3)
    seen = len(viewer.all)
    stream.resend(viewer)
    assert len(viewer.all) == seen
    camera.live(camera.next)
    await until(lambda: len(viewer.live) == 2)
    stream.resend(viewer)
    assert len(viewer.all) > seen + 1


async def test_a_viewer_that_fails_stops_no_other(
    camera: Camera, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Viewer):
        def ready(self, unit: PacketizedUnit) -> Lane | None:
            raise OverflowError

    stream = watch()
    viewers = [Viewer(), Broken(), Viewer()]
    for viewer in viewers:
        stream.add(viewer)
    await until(lambda: viewers[0].all)
    camera.live(10)
    camera.live(11)
    await until(lambda: all(len(viewer.live) == 2 for viewer in (viewers[0], viewers[2])))
    assert sum("left out" in record.getMessage() for record in caplog.records) == 1


async def test_a_viewer_that_cannot_be_given_the_join_stops_no_other(
    camera: Camera, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Viewer):
        def send_cached(self, units: Sequence[PacketizedUnit]) -> None:
            if units:
                raise OverflowError

    stream = watch()
    viewers = [Viewer(), Broken(), Viewer()]
    for viewer in viewers:
        stream.add(viewer)
    await until(lambda: bool(viewers[0].cached and viewers[2].cached))
    assert [viewer.failures for viewer in viewers] == [0, 1, 0]
    assert sum("cached pictures" in record.getMessage() for record in caplog.records) == 1


async def test_without_an_answer_live_begins_at_the_next_keyframe(camera: Camera, watch: Watch) -> None:
    camera.answers = False
    stream = watch()
    viewer = Viewer()
    stream.add(viewer)
    await until(lambda: LIVE_TOPIC in camera.topics)
    for sequence in range(8, 12):
        camera.live(sequence)
    await until(lambda: len(viewer.all) == 2)
    assert viewer.all[0].keyframe


async def test_a_gap_waits_for_a_keyframe_and_is_counted(camera: Camera, watch: Watch) -> None:
    camera.answers = False
    stream = watch()
    viewer = Viewer()
    stream.add(viewer)
    await until(lambda: LIVE_TOPIC in camera.topics)
    camera.live(0)
    await until(lambda: viewer.all)  # past the join's deadline
    for sequence in (1, 2, 4, 5, 10, 11):
        camera.live(sequence)
    await until(lambda: len(viewer.all) == 5)
    assert [t // 3600 for t in timestamps(viewer.all)] == [0, 1, 2, 10, 11]
    assert stream.gaps == 2


async def test_how_long_ago_the_bus_brought_a_picture(
    camera: Camera, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera.gop, camera.next, camera.busy = [10, 11], 12, False
    stream = watch()
    await until(lambda: stream._held is None and stream.octets > 0)
    assert stream.last_unit_age_s is None  # of the past only
    camera.live(12)
    await until(lambda: stream.last_unit_age_s is not None)
    now = stream._loop.time()
    monkeypatch.setattr(stream._loop, "time", lambda: now + 7.0)
    assert stream.last_unit_age_s is not None and 7.0 <= stream.last_unit_age_s < 12.0


async def test_a_new_epoch_continues_the_timeline(camera: Camera, watch: Watch) -> None:
    camera.answers = False
    stream = watch()
    viewer = Viewer()
    stream.add(viewer)
    await until(lambda: LIVE_TOPIC in camera.topics)
    camera.live(0)
    await until(lambda: viewer.all)  # past the join's deadline
    for sequence in (1, 2):
        camera.live(sequence)
    camera.live(10, epoch=2, timestamp=999_999_999)
    camera.live(11, epoch=2, timestamp=999_999_999 + 3600)
    await until(lambda: len(viewer.all) == 5)
    assert timestamps(viewer.all) == [0, 3600, 7200, 36_000, 39_600]
    assert stream.gaps == 0


async def test_another_version_is_said_once_and_harms_nothing(
    camera: Camera, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    camera.answers = False
    stream = watch()
    viewer = Viewer()
    stream.add(viewer)
    await until(lambda: LIVE_TOPIC in camera.topics)
    await asyncio.sleep(0.6)  # past the join's deadline
    for _ in range(3):
        camera.publisher.publish([LIVE_TOPIC, msgpack.packb((99, 1, 2)), b"x"])
        camera.publisher.publish([LIVE_TOPIC, b"\xc1"])
    camera.live(0)
    await until(lambda: len(viewer.all) == 1)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1 and "version 99" in errors[0] and "gate" in errors[0]


async def test_pictures_of_another_codec_are_not_shown(camera: Camera, watch: Watch) -> None:
    camera.live(0)
    stream = watch()
    viewer = Viewer()
    stream.add(viewer)
    await until(lambda: len(viewer.all) >= 1)
    foreign = dataclasses.replace(access_unit(1, keyframe=True), codec="JPEG")
    camera.publisher.publish(wire.encode_access_unit(LIVE_TOPIC, foreign))
    camera.live(2)
    await until(lambda: stream._next_sequence == 3)
    assert len(viewer.live) <= 1 and not stream.has_picture
    camera.live(10)
    await until(lambda: viewer.all[-1].keyframe and len(viewer.all) >= 2)


async def test_who_waits_for_a_picture_is_told_once(camera: Camera, watch: Watch) -> None:
    camera.answers = False
    stream = watch()
    viewer = Viewer()
    told: list[str] = []

    def begin() -> None:
        told.append("begin")
        stream.add(viewer)

    stream.when_picture(begin)
    stream.when_picture(lambda: told.append("gone"))
    gone = list(stream._awaiting)[1]
    stream.forget(gone)
    await until(lambda: LIVE_TOPIC in camera.topics and stream._held is None)
    camera.live(8)
    camera.live(10)
    camera.live(11)
    await until(lambda: len(viewer.all) == 2)
    assert told == ["begin"] and stream.has_picture
    # The first picture came with the GOP and not once more.
    assert [unit.timestamp for unit in viewer.cached] == [viewer.all[0].timestamp]


async def test_what_a_silent_camera_sent_before_is_no_picture(camera: Camera, watch: Watch) -> None:
    camera.gop, camera.next, camera.busy = [10, 11], 12, False
    camera.arrival_ns = time.time_ns() - 2 * stream_module.STALE_NS
    stream = watch()
    viewer = Viewer()
    stream.when_picture(lambda: stream.add(viewer))
    await until(lambda: stream._held is None)
    assert stream.octets > 0 and not stream.has_picture and viewer.sources == []
    # A viewer that has nothing else is given it; what is asked for again is not.
    alone = Viewer()
    stream.add(alone)
    assert len(alone.cached) == 2
    # When the camera goes on, nobody waits for a keyframe: all that is needed is there.
    camera.arrival_ns = time.time_ns()
    camera.live(12)
    await until(lambda: stream.has_picture)
    assert len(viewer.cached) == 3 and viewer.live == []
    camera.live(13)
    await until(lambda: len(viewer.live) == 1)


@pytest.mark.parametrize(("busy", "age_ns"), [(False, 1_000_000_000), (True, 10**18)])
async def test_a_camera_that_goes_on_has_a_picture_at_once(
    camera: Camera, watch: Watch, busy: bool, age_ns: int
) -> None:
    """What came a moment ago, or comes right now, whatever the camera host's clock says."""
    camera.gop, camera.next, camera.busy = [10, 11], 12, busy
    camera.arrival_ns = time.time_ns() - age_ns
    stream = watch()
    told: list[bool] = []
    stream.when_picture(lambda: told.append(stream.has_picture))
    await until(lambda: stream._held is None)
    assert stream.has_picture and told == [True]


async def test_a_camera_that_falls_silent_has_no_picture_until_it_goes_on(
    camera: Camera, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "SILENT_AFTER_S", 0.05)
    camera.gop, camera.next = [10], 11
    stream = watch()
    await until(lambda: stream._held is None and stream.octets > 0)
    await until(lambda: not stream.has_picture)
    viewer = Viewer()
    stream.when_picture(lambda: stream.add(viewer))
    camera.live(camera.next)
    await until(lambda: bool(viewer.cached))
    assert viewer.cached[0].keyframe and viewer.live == []


async def test_a_viewer_that_cannot_be_given_the_first_picture_stops_no_other(
    camera: Camera, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    camera.answers = False
    stream = watch()
    viewer = Viewer()

    def fail() -> None:
        raise OverflowError

    stream.when_picture(fail)
    stream.when_picture(lambda: stream.add(viewer))
    await until(lambda: LIVE_TOPIC in camera.topics)
    camera.live(10)
    camera.live(11)
    await until(lambda: len(viewer.all) == 2)
    assert sum("first picture" in record.getMessage() for record in caplog.records) == 1


async def test_that_there_is_sound_is_known_before_anybody_hears_it(camera: Camera, watch: Watch) -> None:
    stream = watch()
    assert not stream.has_sound
    await until(lambda: AUDIO_TOPIC in camera.topics)
    camera.publisher.publish(wire.encode_access_unit(AUDIO_TOPIC, audio_unit("PCMA", bytes(160))))
    await until(lambda: stream.has_sound)
    assert stream.audio.history.octets == 0


async def test_sound_that_no_browser_takes_is_left_out(
    camera: Camera, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    stream = watch()
    viewer = Viewer()
    stream.audio.receivers.add(viewer)
    await until(lambda: AUDIO_TOPIC in camera.topics)
    for codec in ("AAC", "L16", "PCMA"):
        camera.publisher.publish(wire.encode_access_unit(AUDIO_TOPIC, audio_unit(codec, bytes(160))))
    await until(lambda: bool(viewer.live))
    assert [unit.codec for unit in viewer.live] == ["PCMA"] and stream.audio.history.octets == 160
    assert not caplog.records


async def test_sound_goes_to_those_who_hear_it(camera: Camera, watch: Watch) -> None:
    stream = watch()
    viewer = Viewer()
    stream.audio.receivers.add(viewer)
    await until(lambda: AUDIO_TOPIC in camera.topics)
    for number in range(3):
        unit = dataclasses.replace(
            audio_unit("PCMA", bytes(160), capture_ns=number * 20_000_000),
            sequence=number,
            timestamp=number * 160,
        )
        camera.publisher.publish(wire.encode_access_unit(AUDIO_TOPIC, unit))
    await until(lambda: len(viewer.live) == 3)
    steps = [b.timestamp - a.timestamp for a, b in itertools.pairwise(viewer.live)]
    assert steps == [160, 160] and {unit.codec for unit in viewer.live} == {"PCMA"}
