"""A whole worker on the real bus, with viewers that speak real ICE, DTLS and SRTP."""

import asyncio
import dataclasses
import errno
import itertools
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common import messages, wire
from common.access_unit import AccessUnit
from common.bus import ControlServer, MediaPublisher, ipc_endpoint
from common.errors import LocalError
from common.messages import (
    Answer,
    AudioReport,
    CandidateRequest,
    CloseRequest,
    Done,
    DrainRequest,
    FanoutHello,
    HelloWanted,
    Message,
    OfferRequest,
    Quality,
    Refused,
    RenditionFormat,
    SelectRequest,
    SessionChanged,
    SessionEnded,
    SessionEntry,
    SessionsReport,
    SessionsRequest,
    WorkerReport,
)
from common.resolved import FanoutConfig, SystemConfig
from common.rtp import Goodbye, KeyframeRequest, Nack, ReceiverReport, SenderReport, serialize_rtcp
from common.units import timestamp_delta
from fanout.ice.session import IceSession
from fanout.service import Worker
from fanout.stream import Stream
from fanout.stream_pool import StreamPool
from tests.fanout.units import access_unit, audio_unit
from tests.support.ports import free_media_ports
from tests.support.reports import VIDEO
from tests.support.viewer import Viewer
from tests.support.viewer_sdp import WITH_H265

GOP = 10
INTERVAL_S = 0.02
SOUND = AudioReport("PCMA", 8000, 1, 64_000)
MAIN = RenditionFormat("main", VIDEO, SOUND)
SUB = RenditionFormat("sub", VIDEO, None)
UNKNOWN = RenditionFormat("main", None, None)
H265 = dataclasses.replace(
    VIDEO,
    codec="H265",
    profile_level_id=None,
    profile_tier_level="profile-id=1;tier-flag=0;level-id=93",
)


class Rendition:
    """Publishes units for ever, answers joins from its GOP, remembers what it sent."""

    def __init__(self, name: str, publisher: MediaPublisher, epoch: int, share: int) -> None:
        self.name = name
        self.codec = "H264"
        self.sent: list[AccessUnit] = []
        self.gop: list[AccessUnit] = []
        self._publisher = publisher
        self._epoch = epoch
        self._share = share

    def join(self, topic: bytes) -> None:
        for unit in self.gop:
            self._publisher.publish(wire.encode_access_unit(topic, unit))
        self._publisher.publish(wire.encode_join_end(topic, self._epoch, len(self.sent)))

    def publish(self) -> None:
        sequence = len(self.sent)
        keyframe = sequence % GOP == 0
        size = (60_000 if keyframe else 5_000) // self._share
        template = access_unit(sequence, keyframe=keyframe, size=size, epoch=self._epoch, codec=self.codec)
        now = time.time_ns()
        unit = dataclasses.replace(template, timestamp=sequence * 1800, capture_ns=now, arrival_ns=now)
        if keyframe:
            self.gop.clear()
        self.gop.append(unit)
        self.sent.append(unit)
        topic = wire.live_topic(self.name, "video")
        self._publisher.publish(wire.encode_access_unit(topic, unit))


class Camera:
    """Main and sub stream, and the main one's sound."""

    def __init__(self, endpoint: str, epoch: int = 1) -> None:
        self.publisher = MediaPublisher(endpoint, self._on_subscription)
        self.main = Rendition("main", self.publisher, epoch, 1)
        self.sub = Rendition("sub", self.publisher, epoch, 10)
        self.sounds: list[bytes] = []
        self.task = asyncio.create_task(self._run())

    def _on_subscription(self, topic: bytes, subscribed: bool) -> None:
        asked = wire.parse_topic(topic)
        if subscribed and isinstance(asked, wire.JoinTopic):
            (self.main if asked.rendition == "main" else self.sub).join(topic)

    async def _run(self) -> None:
        while True:
            self.main.publish()
            self.sub.publish()
            self._sound()
            await asyncio.sleep(INTERVAL_S)

    def _sound(self) -> None:
        number = len(self.sounds)
        self.sounds.append(number.to_bytes(4, "big") * 40)
        unit = dataclasses.replace(
            audio_unit("PCMA", self.sounds[-1], capture_ns=time.time_ns()),
            sequence=number,
            timestamp=number * 160,
        )
        self.publisher.publish(wire.encode_access_unit(wire.live_topic("main", "audio"), unit))

    def close(self) -> None:
        self.task.cancel()
        self.publisher.close()


class Box:
    """A worker, a camera, and the test in signaling's place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.messages: list[Message] = []
        self.control = ControlServer(
            ipc_endpoint(folder, "control"), lambda _, message: self.messages.append(message)
        )
        self.camera = Camera(ipc_endpoint(folder, "gate"))
        self.port = free_media_ports(1)
        config = SystemConfig(("gate",), "127.0.0.1", 8080, self.port, ("127.0.0.1",), True)
        self.worker = Worker(0, config, FanoutConfig("lite", ()), folder)
        self.task = asyncio.create_task(self.worker.run())
        self.sessions = 0

    async def offer(
        self, sdp: str, renditions: tuple[RenditionFormat, ...] = (MAIN,), quality: Quality = "auto"
    ) -> Message:
        self.sessions += 1
        endpoint = ipc_endpoint(self.folder, "gate")
        session = f"session-{self.sessions}"
        request = OfferRequest(session, "gate", endpoint, renditions, sdp, quality=quality)
        return await self.control.request("fanout-0", request)

    async def watch(self, viewer: Viewer, renditions: tuple[RenditionFormat, ...] = (MAIN,)) -> str:
        answer = await self.offer(viewer.offer(), renditions)
        assert isinstance(answer, Answer)
        await viewer.connect(answer.sdp)
        return answer.session

    async def sessions_of(self, session: str | None) -> SessionsReport:
        reply = await self.control.request("fanout-0", SessionsRequest(session))
        assert isinstance(reply, SessionsReport)
        return reply

    async def until(self, kind: type[Message], deadline_s: float = 5.0) -> Message:
        async with asyncio.timeout(deadline_s):
            while True:
                for message in self.messages:
                    if isinstance(message, kind):
                        self.messages.remove(message)
                        return message
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.camera.close()
        self.control.close()


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    box = Box(tmp_path)
    await box.until(FanoutHello)
    yield box
    await box.close()


@pytest.fixture
async def viewer() -> AsyncIterator[Viewer]:
    viewer = Viewer(decrypt=True)
    yield viewer
    viewer.close()


@pytest.mark.parametrize("profile", ["SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80"])
async def test_every_unit_arrives_whole_from_a_keyframe_on(box: Box, profile: str) -> None:
    viewer = Viewer(decrypt=True, profiles=profile)
    await asyncio.sleep(5 * INTERVAL_S)
    await box.watch(viewer)
    await viewer.until(lambda: len(viewer.access_units) >= 40)
    got = [tuple(unit.nals) for unit in viewer.access_units]
    sent = [unit.nals for unit in box.camera.main.sent]
    first = sent.index(got[0])
    assert first % GOP == 0 and got == sent[first : first + len(got)]
    assert viewer.totals().lost == 0 and not viewer.faults
    sequences = [packet.sequence for packet in viewer.packets]
    assert sequences == [(sequences[0] + n) & 0xFFFF for n in range(len(sequences))]
    viewer.close()


async def test_the_second_viewer_starts_with_the_cached_gop(box: Box, viewer: Viewer) -> None:
    await box.watch(viewer)
    await viewer.until(lambda: len(viewer.access_units) > 2 * GOP)
    async with asyncio.timeout(5):
        while len(box.camera.main.sent) % GOP != 7:
            await asyncio.sleep(0.001)
    second = Viewer(decrypt=True)
    started = len(box.camera.main.sent)
    await box.watch(second)
    await second.until(lambda: len(second.access_units) >= GOP)
    sent = [unit.nals for unit in box.camera.main.sent]
    assert sent.index(tuple(second.access_units[0].nals)) <= started
    assert second.totals().lost == 0
    second.close()


async def test_a_keyframe_request_is_answered_from_the_cache_once_a_second(box: Box, viewer: Viewer) -> None:
    await box.watch(viewer)
    await viewer.until(lambda: len(viewer.access_units) > GOP)
    keyframes = {unit.nals for unit in box.camera.main.sent if unit.keyframe}
    for _ in range(5):
        viewer.send_pli()
    seen = len(viewer.access_units)
    await viewer.until(lambda: len(viewer.access_units) > seen + 2 * GOP)
    repeated = [tuple(unit.nals) for unit in viewer.access_units if tuple(unit.nals) in keyframes]
    assert len(repeated) == len(set(repeated)) + 1
    steps = [
        timestamp_delta(b.timestamp, a.timestamp)
        for a, b in zip(viewer.access_units, viewer.access_units[1:], strict=False)
    ]
    assert min(steps) > 0 and viewer.totals().lost == 0


async def test_sender_reports_come_and_tell_capture_time(box: Box, viewer: Viewer) -> None:
    await box.watch(viewer)

    def of_video() -> list[SenderReport]:
        return [each for each in viewer.sender_reports if each.ssrc == viewer.reception.ssrc]

    await viewer.until(lambda: len(of_video()) >= 2)
    report = of_video()[-1]
    unit = viewer.access_units[-1]
    assert abs(timestamp_delta(report.rtp_timestamp, unit.timestamp)) < 90_000 // 2


async def test_a_viewer_that_says_goodbye_is_gone_at_once(box: Box, viewer: Viewer) -> None:
    session = await box.watch(viewer)
    viewer.close()
    ended = await box.until(SessionEnded)
    assert isinstance(ended, SessionEnded) and ended.session == session
    assert isinstance(await box.control.request("fanout-0", CloseRequest(session)), Refused)


async def test_what_follows_a_goodbye_is_not_answered(box: Box, viewer: Viewer) -> None:
    """The keys are there for a moment longer, and what is sent then is sent for nobody."""
    session = await box.watch(viewer, (MAIN, SUB))
    await viewer.until(lambda: len(viewer.access_units) > GOP and bool(viewer.audio_packets))
    served = box.worker._viewers[session]._viewing
    assert served is not None and viewer.srtp is not None
    ssrc = viewer.reception.ssrc
    datagrams = [
        viewer.srtp.outbound.protect_rtcp(serialize_rtcp(ReceiverReport(7)) + serialize_rtcp(packet))
        for packet in (Goodbye((7,)), KeyframeRequest(7, ssrc), Nack(7, ssrc, (viewer.packets[-1].sequence,)))
    ]
    for datagram in datagrams:
        viewer.send_raw(datagram)
    await box.until(SessionEnded)
    await asyncio.sleep(5 * INTERVAL_S)
    # What it had been sent was counted when it went.
    assert served.packets == box.worker._gone["packets"] > 0
    assert not box.worker._pacer._active and not box.worker._pool._users
    assert box.worker._pool._lingering  # the stream itself, for a page that is loaded again


async def test_a_session_that_cannot_be_set_up_ends_and_leaves_nothing(
    box: Box, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = StreamPool.acquire

    def only_main(pool: StreamPool, camera: str, rendition: messages.Rendition, endpoint: str) -> Stream:
        if rendition == "sub":
            raise OSError(errno.EMFILE, "Too many open files")
        return acquire(pool, camera, rendition, endpoint)

    monkeypatch.setattr(StreamPool, "acquire", only_main)
    # The picture is the main stream's, sound has the other only.
    session = await box.watch(
        viewer, (RenditionFormat("main", VIDEO, None), RenditionFormat("sub", VIDEO, SOUND))
    )
    ended = await box.until(SessionEnded)
    assert (
        isinstance(ended, SessionEnded) and ended.session == session and "set the session up" in ended.reason
    )
    assert not box.worker._pool._users
    (stream,) = box.worker._pool._streams.values()
    assert not stream.video.receivers and not stream.audio.receivers


async def test_an_offer_that_no_socket_is_left_for_leaves_nothing(
    box: Box, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> IceSession:
        raise LocalError("no socket is left")

    monkeypatch.setattr(box.worker._agent, "open", fail)
    reply = await box.offer(viewer.offer())
    assert isinstance(reply, Refused) and reply.kind == "internal"
    assert not box.worker._pool._users


async def test_a_vanished_viewer_is_gone_when_consent_runs_out(
    box: Box, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.ice.lite.CONSENT_S", 1.0)
    session = await box.watch(viewer)
    viewer.vanish()
    ended = await box.until(SessionEnded)
    assert isinstance(ended, SessionEnded) and ended.session == session and "silent" in ended.reason


async def test_signaling_closes_a_session(box: Box, viewer: Viewer) -> None:
    session = await box.watch(viewer)
    assert await box.control.request("fanout-0", CandidateRequest(session, "a=candidate:1")) == Done()
    assert await box.control.request("fanout-0", CloseRequest(session)) == Done()
    await viewer.until(lambda: viewer.closed_by_peer)
    reply = await box.control.request("fanout-0", CandidateRequest(session, ""))
    assert isinstance(reply, Refused) and reply.kind == "unknown-session"


async def test_a_certificate_that_is_not_the_offered_one_is_refused(box: Box, viewer: Viewer) -> None:
    sdp = viewer.offer()
    at = sdp.index("a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
    answer = await box.offer(sdp[:at] + ("0" if sdp[at] != "0" else "1") + sdp[at + 1 :])
    assert isinstance(answer, Answer)
    await viewer.connect(answer.sdp)
    ended = await box.until(SessionEnded)
    assert isinstance(ended, SessionEnded) and "fingerprint" in ended.reason
    assert viewer.totals().packets == 0


async def test_the_hello_lists_sessions_and_reports_tell_the_load(box: Box, viewer: Viewer) -> None:
    session = await box.watch(viewer)
    box.control.notify("fanout-0", HelloWanted())
    hello = await box.until(FanoutHello)
    assert isinstance(hello, FanoutHello) and hello.entries() == (SessionEntry(session, "gate"),)
    assert not hello.draining
    assert await box.control.request("fanout-0", DrainRequest(True)) == Done()
    box.messages.clear()
    box.control.notify("fanout-0", HelloWanted())
    hello = await box.until(FanoutHello)
    assert isinstance(hello, FanoutHello) and hello.draining
    box.messages.clear()
    await box.until(WorkerReport)
    report = await box.until(WorkerReport)
    assert isinstance(report, WorkerReport)
    assert report.viewers == 1 and report.packets_per_s > 100 and 0 < report.cpu < 1
    assert report.dropped_frames == 0


async def test_a_camera_that_restarts_goes_on_in_the_same_session(box: Box, viewer: Viewer) -> None:
    await box.watch(viewer)
    await viewer.until(lambda: len(viewer.access_units) > GOP)
    box.camera.close()
    await asyncio.sleep(0.3)
    before = len(viewer.access_units)
    box.camera = Camera(ipc_endpoint(box.folder, "gate"), epoch=2)
    await viewer.until(lambda: len(viewer.access_units) > before + 2 * GOP)
    again = viewer.access_units[before]
    assert tuple(again.nals) in {unit.nals for unit in box.camera.main.sent if unit.keyframe}
    step = timestamp_delta(again.timestamp, viewer.access_units[before - 1].timestamp)
    assert 0 < step < 90_000 * 3
    assert viewer.totals().lost == 0


@pytest.mark.parametrize(
    ("sdp", "kind"),
    [("hello", "bad-offer"), ("v=0\r\n", "not-acceptable"), ("v=0\r\nm=video x\r\n", "bad-offer")],
)
async def test_unusable_offers_are_refused_and_leave_nothing(box: Box, sdp: str, kind: str) -> None:
    reply = await box.offer(sdp)
    assert isinstance(reply, Refused) and reply.kind == kind
    report = await box.until(WorkerReport)
    assert isinstance(report, WorkerReport) and report.viewers == 0


async def test_a_codec_that_the_browser_does_not_take_is_refused_by_name(box: Box, viewer: Viewer) -> None:
    reply = await box.offer(viewer.offer(), (RenditionFormat("main", H265, None),))
    assert isinstance(reply, Refused) and reply.kind == "not-acceptable" and "H265" in reply.detail
    assert isinstance(await box.offer(viewer.offer(), (UNKNOWN,)), Answer)


async def test_a_codec_that_shows_only_later_ends_the_session_by_name(box: Box, viewer: Viewer) -> None:
    await box.watch(viewer)
    await viewer.until(lambda: len(viewer.access_units) > 2)
    box.camera.main.codec = "H265"
    ended = await box.until(SessionEnded)
    assert isinstance(ended, SessionEnded) and "sends H265 now" in ended.reason


async def test_h265_is_given_to_who_takes_it(box: Box) -> None:
    box.camera.main.codec = "H265"
    await asyncio.sleep(3 * GOP * INTERVAL_S)  # nothing of before is cached any more
    viewer = Viewer(decrypt=True, features=WITH_H265)
    await box.watch(viewer, (RenditionFormat("main", H265, None),))
    await viewer.until(lambda: len(viewer.access_units) >= 2 * GOP)
    sent = [unit.nals for unit in box.camera.main.sent]
    got = [tuple(unit.nals) for unit in viewer.access_units]
    first = sent.index(got[0])
    assert got == sent[first : first + len(got)] and not viewer.faults
    viewer.close()


async def test_who_lacks_the_main_codec_is_given_the_sub_stream(box: Box, viewer: Viewer) -> None:
    box.camera.main.codec = "H265"
    await box.watch(viewer, (RenditionFormat("main", H265, None), SUB))
    await viewer.until(lambda: len(viewer.access_units) >= GOP)
    assert tuple(viewer.access_units[0].nals) in {unit.nals for unit in box.camera.sub.sent}


async def test_the_viewer_chooses_and_the_session_goes_on(box: Box, viewer: Viewer) -> None:
    session = await box.watch(viewer, (MAIN, SUB))
    await viewer.until(lambda: len(viewer.access_units) >= GOP)

    def shown_since(count: int) -> set[str]:
        names = {unit.nals: "main" for unit in box.camera.main.sent}
        names |= {unit.nals: "sub" for unit in box.camera.sub.sent}
        return {names[tuple(unit.nals)] for unit in viewer.access_units[count:]}

    for quality in ("sub", "main", "keyframes"):
        assert await box.control.request("fanout-0", SelectRequest(session, quality)) == Done()
        changed = await box.until(SessionChanged)
        assert changed == SessionChanged(session, quality, "asked for")
        seen = len(viewer.access_units)
        await viewer.until(lambda seen=seen: len(viewer.access_units) >= seen + 4)
        # What was on its way when it was asked for is over by then.
        shown = "main" if quality == "main" else "sub"
        await viewer.until(lambda shown=shown: shown_since(len(viewer.access_units) - 2) == {shown})
    keyframes = {unit.nals for unit in box.camera.sub.sent if unit.keyframe}
    assert all(tuple(unit.nals) in keyframes for unit in viewer.access_units[-2:])
    steps = [
        timestamp_delta(b.timestamp, a.timestamp)
        for a, b in zip(viewer.access_units, viewer.access_units[1:], strict=False)
    ]
    assert min(steps) > 0 and max(steps) < 2 * 90_000
    assert viewer.totals().lost == 0 and not viewer.faults
    reply = await box.control.request("fanout-0", SessionsRequest())
    assert isinstance(reply, SessionsReport)
    (report,) = reply.sessions
    assert (report.session, report.camera, report.state) == (session, "gate", "connected")
    assert (report.quality, report.showing, report.video_codec) == ("keyframes", "keyframes", "H264")
    assert report.packets > 100 and report.dropped_frames == 0 and report.path is not None


@pytest.mark.parametrize("quality", ["sub", "keyframes"])
async def test_a_session_begins_with_what_its_offer_asks_for(
    box: Box, viewer: Viewer, quality: Quality
) -> None:
    silent = (dataclasses.replace(MAIN, audio=None), SUB)
    answer = await box.offer(viewer.offer(), silent, quality)
    assert isinstance(answer, Answer)
    (before,) = (await box.sessions_of(answer.session)).sessions
    assert (before.state, before.quality, before.showing) == ("checking", quality, quality)
    assert before.rendition == "sub" and before.packets == 0
    await viewer.connect(answer.sdp)
    assert await box.until(SessionChanged) == SessionChanged(answer.session, quality, "asked for")
    await viewer.until(lambda: len(viewer.access_units) >= 4)
    of_sub = {unit.nals for unit in box.camera.sub.sent}
    assert {tuple(unit.nals) for unit in viewer.access_units} <= of_sub
    # The main stream was not even subscribed to.
    assert list(box.worker._pool._streams) == [("gate", "sub")]
    (after,) = (await box.sessions_of(answer.session)).sessions
    assert (after.state, after.rendition, after.gaps) == ("connected", "sub", 0)
    assert after.keyframe_cached and after.last_access_unit_age_s is not None
    assert 0 <= after.last_access_unit_age_s < 5


async def test_a_session_for_a_stream_that_is_not_there_begins_with_main_and_says_so(
    box: Box, viewer: Viewer
) -> None:
    answer = await box.offer(viewer.offer(), (MAIN,), "sub")
    assert isinstance(answer, Answer)
    await viewer.connect(answer.sdp)
    changed = await box.until(SessionChanged)
    assert changed == SessionChanged(answer.session, "main", "there is no smaller stream")
    await viewer.until(lambda: len(viewer.access_units) >= 4)


async def test_one_session_is_told_of_alone(box: Box, viewer: Viewer) -> None:
    session = await box.watch(viewer)
    other = Viewer()
    assert isinstance(await box.offer(other.offer()), Answer)
    assert [report.session for report in (await box.sessions_of(session)).sessions] == [session]
    assert len((await box.sessions_of(None)).sessions) == 2
    reply = await box.control.request("fanout-0", SessionsRequest("unknown"))
    assert isinstance(reply, Refused) and reply.kind == "unknown-session"
    other.vanish()


async def test_a_quality_that_the_camera_does_not_have_is_refused(box: Box, viewer: Viewer) -> None:
    session = await box.watch(viewer)
    reply = await box.control.request("fanout-0", SelectRequest(session, "sub"))
    assert isinstance(reply, Refused) and reply.kind == "not-acceptable" and "sub" in reply.detail


async def test_sound_comes_whole_and_in_step(box: Box, viewer: Viewer) -> None:
    await box.watch(viewer, (MAIN, SUB))
    await viewer.until(lambda: len(viewer.audio_packets) >= 50 and len(viewer.sender_reports) >= 2)
    got = [packet.payload for packet in viewer.audio_packets]
    first = box.camera.sounds.index(got[0])
    assert got == box.camera.sounds[first : first + len(got)]
    assert {packet.payload_type for packet in viewer.audio_packets} == {8}
    steps = {b.timestamp - a.timestamp for a, b in itertools.pairwise(viewer.audio_packets)}
    assert steps == {160} or steps == {160, 160 - (1 << 32)}
    # Both were captured at the same moments: by the sender reports they are played at the same ones.
    reports = {report.ssrc: report for report in viewer.sender_reports}
    assert len(reports) == 2

    def ntp_of(ssrc: int, timestamp: int, rate: int) -> float:
        report = reports[ssrc]
        return report.ntp / (1 << 32) + timestamp_delta(timestamp, report.rtp_timestamp) / rate

    audio, video = viewer.audio_packets[-1], viewer.access_units[-1]
    skew = ntp_of(audio.ssrc, audio.timestamp, 8000) - ntp_of(viewer.reception.ssrc, video.timestamp, 90_000)
    assert abs(skew) < 3 * INTERVAL_S


async def test_a_lost_packet_is_sent_again_by_rtx(box: Box, viewer: Viewer) -> None:
    await box.watch(viewer)
    await viewer.until(lambda: len(viewer.access_units) > GOP)
    lost = viewer.packets[-20]
    viewer.send_nack(lost.sequence)
    await viewer.until(lambda: viewer.repaired)
    assert lost.payload in [packet.payload for packet in viewer.repaired]
    report = await box.until(WorkerReport)
    while isinstance(report, WorkerReport) and not report.retransmitted:
        report = await box.until(WorkerReport)


async def test_a_hundred_offers_that_never_connect_harm_nobody(box: Box, viewer: Viewer) -> None:
    await box.watch(viewer)
    offers = [Viewer() for _ in range(100)]
    for each in offers:
        assert isinstance(await box.offer(each.offer()), Answer)
        each.vanish()
    seen = len(viewer.access_units)
    await viewer.until(lambda: len(viewer.access_units) > seen + 2 * GOP)
    assert viewer.totals().lost == 0


async def test_noise_on_the_media_port_harms_nobody(
    box: Box, viewer: Viewer, caplog: pytest.LogCaptureFixture
) -> None:
    await box.watch(viewer)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        for size in range(1, 1400, 3):
            await loop.sock_sendto(stranger, os.urandom(size), ("127.0.0.1", box.port))
    # The same from the viewer's own address: not STUN, not DTLS, not authentic.
    for first in range(0, 256, 5):
        viewer.send_raw(bytes((first,)) + os.urandom(60))
    seen = len(viewer.access_units)
    await viewer.until(lambda: len(viewer.access_units) > seen + 2 * GOP)
    assert viewer.totals().lost == 0
    await box.until(WorkerReport)
    lines = [record.getMessage() for record in caplog.records if "rejected" in record.getMessage()]
    assert 1 <= len(lines) <= 4 and sum(int(line.split()[3]) for line in lines) > 400
