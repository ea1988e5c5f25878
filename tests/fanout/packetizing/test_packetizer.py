"""Pictures of real encoders, packetized here and put together again by FFmpeg and by our own ingest."""

from pathlib import Path

import pytest

from common.access_unit import AccessUnit
from common.units import TIMESTAMP_MODULUS
from fanout.packetizing.packetized import CLOCK_RATES, MAX_RUN_PACKETS, PacketizedUnit
from fanout.packetizing.packetizer import AUDIO_CODECS, VIDEO_CODECS, packetize, packetize_audio
from ingest.codecs.h264 import H264Depacketizer
from ingest.codecs.h265 import H265Depacketizer
from tests.fanout.ffmpeg_receiver import nals_read_by_ffmpeg
from tests.fanout.units import FRAME_NS, access_unit, audio_unit, encoded_pictures

AUD_OR_FILLER = {"H264": (9, 12), "H265": (35, 38)}
DEPACKETIZERS = {"H264": H264Depacketizer, "H265": H265Depacketizer}
STREAMS = [(codec, slices) for codec in ("H264", "H265") for slices in (1, 4)]


def kind(codec: str, nal: bytes) -> int:
    return nal[0] & 0x1F if codec == "H264" else nal[0] >> 1 & 0x3F


def for_decoders(unit: AccessUnit) -> tuple[bytes, ...]:
    return tuple(nal for nal in unit.nals if kind(unit.codec, nal) not in AUD_OR_FILLER[unit.codec])


def packetized(units: tuple[AccessUnit, ...]) -> list[PacketizedUnit]:
    made: list[PacketizedUnit] = []
    number = 0
    for unit in units:
        packets = packetize(unit, unit.timestamp, number, 0)
        assert packets is not None
        made.append(packets)
        number += packets.packets
    return made


@pytest.mark.parametrize(("codec", "slices"), STREAMS)
def test_ffmpeg_reads_what_the_encoder_made(codec: str, slices: int, tmp_path: Path) -> None:
    units = encoded_pictures(codec, slices)
    nals = nals_read_by_ffmpeg(packetized(units), tmp_path)
    assert nals == [nal for unit in units for nal in for_decoders(unit)]


@pytest.mark.parametrize(("codec", "slices"), STREAMS)
def test_ingest_reads_what_the_encoder_made(codec: str, slices: int) -> None:
    units = encoded_pictures(codec, slices)
    depacketizer = DEPACKETIZERS[codec]()
    frames = []
    for made in packetized(units):
        payloads = [payload for run in made.runs for payload in run]
        for position, payload in enumerate(payloads, start=1):
            depacketizer.push(made.timestamp % TIMESTAMP_MODULUS, position == len(payloads), payload, 0)
        frames += depacketizer.frames()
    assert [frame.nals for frame in frames] == [for_decoders(unit) for unit in units]
    assert [frame.keyframe for frame in frames] == [unit.keyframe for unit in units]
    assert depacketizer.damaged == 0


@pytest.mark.parametrize(("codec", "slices"), STREAMS)
def test_runs_are_few(codec: str, slices: int) -> None:
    units = encoded_pictures(codec, slices)
    for unit, made in zip(units, packetized(units), strict=True):
        assert len(made.runs) <= len(for_decoders(unit)) + made.packets // MAX_RUN_PACKETS


def test_a_packetized_unit_says_all_of_its_access_unit() -> None:
    unit = access_unit(3, keyframe=True, size=5000)
    made = packetize(unit, 1 << 33, 77, 99)
    assert made is not None
    assert (made.codec, made.timestamp, made.number, made.capture_ntp) == ("H264", 1 << 33, 77, 99)
    assert (made.capture_ns, made.keyframe) == (3 * FRAME_NS, True)
    payloads = [payload for run in made.runs for payload in run]
    assert (made.packets, made.octets) == (len(payloads), sum(map(len, payloads)))


@pytest.mark.parametrize(
    ("codec", "aud", "filler"), [("H264", b"\x09\xf0", b"\x0c"), ("H265", b"\x46\x01\x50", b"\x4c\x01")]
)
def test_a_unit_with_nothing_for_a_decoder_gives_no_packets(codec: str, aud: bytes, filler: bytes) -> None:
    unit = AccessUnit(1, 0, "video", codec, 0, 0, 0, False, (aud, filler + b"\xff" * 3000 + b"\x80"))
    assert packetize(unit, 0, 0, 0) is None


def test_audio_frames_have_packets_times_and_numbers_of_their_own() -> None:
    unit = audio_unit("PCMU", bytes(160), bytes(80), capture_ns=1_000_000_000)
    first, second = packetize_audio(unit, 500, 20)
    assert (first.codec, first.timestamp, first.number, first.octets) == ("PCMU", 500, 20, 160)
    assert (second.timestamp, second.number, second.octets) == (660, 21, 80)
    assert (first.capture_ns, second.capture_ns) == (1_000_000_000, 1_020_000_000)
    assert second.runs == ((bytes(80),),)
    assert second.packets == 1 and second.keyframe and not second.capture_ntp


def test_every_codec_is_packetized_and_has_a_clock_rate() -> None:
    for codec in VIDEO_CODECS:
        assert packetize(access_unit(0, keyframe=True, codec=codec), 0, 0, 0) is not None
    for codec in AUDIO_CODECS:
        assert packetize_audio(audio_unit(codec, b"\x00" * 160), 0, 0)
    assert set(CLOCK_RATES) == VIDEO_CODECS | AUDIO_CODECS
