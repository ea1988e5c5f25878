"""H.265 payloads, put together again by hand (RFC 7798)."""

import os

from hypothesis import given
from hypothesis import strategies as st

from fanout.packetizing.h265 import payloads

LEFT_OUT = {35, 38, *range(48, 64)}
VPS, SPS, PPS, IDR, SEI = 32, 33, 34, 19, 39
AP, FU = 48, 49


def nal(kind: int, size: int, layer: int = 0, tid: int = 1) -> bytes:
    return (kind << 9 | layer << 3 | tid).to_bytes(2, "big") + os.urandom(size - 2)


def header(payload: bytes) -> tuple[int, int, int]:
    """Type, LayerId, TID."""
    bits = int.from_bytes(payload[:2], "big")
    return bits >> 9, bits >> 3 & 0x3F, bits & 7


def depacketize(made: list[bytes]) -> list[bytes]:
    nals: list[bytes] = []
    fragments = b""
    for payload in made:
        kind, layer, tid = header(payload)
        if kind == AP:
            inside = []
            at = 2
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                inside.append(payload[at + 2 : at + 2 + size])
                at += 2 + size
            assert len(inside) > 1
            assert layer == min(header(unit)[1] for unit in inside)
            assert tid == min(header(unit)[2] for unit in inside)
            nals += inside
        elif kind == FU:
            assert payload[2] >> 6 != 3
            if payload[2] & 0x80:
                assert not fragments
                fragments = ((payload[2] & 0x3F) << 9 | layer << 3 | tid).to_bytes(2, "big")
            fragments += payload[3:]
            if payload[2] & 0x40:
                nals.append(fragments)
                fragments = b""
        else:
            nals.append(payload)
    assert not fragments
    return nals


SIZES = st.one_of(st.integers(2, 60), st.integers(2, 9000))
NALS = st.builds(nal, st.integers(0, 63), SIZES, st.integers(0, 63), st.integers(1, 7))


@given(st.lists(NALS, min_size=1, max_size=12))
def test_every_nal_for_a_decoder_arrives_unchanged(nals: list[bytes]) -> None:
    assert depacketize(payloads(nals)) == [unit for unit in nals if header(unit)[0] not in LEFT_OUT]


def test_parameter_sets_share_one_packet_before_the_picture() -> None:
    sets = [nal(VPS, 24), nal(SPS, 40), nal(PPS, 7), nal(SEI, 30)]
    picture = nal(IDR, 50_000, tid=2)
    made = payloads([nal(35, 3), *sets, picture])
    assert header(made[0]) == (AP, 0, 1)
    assert {header(payload) for payload in made[1:]} == {(FU, 0, 2)}
    assert depacketize(made) == [*sets, picture]


def test_half_a_header_is_left_out() -> None:
    picture = nal(IDR, 20)
    assert payloads([b"\x26", picture]) == [picture]
