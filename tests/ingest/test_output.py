"""Frames to numbered access units over several connections."""

from common.rtp import SenderReport
from common.units import unix_ns_to_ntp
from ingest.codecs.frame import Frame, VideoParameters
from ingest.output import Faults, Output
from tests.support.scripted_source import ScriptedTrack, audio_track

SECOND_NS = 1_000_000_000
NOW = 1_800_000_000 * SECOND_NS


def frame(timestamp, at_s=0.0, keyframe=False, gap=False):
    return Frame(timestamp & 0xFFFF_FFFF, NOW + round(at_s * SECOND_NS), keyframe, gap, (b"abc",))


def connected(*tracks):
    output = Output(5)
    output.connected(tracks or (ScriptedTrack(),))
    return output


def sequences(units):
    return [unit.sequence for unit in units]


def test_a_unit_holds_what_the_frame_and_the_track_say():
    output = connected(ScriptedTrack(), audio_track())
    (unit,) = output.playing(0).units([frame(3600, 0.04, True)], 0.04)
    assert (unit.epoch, unit.sequence, unit.track, unit.codec) == (5, 0, "video", "H264")
    assert (unit.timestamp, unit.clock_rate, unit.keyframe, unit.nals) == (3600, 90_000, True, (b"abc",))
    assert (unit.capture_ns, unit.arrival_ns) == (NOW + 40_000_000, NOW + 40_000_000)
    assert not unit.camera_clock
    (unit,) = output.playing(1).units([frame(160, 0.04, True)], 0.04)
    assert (unit.sequence, unit.track, unit.codec, unit.clock_rate, unit.channels) == (
        *(0, "audio", "PCMA"),
        *(8000, 1),
    )
    assert output.has_audio


def test_the_configuration_of_aac_goes_along():
    track = ScriptedTrack("audio", "AAC", 48_000, 2, b"\x11\x90", parameters=None)
    output = connected(ScriptedTrack(), track)
    (unit,) = output.playing(1).units([frame(0)], 0)
    assert unit.config == b"\x11\x90"


def test_a_gap_leaves_one_number_out():
    video = connected().playing(0)
    assert sequences(video.units([frame(0, gap=True), frame(3600)], 0)) == [0, 1]
    assert sequences(video.units([frame(14_400, gap=True), frame(18_000)], 0)) == [3, 4]
    assert (video.published, video.next_sequence) == (4, 5)


def test_reconnection_leaves_one_number_out_and_time_goes_on():
    output = connected()
    output.video.units([frame(0), frame(3600, 0.04)], 0.04)
    output.disconnected()
    output.connected((ScriptedTrack(codec="H265"),))
    units = output.video.units([frame(999_999, 3.04), frame(999_999 + 3600, 3.08)], 3)
    assert sequences(units) == [3, 4]
    assert [unit.timestamp for unit in units] == [3600 + 3 * 90_000, 7200 + 3 * 90_000]
    assert units[0].codec == "H265"


def test_new_source_without_reconnection():
    video = connected().playing(0)
    video.units([frame(0, 0), frame(3600, 0.04)], 0)
    video.restarted()
    units = video.units([frame(77, 0.08, True), frame(3677, 0.12)], 0)
    assert sequences(units) == [3, 4]
    assert [unit.timestamp for unit in units] == [7200, 10_800]


def test_restarts_are_counted_over_connections_and_tracks():
    output = connected(ScriptedTrack(), audio_track())
    output.playing(0).restarted()
    output.playing(1).restarted()
    output.connected((ScriptedTrack(),))
    output.playing(0).restarted()
    assert output.restarts == 3


def test_faults_are_counted_over_connections_and_tracks():
    video, audio = ScriptedTrack(lost=3, damaged=1), audio_track()
    output = connected(video, audio)
    video.lost, video.reordered, audio.malformed = 5, 2, 1
    output.connected((ScriptedTrack(lost=1, damaged=1),))
    assert output.faults == Faults(lost=6, reordered=2, damaged=2, malformed=1)
    assert not output.has_audio


def test_parameters_are_known_until_there_are_others():
    track = ScriptedTrack()
    output = connected(track)
    output.video.units([frame(0, keyframe=True)], 0)
    output.connected((ScriptedTrack(parameters=None),))
    output.video.units([frame(0, keyframe=True)], 0)
    assert output.video.parameters == track.parameters
    other = VideoParameters("Main", "4d401f", 640, 480, 0)
    output.connected((ScriptedTrack(parameters=other),))
    output.video.units([frame(0, keyframe=True)], 0)
    assert output.video.parameters == other


def test_what_was_known_of_another_codec_is_forgotten():
    output = connected()
    output.video.units([frame(0, keyframe=True)], 0)
    output.connected((ScriptedTrack(codec="H265", parameters=None),))
    assert output.video.parameters is None


def test_audio_and_video_are_on_one_clock_of_the_camera():
    """The camera is an hour behind; sound comes 50 ms after it was heard, pictures 250 ms."""
    output = connected(ScriptedTrack(), audio_track())
    video, audio = output.playing(0), output.playing(1)
    behind_ns = NOW - 3600 * SECOND_NS
    for track in (video, audio):
        track.sender_report(SenderReport(1, unix_ns_to_ntp(behind_ns), 0, 0, 0), NOW)
    for index in range(100):
        t = index / 25
        (heard,) = audio.units([frame(index * 320, t + 0.05)], t)
        (seen,) = video.units([frame(index * 3600, t + 0.25)], t)
    assert heard.camera_clock and seen.camera_clock
    assert abs(heard.capture_ns - seen.capture_ns) < 1_000_000
    assert abs(output.clock.offset_s + 3600.05) < 0.001


def test_drift_begins_anew_where_the_timestamps_do():
    video = connected().playing(0)
    for index in range(200):
        video.units([frame(index * 90_000, index * 1.0001)], index)
    assert abs(video.drift.ppm + 100) < 1
    video.units([frame(2**31, 200.1)], 200)
    assert video.drift.ppm is None


def test_our_clock_set_forward_is_no_long_frame_and_no_long_gop():
    """What is waited for goes by them: a camera that froze would not be told for hours."""
    video = connected().playing(0)
    for index in range(201):
        at_s = index / 25 + (6 * 3600 if index >= 140 else 0)
        video.units([frame(index * 3600, at_s, keyframe=index % 50 == 0)], index / 25)
    assert abs(video.statistics.frame_interval_s - 0.04) < 0.001
    assert abs(video.statistics.longest_gop_s - 2) < 0.001
    figures = video.statistics.figures(8.0)
    assert (figures.gop_frames, round(figures.fps)) == (50, 25)


def test_before_it_is_connected():
    output = Output(1)
    assert output.video.units([frame(0)], 0) == []
    output.video.sender_report(SenderReport(1, 1, 1, 0, 0), NOW)
    output.video.restarted()
    output.disconnected()
    assert output.faults == Faults()
