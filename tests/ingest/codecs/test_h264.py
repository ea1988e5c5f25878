"""RTP payloads to access units: packet forms, marker quirks, parameter sets, loss, limits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs.h264 import H264Depacketizer

SPS = bytes.fromhex("6742c01fda0280bfe5c044000003000400000300c83c60ca80")
SPS_2 = SPS[:-2] + b"\xcb\x80"
PPS = bytes.fromhex("68ce3c80")
PPS_1 = bytes.fromhex("684e3c80")  # pic_parameter_set_id 1
SEI = b"\x06\x05\x01\x00\x80"
AUD = b"\x09\xf0"
FILLER = b"\x0c\xff\xff\x80"
IDR = b"\x65\x88" + bytes(range(30))
IDR_REST = b"\x65\x48" + bytes(range(30))  # first_mb_in_slice is not 0
SLICE = b"\x41\x9a" + bytes(range(20))
SLICE_REST = b"\x41\x4a" + bytes(range(20))
UNUSED = b"\x01\x9a" + bytes(range(20))  # nal_ref_idc 0: no picture refers to it

MARK = "mark"
LOSS = "loss"


def fu_a(nal, size=8):
    body = nal[1:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    last = len(pieces) - 1
    return [
        bytes((nal[0] & 0xE0 | 28, (at == 0) << 7 | (at == last) << 6 | nal[0] & 0x1F)) + piece
        for at, piece in enumerate(pieces)
    ]


def stap_a(*nals):
    return b"\x78" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


def run(packets, sets=(SPS, PPS), depacketizer=None):
    """Feeds (timestamp, payload, *MARK or LOSS); gives each picture with the index of its last packet."""
    depacketizer = depacketizer or H264Depacketizer(sets)
    found = []
    for index, (timestamp, payload, *flags) in enumerate(packets):
        depacketizer.push(timestamp, MARK in flags, payload, index, LOSS in flags)
        found += [(index, picture) for picture in depacketizer.frames()]
    return depacketizer, found


def shown(found):
    return [(p.timestamp, p.keyframe, p.gap, list(p.nals)) for _, p in found]


START = [(0, IDR, MARK), (1, SLICE, MARK)]  # the first picture waits for the second's timestamp
STARTED = [(0, True, True, [SPS, PPS, IDR]), (1, False, False, [SLICE])]

CASES = {
    "single NAL units": (START, STARTED),
    "STAP-A with everything": (
        [(0, stap_a(AUD, SPS, PPS, SEI, IDR), MARK), (1, SLICE, MARK)],
        [(0, True, True, [SPS, PPS, SEI, IDR]), (1, False, False, [SLICE])],
    ),
    "FU-A": (
        [*((0, piece) for piece in fu_a(IDR)), *((1, piece) for piece in fu_a(SLICE)), (2, SLICE)],
        STARTED,
    ),
    "FU-A in one piece (S and E)": ([(0, fu_a(IDR, 99)[0], MARK), (1, SLICE, MARK)], STARTED),
    "empty last fragment": (
        [(0, b"\x7c\x85" + IDR[1:]), (0, b"\x7c\x45", MARK), (1, SLICE, MARK)],
        STARTED,
    ),
    "filler and AUD are left out": (
        [(0, AUD), (0, IDR), (0, FILLER, MARK), (1, AUD), (1, SLICE, MARK)],
        STARTED,
    ),
    "no marker ever": (
        [(0, IDR), (1, SLICE), (2, SLICE), (3, b"\x41\xff")],
        [*STARTED, (2, False, False, [SLICE])],
    ),
    "parameter sets with a timestamp of their own": (
        [(7, SPS, MARK), (7, PPS, MARK), (0, IDR, MARK), (1, SLICE, MARK)],
        STARTED,
    ),
    "sets repeated in band appear once": (
        [(0, SPS), (0, PPS), (0, IDR, MARK), (1, SLICE, MARK), (2, SPS), (2, SPS), (2, PPS), (2, IDR, MARK)],
        [*STARTED, (2, True, False, [SPS, PPS, IDR])],
    ),
    "sets sent once go in front of every IDR": (
        [(0, SPS), (0, PPS), (0, IDR, MARK), (1, SLICE, MARK), (2, IDR, MARK)],
        [*STARTED, (2, True, False, [SPS, PPS, IDR])],
    ),
    "new sets replace the old": (
        [*START, (2, SPS_2), (2, PPS), (2, IDR, MARK), (3, IDR, MARK)],
        [*STARTED, (2, True, False, [SPS_2, PPS, IDR]), (3, True, False, [SPS_2, PPS, IDR])],
    ),
    "two picture parameter sets": (
        [*START, (2, PPS_1), (2, IDR, MARK)],
        [*STARTED, (2, True, False, [SPS, PPS, PPS_1, IDR])],
    ),
    "nothing before the first keyframe": (
        [(8, SLICE, MARK), (9, SLICE, MARK), *START],
        [(0, True, True, [SPS, PPS, IDR]), (1, False, False, [SLICE])],
    ),
    "marker on every NAL unit": (
        [
            *((0, SPS, MARK), (0, PPS, MARK), (0, IDR, MARK), (0, IDR_REST, MARK), (1, SLICE, MARK)),
            *((1, SLICE_REST, MARK), (2, SLICE, MARK), (2, SLICE_REST, MARK), (3, SLICE)),
        ],
        [
            (0, True, True, [SPS, PPS, IDR, IDR_REST]),
            (1, False, False, [SLICE, SLICE_REST]),
            (2, False, False, [SLICE, SLICE_REST]),
        ],
    ),
    "marker inside appears late": (
        [*START, (2, SLICE, MARK), (2, SLICE_REST, MARK), (3, IDR, MARK), (3, IDR_REST, MARK), (4, SLICE)],
        [*STARTED, (2, False, False, [SLICE]), (3, True, True, [SPS, PPS, IDR, IDR_REST])],
    ),
    "marker in the middle of an FU-A": (
        [*START, *((2, piece, MARK) for piece in fu_a(SLICE)), (3, SLICE, MARK)],
        [*STARTED, (2, False, False, [SLICE]), (3, False, False, [SLICE])],
    ),
    "unused NAL types": ([(0, b"\x1e12"), (0, b"\x1f12"), (0, b"\x0012"), *START], STARTED),
    "empty payload": ([(0, b""), *START], STARTED),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    packets, expected = CASES[name]
    assert shown(run(packets)[1]) == expected


def test_complete_at_the_marker_not_one_frame_late():
    packets = [*START, (2, SLICE), (2, SLICE_REST, MARK), (3, IDR, MARK)]
    assert [(index, picture.timestamp) for index, picture in run(packets)[1]] == [
        (1, 0),
        (1, 1),
        (3, 2),
        (4, 3),
    ]
    assert [picture.arrival_ns for _, picture in run(packets)[1]] == [0, 1, 3, 4]


def test_keyframe_needs_parameter_sets():
    depacketizer, found = run([(0, IDR, MARK), (1, SLICE, MARK), (2, SPS), (2, PPS), (2, IDR, MARK)], sets=())
    assert shown(found) == [(2, True, True, [SPS, PPS, IDR])]
    assert depacketizer.damaged == 0


DAMAGE = {
    "lost middle of an FU-A": [(2, fu_a(SLICE)[0]), (2, fu_a(SLICE)[2], MARK, LOSS)],
    "lost start of an FU-A": [(2, fu_a(SLICE)[1], LOSS), (2, fu_a(SLICE)[2], MARK)],
    "lost end of an FU-A": [(2, fu_a(SLICE)[0]), (2, fu_a(SLICE)[1])],
    "FU-A without start": [(2, fu_a(SLICE)[1]), (2, fu_a(SLICE)[2], MARK)],
    "FU-A begun twice": [(2, fu_a(SLICE)[0]), *((2, piece) for piece in fu_a(SLICE))],
    "FU-A that changes its type": [(2, fu_a(SLICE)[0]), (2, b"\x5c\x45x", MARK)],
    "FU-A of one octet": [(2, SLICE), (2, b"\x5c", MARK)],
    "FU-A ended by another NAL unit": [(2, fu_a(SLICE)[0]), (2, SLICE_REST, MARK)],
    "lost first slice": [(2, SLICE_REST, MARK, LOSS)],
    "lost slice": [(2, SLICE), (2, SLICE_REST, MARK, LOSS)],
    "STAP-A cut off": [(2, stap_a(SLICE, SEI)[:-1], MARK)],
    "STAP-A with half a size": [(2, stap_a(SLICE) + b"\x00", MARK)],
    "interleaved mode": [(2, SLICE), (2, b"\x1d\x85\x00\x01abc", MARK)],
    "forbidden bit": [(2, b"\xc1" + SLICE[1:], MARK)],
    "forbidden bit in FU-A": [(2, b"\xdc" + fu_a(SLICE)[0][1:]), (2, fu_a(SLICE)[1], MARK)],
    "forbidden bit in STAP-A": [(2, stap_a(b"\xc1" + SLICE[1:]), MARK)],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_picture_is_dropped_whole_with_all_that_refer_to_it(name):
    packets = [*START, *DAMAGE[name], (3, SLICE, MARK), (4, IDR, MARK), (5, SLICE, MARK)]
    depacketizer, found = run(packets)
    assert shown(found) == [*STARTED, (4, True, True, [SPS, PPS, IDR]), (5, False, False, [SLICE])]
    assert depacketizer.damaged == 1


def test_keyframe_without_its_first_slice_is_no_keyframe():
    packets = [*START, (2, IDR_REST, MARK, LOSS), (3, IDR, MARK)]
    assert shown(run(packets)[1])[2:] == [(3, True, True, [SPS, PPS, IDR])]


def test_whole_pictures_lost_between_others():
    packets = [*START, (5, SLICE, MARK, LOSS), (6, IDR, MARK)]
    depacketizer, found = run(packets)
    assert shown(found)[2:] == [(6, True, True, [SPS, PPS, IDR])]
    assert depacketizer.damaged == 0


def test_damaged_picture_that_nothing_refers_to_leaves_no_gap():
    packets = [*START, (2, UNUSED), (2, b"\x01\x4a", MARK, LOSS), (3, SLICE, MARK)]
    depacketizer, found = run(packets)
    assert shown(found)[2:] == [(3, False, False, [SLICE])]
    assert depacketizer.damaged == 1


PAYLOADS = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([SPS, PPS, IDR, IDR_REST, SLICE, SLICE_REST, SEI, AUD, *fu_a(IDR), *fu_a(SLICE)]),
    st.binary(max_size=12).map(b"\x78".__add__),
    st.binary(max_size=6).map(b"\x7c".__add__),
)
PACKETS = st.tuples(st.integers(0, 3), PAYLOADS, st.sampled_from(["", MARK]), st.sampled_from(["", "", LOSS]))


@settings(max_examples=300)
@given(st.lists(PACKETS, max_size=40))
def test_fuzz_pictures_are_sound(packets):
    _, found = run(packets, sets=())
    for _, picture in found:
        assert picture.nals and all(picture.nals)
        kinds = [nal[0] & 0x1F for nal in picture.nals]
        assert any(1 <= kind <= 5 for kind in kinds)
        assert not picture.keyframe or (kinds[0] == 7 and 8 in kinds and 5 in kinds)
    assert not found or found[0][1].keyframe
    assert all(picture.keyframe for _, picture in found if picture.gap)
