"""The report of a rendition, from a camera that plays in memory."""

import pytest

from ingest.codecs.frame import VideoParameters
from ingest.report import rendition_report
from tests.ingest.test_camera import LOST, Life, life
from tests.support.scripted_source import Fail, Hang, Play


def reported(alive, name="main"):
    return rendition_report(name, alive.camera, alive.output)


async def test_before_anything_happened():
    report = reported(Life([Hang()], on_demand=True))
    assert (report.name, report.state, report.state_s) == ("main", "idle", 0)
    assert report.via is report.video is report.audio is report.jitter_s is report.error is None
    assert (report.advice, report.quirks, report.access_units) == ((), (), 0)


async def test_everything_that_is_measured():
    async with life([Play(audio=True, keyframe=False, quirks=("no-options",)), Hang()]) as alive:
        stage = alive.source.stage
        stage.video.lost, stage.video.reordered, stage.audio.malformed = 3, 2, 1
        stage.sink.restarted(1)
        await alive.clock.advance(0.5)
        stage.sender_report()
        for index in range(300):
            stage.picture(index % 50 == 0, size=20_000)
            stage.sound()
            await alive.clock.advance(0.04)
        report = reported(alive)
        assert (report.state, report.via, report.quirks) == ("live", "RTSP over TCP", ("no-options",))
        assert report.state_s == pytest.approx(12)
        assert report.first_frame_s == pytest.approx(0.5)
        video, audio = report.video, report.audio
        assert (video.codec, video.profile, video.profile_level_id) == ("H264", "High", "64001f")
        assert (video.width, video.height, video.b_frames) == (1280, 720, False)
        assert video.fps == pytest.approx(25, rel=0.05)
        assert video.bitrate == pytest.approx(4_000_000, rel=0.05)
        assert video.peak_bitrate == pytest.approx(4_000_000, rel=0.05)
        assert (video.gop_s, video.gop_frames) == (pytest.approx(2), 50)
        assert (audio.codec, audio.clock_rate, audio.channels) == ("PCMA", 8000, 1)
        assert audio.bitrate == pytest.approx(160 * 8 * 25, rel=0.05)
        assert (report.access_units, report.lost_packets, report.reordered_packets) == (300, 3, 2)
        assert (report.malformed, report.damaged, report.reconnects) == (1, 0, 0)
        assert report.source_restarts == 1
        assert (report.jitter_s, report.clock_offset_s, report.clock_jumps) == (0.002, pytest.approx(0), 0)
        assert report.last_access_unit_age_s == pytest.approx(0.04)
        assert (report.error, report.advice) == (None, ())


async def test_what_the_tracks_are_outlasts_the_connection():
    async with life([Play(audio=True), LOST], [Hang()]) as alive:
        report = reported(alive)
        assert (report.state, report.error) == ("backing_off", "camera closed the connection")
        assert (report.video.codec, report.video.fps, report.video.gop_s) == ("H264", None, None)
        assert report.via is report.audio is report.jitter_s is None
        await alive.clock.advance(1)
        assert reported(alive).reconnects == 1
        assert reported(alive).via is None


async def test_the_stream_may_say_that_it_has_no_b_frames():
    async with life([Play(keyframe=False), Hang()]) as alive:
        alive.source.stage.video.parameters = VideoParameters("Baseline", "42e01f", 640, 480, 0)
        alive.source.stage.picture(True)
        assert reported(alive).video.b_frames is False
        alive.source.stage.video.parameters = VideoParameters("High", "64001f", 640, 480, 2)
        alive.source.stage.picture(True)
        assert reported(alive).video.b_frames is None


async def test_advice_is_part_of_it():
    async with life([Fail(type(LOST.error)("camera refuses the password (401)"))]) as alive:
        assert "in `sub`" in reported(alive, "sub").advice[0]


async def test_remarks_about_the_connection_are_part_of_the_advice():
    note = "audio is left out: nobody reads G726-32"
    async with life([Play(notes=(note,)), LOST], [Hang()]) as alive:
        assert note not in reported(alive).advice
    async with life([Play(notes=(note,)), Hang()]) as alive:
        assert reported(alive).advice == (note,)


async def test_a_camera_that_changed_its_codec_has_nothing_of_the_old_one():
    async with life([Play(), LOST], [Hang()]) as alive:
        assert reported(alive).video.profile == "High"
        await alive.clock.advance(1)
        stage = alive.source.stage
        stage.video.codec, stage.video.parameters = "H265", None
        stage.play(Play())
        video = reported(alive).video
        assert (video.codec, video.profile, video.profile_level_id, video.width) == ("H265", *[None] * 3)
        assert video.profile_tier_level is None
        tier_level = "profile-id=1;tier-flag=0;level-id=93"
        stage.video.parameters = VideoParameters("Main", None, 1280, 720, 0, tier_level)
        stage.picture(True)
        assert reported(alive).video.profile_tier_level == tier_level


async def test_a_smart_codec_is_noticed():
    async with life([Play(keyframe=False), Hang()]) as alive:
        for length in (50, 200, 250, 50, 100, 60, 1):
            for index in range(length):
                alive.source.stage.picture(index == 0)
                await alive.clock.advance(0.04)
        assert any("smart codec" in sentence for sentence in reported(alive).advice)
