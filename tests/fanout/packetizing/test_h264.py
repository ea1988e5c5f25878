"""H.264 payloads, put together again by hand (RFC 6184)."""

import os

from hypothesis import given
from hypothesis import strategies as st

from fanout.packetizing.h264 import payloads

LEFT_OUT = {0, 9, 12, *range(24, 32)}


def nal(kind: int, size: int, importance: int = 3) -> bytes:
    return bytes((importance << 5 | kind,)) + os.urandom(size - 1)


def depacketize(made: list[bytes]) -> list[bytes]:
    nals: list[bytes] = []
    fragments = b""
    for payload in made:
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


NALS = st.builds(
    nal, st.integers(0, 31), st.one_of(st.integers(1, 60), st.integers(1, 9000)), st.integers(0, 3)
)


@given(st.lists(NALS, min_size=1, max_size=12))
def test_every_nal_for_a_decoder_arrives_unchanged(nals: list[bytes]) -> None:
    assert depacketize(payloads(nals)) == [unit for unit in nals if unit[0] & 0x1F not in LEFT_OUT]


def test_parameter_sets_share_one_packet_before_the_idr() -> None:
    sps, pps, idr = nal(7, 30), nal(8, 5), nal(5, 50_000)
    made = payloads((nal(9, 2), sps, pps, idr))
    assert made[0][0] & 0x1F == 24
    assert made[1][0] & 0x1F == 28
    assert depacketize(made) == [sps, pps, idr]


def test_a_stap_a_is_as_important_as_the_most_important_inside() -> None:
    assert payloads([nal(6, 9, importance=0), nal(8, 9, importance=2), nal(6, 9, importance=1)])[0][0] == 0x58
