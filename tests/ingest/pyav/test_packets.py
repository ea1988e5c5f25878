import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pyav.packets import MAX_PARAMETER_SETS, NalFormat, PacketError, nal_format

VPS, SPS, PPS = b"\x40\x01vps", b"\x42\x01sps", b"\x44\x01pps"


def avcc(length_bytes=4, sps=(b"\x67sps",), pps=(b"\x68pps",)):
    head = bytes((1, 100, 0, 40, 0xFC | length_bytes - 1, 0xE0 | len(sps)))
    sets = [b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals) for nals in (sps, pps)]
    return head + sets[0] + bytes((len(pps),)) + sets[1]


def hvcc(length_bytes=4, sets=(VPS, SPS, PPS)):
    arrays = b"".join(bytes((0x80 | nal[0] >> 1, 0, 1)) + len(nal).to_bytes(2, "big") + nal for nal in sets)
    return b"\x01" + bytes(20) + bytes((0xFC | length_bytes - 1, len(sets))) + arrays


@pytest.mark.parametrize("length_bytes", [1, 2, 4])
def test_configurations(length_bytes):
    # 14496-15 has more behind the PPS of the High profiles.
    for tail in (b"", b"\xfd\xf8\xf8\x00"):
        found = nal_format("H264", avcc(length_bytes) + tail)
        assert found == NalFormat(length_bytes, (b"\x67sps", b"\x68pps"))
    assert nal_format("H265", hvcc(length_bytes)) == NalFormat(length_bytes, (VPS, SPS, PPS))


@pytest.mark.parametrize("codec", ["H264", "H265"])
def test_annex_b(codec):
    assert nal_format(codec, b"") == NalFormat(0, ())
    for start in (b"\0\0\1", b"\0\0\0\1"):
        assert nal_format(codec, start + SPS + start + PPS) == NalFormat(0, (SPS, PPS))
    assert NalFormat(0, ()).split(b"\0\0\0\1abc\0\0\1d") == [b"abc", b"d"]


@pytest.mark.parametrize(("codec", "whole"), [("H264", avcc()), ("H265", hvcc())])
def test_configuration_cut_anywhere(codec, whole):
    for size in range(1, len(whole)):
        with pytest.raises(PacketError, match="cut off"):
            nal_format(codec, whole[:size])


def test_configuration_is_bounded():
    with pytest.raises(PacketError):
        nal_format("H265", hvcc(sets=[SPS] * (MAX_PARAMETER_SETS + 1)))


@given(st.lists(st.binary(max_size=300), max_size=20), st.sampled_from([2, 3, 4]))
def test_split(nals, length_bytes):
    data = b"".join(len(nal).to_bytes(length_bytes, "big") + nal for nal in nals)
    form = NalFormat(length_bytes, ())
    assert form.split(data) == [nal for nal in nals if nal]
    for size in range(len(data)):
        try:
            taken = form.split(data[:size])
        except PacketError:
            continue
        assert taken == [nal for nal in nals if nal][: len(taken)]


@given(st.binary(max_size=200), st.sampled_from(["H264", "H265"]))
def test_noise_raises_only_packet_errors(noise, codec):
    for data in (noise, b"\x01" + noise):
        with contextlib.suppress(PacketError):
            nal_format(codec, data).split(noise)
