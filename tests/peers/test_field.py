"""What breaks in the field, end to end: a camera that misbehaves, a real ingest process, the bus."""

import asyncio
import time

import av
import pytest

from common import wire
from tests.support.ingest_process import LIVE, LIVE_AUDIO, ingest
from tests.support.ports import free_tcp_port
from tests.support.processes import simulated_camera

pytestmark = pytest.mark.peers

PICTURES = 40


def numbered_without_gap(units):
    numbers = [unit.sequence for unit in units]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def decode(units, codec="h264"):
    """Sizes of the pictures that libav makes of the units; raises on damage."""
    decoder = av.CodecContext.create(codec, "r")
    decoder.options = {"err_detect": "explode"}
    start = next(index for index, unit in enumerate(units) if unit.keyframe)
    sizes = []
    for unit in units[start:]:
        data = b"".join(b"\0\0\0\1" + nal for nal in unit.nals)
        sizes += [(picture.width, picture.height) for picture in decoder.decode(av.Packet(data))]
    return sizes


async def played(tmp_path, pictures=PICTURES, until=None, **camera):
    """Units of a camera with these options, and the last report."""
    port = free_tcp_port()
    async with simulated_camera(port, **camera) as url:
        with ingest(tmp_path, url) as running:
            await running.until(lambda: running.report is not None)
            running.subscribe(LIVE)
            running.subscribe(LIVE_AUDIO)
            await running.until(lambda: len(running.decoded(LIVE)) >= pictures)
            if until is not None:
                await running.until(lambda: until(running.report))
            return running.decoded(LIVE), running.decoded(LIVE_AUDIO), running.report


async def test_marker_on_every_nal_unit(tmp_path):
    # 5 fps, no loss (obs-rtspserver #199).
    units, _, report = await played(tmp_path, faults="marker-everywhere")
    assert numbered_without_gap(units) and report.damaged == 0
    assert all(sum(nal[0] & 0x1F in (1, 5) for nal in unit.nals) == 4 for unit in units)
    assert len(decode(units)) >= len(units) - 1


async def test_no_marker_at_all(tmp_path):
    units, _, report = await played(tmp_path, faults="no-marker")
    assert numbered_without_gap(units) and report.damaged == 0
    assert len(decode(units)) >= len(units) - 1


async def test_parameter_sets_only_in_sdp(tmp_path):
    # No picture (janus #849).
    units, _, report = await played(tmp_path, faults="sps-only-in-sdp")
    assert [nal[0] & 0x1F for nal in units[0].nals[:2]] == [7, 8]
    assert len(decode(units)) >= len(units) - 1 and report.video.width


async def test_resolution_change_in_mid_stream(tmp_path):
    # 33 s freeze (mediamtx #4525).
    units, _, report = await played(
        tmp_path, pictures=100, faults="sps-change=2", until=lambda report: report.video.width != 1280
    )
    assert numbered_without_gap(units)
    sizes = decode(units)
    assert len(set(sizes)) == 2 and sizes[-1] == (report.video.width, report.video.height)


async def test_b_frames_are_told(tmp_path):
    # Stutter that nobody explains (mediamtx #1491, go2rtc #583).
    _, _, report = await played(tmp_path, faults="b-frames", until=lambda report: report.video.b_frames)
    assert any("B-frames to 0" in sentence for sentence in report.advice)


async def test_h265_and_aac_are_told_and_passed_on(tmp_path):
    units, sound, report = await played(tmp_path, codec="h265", audio="aac")
    assert (report.video.codec, report.audio.codec) == ("H265", "AAC")
    advice = " ".join(report.advice)
    assert "Not every browser decodes H.265" in advice and "WebRTC has no AAC" in advice
    assert len(decode(units, "hevc")) >= len(units) - 1
    assert sound and {unit.config for unit in sound} != {b""}


async def test_connected_but_frozen(tmp_path):
    # Frozen for hours (reolinkproxy #24).
    port = free_tcp_port()
    async with simulated_camera(port, faults="stop-after=3") as url:
        with ingest(tmp_path, url) as running:
            await running.state("live")
            await running.state("stalled")
            began = time.monotonic() - running.report.last_access_unit_age_s
            assert "sends no pictures" in running.report.error
            await running.state("backing_off")
            assert "sent no video for 10 s" in running.report.error
            await running.until(lambda: running.events().count("live") == 2)
            print(f"\nfrozen camera: playing again {time.monotonic() - began:.1f} s after its last picture")
            states = ["connecting", "live", "stalled", "backing_off", "connecting", "live"]
            assert running.events()[:6] == states


@pytest.mark.parametrize(("fault", "offset_s"), [("bad-clock", -50 * 365 * 86_400), ("clock-jump=1", 3600)])
async def test_wrong_clock_is_bounded_and_told(tmp_path, fault, offset_s):
    units, sound, report = await played(
        tmp_path,
        audio="opus",
        faults=fault,
        pictures=200,
        until=lambda report: any("NTP" in sentence for sentence in report.advice),
    )
    assert abs(report.clock_offset_s) >= abs(offset_s) * 0.9
    for track in (units, sound):
        late = [(unit.arrival_ns - unit.capture_ns) / 1e9 for unit in track]
        assert max(map(abs, late)) < 1.0
        captures = [unit.capture_ns for unit in track]
        assert captures == sorted(captures)


async def says_nothing(reader, writer):
    await reader.read()
    writer.close()


async def test_one_bad_camera_harms_no_other(tmp_path):
    # 600 cameras, one blocks the rest (mediamtx #4657).
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder in (good, bad):
        folder.mkdir()
    port, frozen = free_tcp_port(), free_tcp_port()
    async with (
        simulated_camera(port) as url,
        await asyncio.start_server(says_nothing, "127.0.0.1", frozen),
    ):
        with (
            ingest(bad, f"rtsp://127.0.0.1:{frozen}/x") as stuck,
            ingest(good, url) as running,
        ):
            await running.until(lambda: running.report is not None)
            running.subscribe(LIVE)
            await stuck.state("backing_off")
            assert "did not answer OPTIONS" in stuck.report.error
            await running.until(lambda: len(running.decoded(LIVE)) >= PICTURES)
            assert numbered_without_gap(running.decoded(LIVE)) and running.report.reconnects == 0


async def test_capture_time_of_sound_and_picture_is_one_clock(tmp_path):
    units, sound, _ = await played(tmp_path, audio="opus", pictures=150)
    assert units[-1].camera_clock and sound[-1].camera_clock
    for track in (units, sound):
        known = [unit for unit in track if unit.camera_clock]
        late = sorted((unit.arrival_ns - unit.capture_ns) / 1e9 for unit in known)
        # Of all but a few: on a busy machine the camera's reports tell when it meant to send.
        assert late[len(late) // 20] > -0.05 and late[len(late) // 2] < 0.3


async def test_a_join_is_answered_with_the_pictures_since_the_keyframe(tmp_path):
    # Black picture for up to a GOP (mediamtx #1209).
    port = free_tcp_port()
    async with simulated_camera(port, gop=250) as url:
        with ingest(tmp_path, url) as running:
            await running.state("live")
            running.subscribe(LIVE)
            await running.until(lambda: len(running.decoded(LIVE)) >= PICTURES)
            topic = wire.join_topic("main", "w", 7)
            running.subscribe(topic)
            await running.until(
                lambda: any(isinstance(item, wire.JoinEnd) for item in running.decoded(topic))
            )
            *past, _ = running.decoded(topic)
    assert past[0].keyframe and len(past) >= PICTURES and numbered_without_gap(past)
