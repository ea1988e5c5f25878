"""A packet, a frame: G.711, G.722, L16, Opus; sizes, silence, loss; FFmpeg's packets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codecs.audio import MAX_PACKET_BYTES, AudioDepacketizer
from tests.ingest.codecs.real_rtp import decode, ffmpeg, file_packets, send_with_ffmpeg


def pushed(packets, sample_bytes=1):
    depacketizer = AudioDepacketizer(sample_bytes)
    found = []
    for index, (timestamp, payload, *loss) in enumerate(packets):
        depacketizer.push(timestamp, index % 2 == 0, payload, index, bool(loss))
        found += [
            (frame.timestamp, frame.arrival_ns, frame.gap, *frame.nals) for frame in depacketizer.frames()
        ]
    return depacketizer, found


def test_a_packet_is_a_frame_at_once_whatever_the_marker_says():
    depacketizer, found = pushed([(0xFFFFFF60, b"a" * 160), (0, b"b" * 160), (160, b"c" * 80)])
    assert found == [(0xFFFFFF60, 0, True, b"a" * 160), (0, 1, False, b"b" * 160), (160, 2, False, b"c" * 80)]
    assert depacketizer.damaged == 0 and depacketizer.parameters is None
    depacketizer.push(0, False, b"d", 0)
    assert depacketizer.frames()[0].keyframe and depacketizer.frames() == []


def test_loss_is_a_gap():
    found = pushed([(0, b"a"), (320, b"b", "loss"), (480, b"c")])[1]
    assert [gap for _, _, gap, _ in found] == [True, True, False]


def test_silence_is_no_frame_and_no_damage():
    depacketizer, found = pushed([(0, b"a"), (960, b""), (1920, b"", "loss"), (2880, b"b"), (3840, b"c")])
    assert [(timestamp, gap) for timestamp, _, gap, _ in found] == [(0, True), (2880, True), (3840, False)]
    assert depacketizer.damaged == 0


@pytest.mark.parametrize(
    ("sample_bytes", "good", "bad"),
    [(2, b"ab", b"abc"), (4, b"abcd", b"abcdef"), (1, bytes(MAX_PACKET_BYTES), bytes(MAX_PACKET_BYTES + 1))],
)
def test_sizes(sample_bytes, good, bad):
    depacketizer, found = pushed([(0, good), (1, bad), (2, good), (3, good)], sample_bytes)
    assert [(timestamp, gap) for timestamp, _, gap, _ in found] == [(0, True), (2, True), (3, False)]
    assert depacketizer.damaged == 1


@given(st.integers(1, 8), st.lists(st.binary(max_size=40)))
def test_any_packets(sample_bytes, payloads):
    depacketizer, found = pushed(list(enumerate(payloads)), sample_bytes)
    assert [frame[3] for frame in found] == [
        payload for payload in payloads if payload and len(payload) % sample_bytes == 0
    ]
    assert depacketizer.damaged == sum(len(payload) % sample_bytes != 0 for payload in payloads)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("codec", "rate", "channels", "octets_per_tick", "rtpmap"),
    [
        ("pcm_alaw", 8000, 1, 1, ""),
        ("pcm_mulaw", 8000, 1, 1, ""),
        ("pcm_mulaw", 16_000, 1, 1, "PCMU/16000/1"),
        ("g722", 16_000, 1, 1, ""),
        ("pcm_s16be", 44_100, 2, 4, ""),
        ("pcm_s16be", 16_000, 1, 2, "L16/16000/1"),
    ],
)
def test_samples_of_ffmpeg(tmp_path, codec, rate, channels, octets_per_tick, rtpmap):
    source = tmp_path / "sound.mkv"
    noise = f"anoisesrc=sample_rate={rate}:duration=1:seed=1"
    ffmpeg("-f", "lavfi", "-i", noise, "-ac", str(channels), "-c:a", codec, source)
    sent = send_with_ffmpeg(source)
    assert sent.rtpmap == rtpmap
    depacketizer = AudioDepacketizer(octets_per_tick)
    found = sent.feed(depacketizer)
    _, expected = file_packets(source)
    samples = b"".join(frame.nals[0] for frame in found)
    # FFmpeg cuts them as it likes. It does not send what is left over at the end.
    assert b"".join(expected).startswith(samples) and len(samples) > 0.9 * sum(map(len, expected))
    assert len(found) > 5 and depacketizer.damaged == 0
    position = 0
    for frame in found:
        # RFC 3551 section 4.5.2: of G.722, too, an octet is a tick.
        assert frame.timestamp - found[0].timestamp & 0xFFFFFFFF == position // octets_per_tick
        position += len(frame.nals[0])


@pytest.mark.peers
def test_opus_of_ffmpeg(tmp_path):
    source = tmp_path / "sound.ogg"
    ffmpeg("-f", "lavfi", "-i", "sine=sample_rate=48000:duration=1", "-ac", "1", "-c:a", "libopus", source)
    sent = send_with_ffmpeg(source)
    assert sent.rtpmap == "opus/48000/2"
    found = sent.feed(AudioDepacketizer())
    extradata, expected = file_packets(source)
    assert [frame.nals for frame in found] == [(packet,) for packet in expected]
    steps = {(later.timestamp - frame.timestamp) & 0xFFFFFFFF for frame, later in pairwise(found)}
    assert steps == {960}  # 20 ms
    assert decode([frame.nals[0] for frame in found], "opus", extradata) > 47_000
