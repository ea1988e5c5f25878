"""Packets of an access unit, put together again by hand (RFC 6184)."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.access_unit import AccessUnit
from fanout import packetizer


def nal(kind: int, size: int) -> bytes:
    return bytes((0x60 | kind,)) + os.urandom(size - 1)


def depacketize(payloads: list[bytes]) -> list[bytes]:
    nals: list[bytes] = []
    fragments = b""
    for payload in payloads:
        kind = payload[0] & 0x1F
        if kind == 24:
            at = 1
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                nals.append(payload[at + 2 : at + 2 + size])
                at += 2 + size
        elif kind == 28:
            if payload[1] & 0x80:
                assert not fragments
                fragments = bytes((payload[0] & 0xE0 | payload[1] & 0x1F,))
            fragments += payload[2:]
            if payload[1] & 0x40:
                nals.append(fragments)
                fragments = b""
        else:
            nals.append(payload)
    assert not fragments
    return nals


@given(st.lists(st.integers(2, 9000), min_size=1, max_size=12))
def test_every_nal_arrives_unchanged(sizes: list[int]) -> None:
    nals = tuple(nal(1, size) for size in sizes)
    payloads = packetizer.payloads_of(nals)
    assert depacketize(payloads) == list(nals)
    assert max(map(len, payloads)) <= packetizer.MAX_PAYLOAD


@pytest.mark.parametrize("size", [1173, 1174, 2345, 20_000, 150_000, 1_000_000])
def test_fragments_have_one_size_but_the_last(size: int) -> None:
    payloads = packetizer.fragment(nal(5, size))
    assert {len(payload) for payload in payloads[:-1]} == {len(payloads[0])}
    assert 2 < len(payloads[-1]) <= len(payloads[0]) <= packetizer.MAX_PAYLOAD
    assert [payload[1] >> 6 for payload in payloads] == [2, *[0] * (len(payloads) - 2), 1]


def test_parameter_sets_share_one_packet_before_the_idr() -> None:
    sps, pps, idr = nal(7, 30), nal(8, 5), nal(5, 50_000)
    payloads = packetizer.payloads_of((nal(9, 2), sps, pps, idr))
    assert payloads[0][0] & 0x1F == 24
    assert depacketize(payloads) == [sps, pps, idr]


@given(st.lists(st.integers(1, 4), max_size=200), st.integers(1, 54))
def test_runs_are_what_segmentation_offload_takes(sizes: list[int], longest: int) -> None:
    payloads = [bytes(size) for size in sizes]
    runs = packetizer.group(payloads, longest)
    assert [payload for run in runs for payload in run] == payloads
    for run in runs:
        assert len(run) <= longest
        assert all(len(payload) == len(run[0]) for payload in run[:-1])
        assert len(run[-1]) <= len(run[0])


def test_a_run_fits_one_datagram_train() -> None:
    assert packetizer.MAX_RUN_PACKETS * packetizer.MAX_DATAGRAM <= 65_507


def test_a_unit_with_nothing_for_a_decoder_gives_no_packets() -> None:
    unit = AccessUnit(1, 0, "video", "H264", 0, 0, 0, False, (nal(9, 2), nal(12, 500)))
    assert packetizer.packetize(unit, 0) is None
