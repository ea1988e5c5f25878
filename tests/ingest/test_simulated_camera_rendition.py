"""One rendition with a clock that is turned by hand: what goes out, when, and what faults change."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from common.h264 import NAL_FU_A, NAL_IDR, NAL_SPS, parse_sps
from common.rtp import RtpPacket, SenderReport, parse_rtcp, parse_rtp
from common.units import ntp_to_unix_ns, timestamp_delta
from ingest.simulated.faults import HOUR_NS, parse_faults
from ingest.simulated.options import video_options
from ingest.simulated.rendition import Rendition

START_NS = 1_800_000_000 * 10**9
VIDEO, AUDIO = 0, 1
FPS = 25


class TurnedClock:
    """Time stands still while somebody computes, and leaps to the first who wants to wake."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self._wakes: list[float] = []

    def monotonic_s(self) -> float:
        return self._now_s

    def utc_ns(self) -> int:
        return START_NS + round((self._now_s - 1000.0) * 1e9)

    async def sleep(self, delay_s: float) -> None:
        wake_s = self._now_s + delay_s
        self._wakes.append(wake_s)
        try:
            for _ in range(5):  # the others go to sleep, too
                await asyncio.sleep(0)
            while wake_s > min(self._wakes):
                await asyncio.sleep(0)
            self._now_s = max(self._now_s, wake_s)
        finally:
            self._wakes.remove(wake_s)


class Kept:
    """An outlet that keeps what it gets."""

    def __init__(self) -> None:
        self.packets: list[RtpPacket] = []
        self.reports: list[SenderReport] = []
        self.keyframes: list[bool] = []

    def send(self, packets: Sequence[bytes], keyframe: bool) -> None:
        self.packets += [parse_rtp(packet) for packet in packets]
        self.keyframes.append(keyframe)

    def send_report(self, report: bytes) -> None:
        self.reports += [item for item in parse_rtcp(report) if isinstance(item, SenderReport)]


async def played(seconds: float, codec="h264", audio="none", faults="") -> tuple[Kept, Kept]:
    """What a player of both tracks gets."""
    clock = TurnedClock()
    video = video_options(codec, 320, 240, FPS, None, None)
    rendition = Rendition(clock, "/simulated", video, audio, parse_faults(faults))
    outlets = {VIDEO: Kept(), AUDIO: Kept()}
    task = asyncio.create_task(rendition.run())
    rendition.join("player", outlets)
    try:
        async with asyncio.timeout(20):
            while clock.monotonic_s() < 1000.0 + seconds:
                await asyncio.sleep(0)
    finally:
        task.cancel()
    return outlets[VIDEO], outlets[AUDIO]


def timestamps(packets: list[RtpPacket]) -> list[int]:
    return [stamp for stamp, _ in itertools.groupby(packet.timestamp for packet in packets)]


def capture_ns(packet: RtpPacket, report: SenderReport, clock_rate: int) -> float:
    ticks = timestamp_delta(packet.timestamp, report.rtp_timestamp)
    return ntp_to_unix_ns(report.ntp) + ticks * 1e9 / clock_rate


async def test_both_tracks_are_on_one_clock() -> None:
    video, audio = await played(11, audio="pcma")
    assert len(timestamps(video.packets)) == pytest.approx(11 * FPS, abs=2)
    assert len(audio.packets) == pytest.approx(11 * 50, abs=2)
    for kept, rate, step in ((video, 90_000, 3600), (audio, 8000, 160)):
        stamps = timestamps(kept.packets)
        assert {timestamp_delta(two, one) for one, two in itertools.pairwise(stamps)} == {step}
        assert len(kept.reports) == 3
        for report in kept.reports:
            # The first tick of either track is the moment when play began, within one frame.
            assert abs(capture_ns(kept.packets[0], report, rate) - START_NS) <= 40_000_001
    markers = [packet.timestamp for packet in video.packets if packet.marker]
    assert markers == timestamps(video.packets)


async def test_the_next_picture_for_a_new_player_is_a_keyframe_with_a_report() -> None:
    clock = TurnedClock()
    video = video_options("h264", 320, 240, FPS, None, 1000)
    rendition = Rendition(clock, "/simulated", video, "none", parse_faults(""))
    first, group, late = Kept(), Kept(), Kept()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(rendition.run())
        rendition.join("first", {VIDEO: first})
        rendition.join("one", {VIDEO: group})
        rendition.join("two", {VIDEO: group})
        while len(first.keyframes) < 5:
            await asyncio.sleep(0)
        rendition.join("late", {VIDEO: late})
        while len(late.keyframes) < 3:
            await asyncio.sleep(0)
        assert first.keyframes[:8] == [True, False, False, False, False, True, False, False]
        assert late.keyframes[:3] == [True, False, False]
        assert len(late.reports) == 1
        # A group is sent to once, whoever shares it.
        assert group.packets == first.packets
        for player in ("first", "one", "two", "late"):
            rendition.leave(player)
        before = len(first.keyframes)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(first.keyframes) == before
        again = Kept()
        rendition.join("again", {VIDEO: again})
        while not again.keyframes:
            await asyncio.sleep(0)
        assert again.keyframes[0]
        assert again.packets[0].sequence == (late.packets[-1].sequence + 1) & 0xFFFF
        running.cancel()


async def test_a_clock_that_jumps() -> None:
    video, audio = await played(8, "jpeg", "pcmu", "clock-jump=3")
    for kept, rate in ((video, 90_000), (audio, 8000)):
        jumps = [capture_ns(kept.packets[0], report, rate) - START_NS for report in kept.reports]
        assert [round(jump / 1e9) for jump in jumps] == [0, HOUR_NS // 10**9]


async def test_a_clock_without_a_battery() -> None:
    video, _ = await played(6, "jpeg", faults="bad-clock")
    assert [round(ntp_to_unix_ns(report.ntp) / 1e9) for report in video.reports] == [0, 5]


async def test_no_reports() -> None:
    video, audio = await played(6, "jpeg", "g722", "no-rtcp")
    assert video.reports == audio.reports == []


async def test_silence_comes() -> None:
    video, audio = await played(3, "jpeg", "opus", "stop-after=1")
    assert len(video.keyframes) == pytest.approx(FPS, abs=2)
    assert len(audio.packets) == pytest.approx(50, abs=3)


async def test_a_new_size() -> None:
    video, _ = await played(2, faults="sps-change=1")
    sizes = []
    for packet in video.packets:
        if packet.payload[0] & 0x1F == NAL_SPS:
            parameters = parse_sps(packet.payload)
            sizes.append((parameters.width, parameters.height))
    assert sizes == [(320, 240), (176, 120)]


async def test_parameter_sets_only_in_sdp() -> None:
    video, _ = await played(1, faults="sps-only-in-sdp")
    kinds = {packet.payload[0] & 0x1F for packet in video.packets}
    assert kinds.isdisjoint({NAL_SPS, 8})
    assert kinds & {NAL_IDR, NAL_FU_A}


async def test_timestamps_of_b_frames_go_back() -> None:
    video, _ = await played(2, faults="b-frames")
    steps = {timestamp_delta(two, one) for one, two in itertools.pairwise(timestamps(video.packets))}
    assert min(steps) < 0


@pytest.mark.parametrize(("codec", "first"), [("h264", b"\x67"), ("h265", b"\x40\x01")], ids=["h264", "h265"])
async def test_pictures_begin_with_parameter_sets(codec, first) -> None:
    video, _ = await played(0.2, codec)
    assert video.packets[0].payload.startswith(first)
    assert video.packets[0].payload_type == 96


def test_a_description_has_the_tracks_of_the_rendition() -> None:
    video = video_options("jpeg", 320, 240, FPS, None, None)
    silent = Rendition(TurnedClock(), "/simulated", video, "none", parse_faults(""))
    loud = Rendition(TurnedClock(), "/simulated", video, "pcma", parse_faults(""))
    assert (len(silent.ssrcs), silent.describe().count("m=")) == (1, 1)
    assert (len(loud.ssrcs), loud.describe().count("m=")) == (2, 2)
