"""Tracks to depacketizers; what is refused, and what it says to do."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import CameraRefusal
from ingest.codecs.aac import AacDepacketizer
from ingest.codecs.audio import AudioDepacketizer
from ingest.codecs.h264 import H264Depacketizer
from ingest.codecs.h265 import H265Depacketizer
from ingest.codecs.jpeg import JpegDepacketizer
from ingest.codecs.latm import LatmDepacketizer
from ingest.codecs.registry import UnreadableTrack, depacketizer_for, problem_with, readable
from ingest.rtsp.sdp import Track
from tests.common.test_aac import adts
from tests.ingest.codecs.test_aac import packet
from tests.ingest.codecs.test_latm import OTHER, in_band
from tests.ingest.codecs.test_sprop import PPS, SPS

VIDEO = ("H264", "H265", "JPEG")


def track(encoding, clock_rate=None, channels=1, kind=None, **parameters):
    kind = kind or ("video" if encoding in VIDEO else "audio")
    return Track(
        kind=kind,
        encoding=encoding,
        payload_type=96,
        clock_rate=clock_rate if clock_rate is not None else 90_000 if kind == "video" else 8000,
        channels=channels if kind == "audio" else 0,
        parameters=tuple((name.replace("_", "-"), value) for name, value in parameters.items()),
        setup_url="rtsp://camera/track",
    )


@pytest.mark.parametrize(
    ("described", "made", "codec", "channels", "config"),
    [
        (track("H264"), H264Depacketizer, "H264", 0, ""),
        (track("H264", packetization_mode="1"), H264Depacketizer, "H264", 0, ""),
        (track("H264", packetization_mode=""), H264Depacketizer, "H264", 0, ""),
        (track("H265"), H265Depacketizer, "H265", 0, ""),
        (track("H265", sprop_max_don_diff="0"), H265Depacketizer, "H265", 0, ""),
        (track("JPEG"), JpegDepacketizer, "JPEG", 0, ""),
        (track("JPEG", framesize="2560-1440"), JpegDepacketizer, "JPEG", 0, ""),
        (track("JPEG", framesize="wide"), JpegDepacketizer, "JPEG", 0, ""),
        (track("MPEG4-GENERIC", 16_000, config="1408"), AacDepacketizer, "AAC", 1, "1408"),
        (track("MPEG4-GENERIC", 16_000, 2), AacDepacketizer, "AAC", 2, "1410"),
        (track("MP4A-LATM", 48_000, cpresent="0", config="400023203fc0"), LatmDepacketizer, "AAC", 2, "1190"),
        (track("MP4A-LATM", 90_000), LatmDepacketizer, "AAC", 1, ""),
        (track("PCMA"), AudioDepacketizer, "PCMA", 1, ""),
        (track("PCMU", 16_000, 2), AudioDepacketizer, "PCMU", 2, ""),
        (track("G722"), AudioDepacketizer, "G722", 1, ""),
        (track("L16", 44_100, 2), AudioDepacketizer, "L16", 2, ""),
        (track("L16", channels=0), AudioDepacketizer, "L16", 1, ""),
        (track("OPUS", 48_000, 1), AudioDepacketizer, "OPUS", 2, ""),
    ],
    ids=str,
)
def test_formats(described, made, codec, channels, config):
    found = depacketizer_for(described)
    assert type(found.depacketizer) is made and found.codec == codec
    assert (found.clock_rate, found.channels) == (described.clock_rate, channels)
    assert found.config == bytes.fromhex(config)
    assert readable(described) and problem_with(described) is None


@pytest.mark.parametrize(
    ("described", "said"),
    [
        (track("MP4V-ES", kind="video"), "picture as MP4V-ES, .* set it to H.264, H.265 or MJPEG"),
        (track("G726-32"), "sound as G726-32, .* set it to AAC, G.711"),
        (track("VND.ONVIF.METADATA", kind="audio"), "not read"),
        (track("H264", kind="audio"), "sound as H264"),
        (track("H264", packetization_mode="2"), "packetization mode 2, .* set it to 1"),
        (track("H265", sprop_max_don_diff="2"), "sprop-max-don-diff 2"),
        (track("MPEG4-GENERIC", mode="CELP-vbr"), "mode celp-vbr .* set it to AAC-LC"),
        (track("MPEG4-GENERIC", 90_000), "90000 Hz"),
        (track("MP4A-LATM", cpresent="0", config="7f"), "MPEG-4 audio that is not read"),
        (track("PCMA", 0), "clock rate of 0"),
    ],
    ids=str,
)
def test_refusals(described, said):
    with pytest.raises(UnreadableTrack, match=said) as caught:
        depacketizer_for(described)
    assert isinstance(caught.value, CameraRefusal)
    assert not readable(described) and problem_with(described) == str(caught.value)


def test_parameter_sets_of_sdp_reach_the_depacketizer():
    sprop = ",".join(base64.b64encode(nal).decode() for nal in (SPS, PPS))
    depacketizer = depacketizer_for(track("H264", sprop_parameter_sets=sprop)).depacketizer
    idr = b"\x65\x88" + bytes(30)
    depacketizer.push(0, True, idr, 0)
    depacketizer.push(1, True, idr, 0)
    assert depacketizer.frames()[0].nals == (SPS, PPS, idr)


def test_samples_of_all_channels_stay_together():
    depacketizer = depacketizer_for(track("L16", 44_100, 2)).depacketizer
    depacketizer.push(0, False, bytes(6), 0)
    assert depacketizer.damaged == 1


def test_each_connection_has_its_own_depacketizer():
    described = track("PCMA")
    assert depacketizer_for(described).depacketizer is not depacketizer_for(described).depacketizer


def test_configuration_of_aac_follows_the_stream():
    latm = depacketizer_for(track("MP4A-LATM", 48_000))
    latm.depacketizer.push(0, True, in_band(b"\x21frame", config=OTHER), 0)
    assert (latm.config, latm.channels) == (bytes.fromhex("1190"), 2)
    aac = depacketizer_for(track("MPEG4-GENERIC", 16_000))
    aac.depacketizer.push(0, True, packet(adts(b"\x21frame", rate_index=3, channels=2)), 0)
    assert (aac.config, aac.channels) == (bytes.fromhex("1190"), 2)


ENCODINGS = [*VIDEO, "MPEG4-GENERIC", "MP4A-LATM", "PCMA", "PCMU", "G722", "L16", "OPUS", "CN"]
NAMES = [
    "packetization_mode",
    "sprop_parameter_sets",
    "sprop_vps",
    "sprop_max_don_diff",
    "framesize",
    "config",
]
NAMES += ["mode", "sizelength", "indexlength", "cpresent"]


@given(
    st.sampled_from(ENCODINGS) | st.text(min_size=1),
    st.integers(-1, 200_000),
    st.integers(0, 255),
    st.sampled_from([None, "video", "audio"]),
    st.dictionaries(st.sampled_from(NAMES), st.text(max_size=9) | st.binary(max_size=9).map(bytes.hex)),
)
def test_any_track_is_readable_or_has_a_problem(encoding, clock_rate, channels, kind, parameters):
    problem = problem_with(track(encoding, clock_rate, channels, kind, **parameters))
    assert problem is None or "set it to" in problem or "turn interleaving off" in problem
