"""AudioSpecificConfig, ADTS, bits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.aac import (
    MAX_CONFIG_BYTES,
    SAMPLE_RATES,
    AacError,
    AudioSpecificConfig,
    BitReader,
    aac_lc_config,
    parse_audio_specific_config,
    read_audio_specific_config,
    split_adts,
)


def bits(*fields):
    """Octets of (value, bits) in a row, filled up with zeros."""
    text = "".join(format(value, f"0{size}b") for value, size in fields)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def adts(frame, *, profile=1, rate_index=8, channels=1, crc=False, blocks=0, length=None):
    header = 9 if crc else 7
    length = len(frame) + header if length is None else length
    fields = [(0xFFF, 12), (0, 1), (0, 2), (not crc, 1), (profile, 2), (rate_index, 4), (0, 1), (channels, 3)]
    return bits(*fields, (0, 4), (length, 13), (0x7FF, 11), (blocks, 2)) + b"\0\0" * crc + frame


CONFIGS = {
    "1190": (2, 48_000, 2, 1024),
    "1408": (2, 16_000, 1, 1024),
    "1588": (2, 8_000, 1, 1024),
    "11b0": (2, 48_000, 6, 1024),  # RFC 3640 section 3.3.6
    "11b8": (2, 48_000, 8, 1024),
    "1194": (2, 48_000, 2, 960),
    "119056e500": (2, 48_000, 2, 1024),  # FFmpeg: says that there is no SBR
    "2b8a0800": (2, 22_050, 1, 1024),  # HE-AAC, 44,100 Hz heard
    "eb8a0800": (2, 22_050, 2, 1024),  # HE-AAC v2: parametric stereo
    bits((2, 5), (15, 4), (44_056, 24), (2, 4), (0, 3)).hex(): (2, 44_056, 2, 1024),
    bits((2, 5), (4, 4), (0, 4), (0, 3)).hex(): (2, 44_100, 0, 1024),  # program_config_element
    bits((23, 5), (3, 4), (1, 4), (1, 1), (0, 1), (1, 1), (0, 3), (0, 1), (0, 2)).hex(): (23, 48_000, 1, 480),
    bits((23, 5), (3, 4), (1, 4), (0, 3), (0, 2)).hex(): (23, 48_000, 1, 512),
    bits((2, 5), (3, 4), (1, 4), (0, 1), (1, 1), (0, 14), (1, 1), (0, 1)).hex(): (2, 48_000, 1, 1024),
}


@pytest.mark.parametrize("config", CONFIGS)
def test_audio_specific_config(config):
    assert parse_audio_specific_config(bytes.fromhex(config)) == AudioSpecificConfig(*CONFIGS[config])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"", "cut off"),
        (b"\x11", "cut off"),
        (bits((2, 5), (13, 4), (1, 4), (0, 3)), "frequency index 13"),
        (bits((2, 5), (15, 4), (0, 24), (1, 4), (0, 3)), "frequency index 15"),
        (bits((2, 5), (3, 4), (8, 4), (0, 3)), "channel configuration 8"),
        (bits((8, 5), (3, 4), (1, 4), (0, 3)), "object type 8 is not read"),
        (bits((31, 5), (7, 6), (3, 4), (1, 4), (0, 3)), "object type 39 is not read"),
        (bits((17, 5), (3, 4), (1, 4), (0, 3), (2, 2)), "epConfig"),
        (bytes(MAX_CONFIG_BYTES + 1), "at most 256"),
    ],
)
def test_configurations_that_are_not_read(config, said):
    with pytest.raises(AacError, match=said):
        parse_audio_specific_config(config)


@given(st.binary(max_size=20))
def test_any_octets_are_a_configuration_or_an_error(data):
    reader = BitReader(data)
    try:
        config = read_audio_specific_config(reader)
    except AacError:
        return
    assert reader.position <= 8 * len(data)
    assert config.sample_rate > 0 and config.frame_length in (480, 512, 960, 1024)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
@pytest.mark.parametrize("channels", [1, 2, 6, 7, 8])
def test_plain_configuration(rate, channels):
    config = parse_audio_specific_config(aac_lc_config(rate, channels))
    assert config == AudioSpecificConfig(2, rate, channels, 1024)


@pytest.mark.parametrize(("rate", "channels"), [(90_000, 1), (8000, 0), (8000, 9)])
def test_no_plain_configuration(rate, channels):
    with pytest.raises(AacError, match=f"{rate} Hz with {channels}"):
        aac_lc_config(rate, channels)


def test_ticks_follow_the_rtp_clock():
    with_sbr = parse_audio_specific_config(bytes.fromhex("2b8a0800"))
    assert with_sbr.ticks(1, 44_100) == 2048 and with_sbr.ticks(1, 22_050) == 1024
    assert AudioSpecificConfig(2, 44_100, 2, 1024).ticks(3, 90_000) == 3 * 1024 * 90_000 // 44_100


def test_bits():
    reader = BitReader(b"\xa5\x0f\xf0\x01")
    assert [reader.read(1), reader.read(3), reader.read(0), reader.position, reader.left] == [1, 2, 0, 4, 28]
    assert reader.read_bytes(2) == b"\x50\xff"
    assert reader.read(4) == 0 and reader.read_bytes(1) == b"\x01" and reader.left == 0
    for read in (reader.read, reader.read_bytes):
        with pytest.raises(AacError, match="cut off"):
            read(1)


@given(st.binary(max_size=40), st.lists(st.integers(0, 40)))
def test_bits_are_those_of_the_whole_number(data, sizes):
    reader = BitReader(data)
    text = "".join(format(octet, "08b") for octet in data)
    for size in sizes:
        if size > len(text):
            break
        assert format(reader.read(size), f"0{size}b")[:size] == text[:size]
        text = text[size:]


def test_adts():
    found = split_adts(adts(b"one", crc=True) + adts(b"second"))
    assert found.frames == (b"one", b"second") and found.config == bytes.fromhex("1408")
    assert split_adts(adts(b"x", rate_index=3, channels=2)).config == bytes.fromhex("1190")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        adts(b"one")[:-1],
        adts(b"one") + b"\0",
        adts(b"one")[:6],
        adts(b""),
        adts(b"one", length=5),
        adts(b"one", blocks=1),
        adts(b"one", rate_index=13),
        adts(b"one", profile=2),  # SSR
        b"\xff\xe1" + adts(b"one")[2:],
        b"\xff\xf3" + adts(b"one")[2:],  # MPEG audio layer III
    ],
)
def test_what_is_no_adts(data):
    assert split_adts(data) is None


@given(st.binary(max_size=30).map(lambda tail: b"\xff\xf1" + tail) | st.binary(max_size=30))
def test_any_octets_are_adts_or_not(data):
    found = split_adts(data)
    assert found is None or parse_audio_specific_config(found.config).sample_rate
