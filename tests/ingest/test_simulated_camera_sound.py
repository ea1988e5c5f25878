"""The tone of the simulated camera, and what encoders make of it."""

import itertools
from array import array

import av
import pytest

from ingest.simulated.audio_encoder import AudioEncoder
from ingest.simulated.audio_formats import AUDIO_FORMATS, format_parameters
from ingest.simulated.tone import AMPLITUDE, NOTES_HZ, tone

NOW_S = 1_800_000_000


def crossings(samples: bytes) -> int:
    """How often a wave begins: its frequency, where it is a second long."""
    values = array("h", samples)
    return sum(1 for one, two in itertools.pairwise(values) if one < 0 <= two)


def test_each_second_has_its_note() -> None:
    rate = 16_000
    for second in range(6):
        samples = tone((NOW_S + second) * rate, rate, rate)
        assert len(samples) == 2 * rate
        assert abs(crossings(samples) - NOTES_HZ[(NOW_S + second) % len(NOTES_HZ)]) <= 1


def test_slices_fit_together_without_a_click() -> None:
    rate = 8_000
    start = NOW_S * rate - 1000
    whole = tone(start, 2000, rate)
    assert b"".join(tone(start + at, 160, rate) for at in range(0, 2000, 160))[: len(whole)] == whole
    steepest = AMPLITUDE * 2 * 3.1416 * max(NOTES_HZ) / rate + 2
    values = array("h", whole)
    assert max(abs(two - one) for one, two in itertools.pairwise(values)) <= steepest


@pytest.mark.parametrize("codec", AUDIO_FORMATS)
def test_payloads_follow_each_other_on_the_rtp_clock(codec) -> None:
    form = AUDIO_FORMATS[codec]
    first = 1000 * form.frame_samples
    encoder = AudioEncoder(codec, first, NOW_S * 10**9)
    payloads = [item for _ in range(20) for item in encoder.next()]
    assert encoder.position == first + 20 * form.frame_samples
    assert len(payloads) >= 19
    ticks = [tick for _, _, tick in payloads]
    step = form.frame_samples * form.clock_rate // form.sample_rate
    assert {two - one for one, two in itertools.pairwise(ticks)} == {step}
    # An encoder's delay is told by the time of its first packet.
    assert 0 <= first * form.clock_rate // form.sample_rate - ticks[0] <= step
    assert {marker for _, marker, _ in payloads} == {codec == "aac"}


def test_l16_is_the_tone_in_network_order() -> None:
    encoder = AudioEncoder("l16", 77, NOW_S * 10**9)
    ((payload, _, tick),) = encoder.next()
    samples = array("h", tone(NOW_S * 16_000, 320, 16_000))
    samples.byteswap()
    assert (payload, tick) == (samples.tobytes(), 77)


def test_the_description_of_aac_is_what_the_encoder_makes() -> None:
    form = AUDIO_FORMATS["aac"]
    encoder = av.CodecContext.create(form.encoder, "w")
    encoder.sample_rate, encoder.layout, encoder.format = form.sample_rate, "mono", "fltp"
    encoder.open()
    parameters = format_parameters("aac")
    assert parameters is not None
    assert encoder.extradata[:2] == bytes.fromhex(parameters.partition("config=")[2])
