"""Audio payloads: nothing lost, each at its time."""

from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.packetizing.audio import opus_ticks, payloads
from fanout.packetizing.packetized import MAX_PAYLOAD
from tests.fanout.units import audio_unit

SAMPLED = st.sampled_from(["PCMA", "PCMU", "G722"])


@given(SAMPLED, st.integers(1, 2), st.lists(st.integers(1, 6000), min_size=1, max_size=4))
def test_samples_are_cut_at_their_time(codec: str, channels: int, lengths: list[int]) -> None:
    frames = [bytes((tick % 251,)) * channels * length for tick, length in enumerate(lengths)]
    ticks = 0
    joined = b""
    for at, payload in payloads(audio_unit(codec, *frames, channels=channels)):
        assert at == ticks
        assert len(payload) <= MAX_PAYLOAD and len(payload) % channels == 0
        ticks += len(payload) // channels
        joined += payload
    assert joined == b"".join(frames)


def test_what_fits_is_not_cut_and_the_rest_is_cut_into_equal_ones() -> None:
    assert [len(payload) for _, payload in payloads(audio_unit("PCMA", bytes(MAX_PAYLOAD)))] == [MAX_PAYLOAD]
    assert [len(payload) for _, payload in payloads(audio_unit("PCMA", bytes(1600)))] == [800, 800]
    assert [at for at, _ in payloads(audio_unit("PCMA", bytes(1600), channels=2))] == [0, 400]


def test_more_channels_than_a_packet_has_octets_are_not_sent() -> None:
    assert not list(payloads(audio_unit("PCMA", bytes(4000), channels=2000)))


def test_samples_of_an_unknown_number_of_channels_are_of_one() -> None:
    assert [at for at, _ in payloads(audio_unit("G722", bytes(160), bytes(160), channels=0))] == [0, 160]


@pytest.mark.parametrize("duration_ms", ["2.5", "5", "10", "20", "40", "60", "80", "120"])
@pytest.mark.parametrize("application", ["audio", "voip"])
@pytest.mark.parametrize("bit_rate", [12_000, 64_000])
def test_opus_lasts_as_long_as_its_encoder_says(duration_ms: str, application: str, bit_rate: int) -> None:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    encoder.bit_rate = bit_rate
    encoder.time_base = Fraction(1, 48_000)
    encoder.options = {"frame_duration": duration_ms, "application": application}
    encoder.open()
    silence = av.AudioFrame("s16", "mono", int(48 * float(duration_ms)))
    silence.sample_rate = 48_000
    packets = []
    for number in range(4):
        silence.pts = number * silence.samples
        packets += [bytes(packet) for packet in encoder.encode(silence)]
    assert packets
    assert {opus_ticks(packet) for packet in packets} == {silence.samples}


OPUS = {
    "one frame": (b"\x08x", 960),
    "two of one size": (b"\x09xx", 1920),
    "two of two sizes": (b"\x0a\x01xx", 1920),
    "any number": (b"\xfb\x06xxxxxx", 6 * 960),
    "any number, not said": (b"\xfb", 0),
    "hybrid": (b"\x68x", 960),
    "only a TOC: lost or silent": (b"\x80", 120),
}


@pytest.mark.parametrize("name", OPUS)
def test_length_of_opus_packets(name: str) -> None:
    packet, ticks = OPUS[name]
    assert opus_ticks(packet) == ticks


@given(st.binary(min_size=1, max_size=9))
def test_any_octets_have_an_opus_length(packet: bytes) -> None:
    assert 0 <= opus_ticks(packet) <= 63 * 2880


def test_opus_frames_follow_each_other_and_one_too_long_leaves_its_time_free() -> None:
    short, longest, long = (b"\x18" + bytes(size) for size in (100, MAX_PAYLOAD - 1, MAX_PAYLOAD))
    unit = audio_unit("OPUS", short, longest, long, short, clock_rate=48_000, channels=2)
    assert list(payloads(unit)) == [(0, short), (2880, longest), (3 * 2880, short)]
