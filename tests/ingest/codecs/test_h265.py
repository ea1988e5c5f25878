"""RTP payloads to H.265 access units: packet forms, keyframes, layers, loss, and what real senders make."""

import functools
import subprocess

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.h264 import split_annex_b
from common.h265 import nal_type
from ingest.codecs.frame import VideoParameters
from ingest.codecs.h265 import H265Depacketizer
from tests.ingest.codecs.payloaders import ffmpeg_rtp, gst_rtp

MARK = "mark"
LOSS = "loss"


def nal(kind, body, layer=0, temporal_id=0):
    return bytes((kind << 1 | layer >> 5, (layer & 31) << 3 | temporal_id + 1)) + body


# From x265: Main, 642x362, one sub-layer.
VPS = bytes.fromhex("40010c01ffff01600000030090000003000003003f959409")
SPS = bytes.fromhex("42010101600000030090000003000003003fa005220171c449965654a4c2f0168080000003008000000c84")
PPS = bytes.fromhex("4401c073c189")
SETS = (VPS, SPS, PPS)
SPS_3_LAYERS = b"\x42\x01\x05" + b"\x11" * 12 + b"\x00\x00\xa0"  # and then nothing
FIRST, REST = b"\x80" + bytes(range(20)), b"\x40" + bytes(range(20))
TRAIL, TRAIL_REST = nal(1, FIRST), nal(1, REST)
UNUSED, UNUSED_REST = nal(0, FIRST), nal(0, REST)  # TRAIL_N: nothing in its sub-layer refers to it
RADL, RASL_N, RASL = nal(7, FIRST), nal(8, FIRST), nal(9, FIRST)
BLA, IDR, IDR_N, CRA = nal(16, FIRST), nal(19, FIRST), nal(20, FIRST), nal(21, FIRST)
IDR_REST = nal(19, REST)
AUD, FILLER = nal(35, b"\x50"), nal(38, b"\xff\x80")
SEI, SUFFIX_SEI, END = nal(39, b"\x05\x01\x00\x80"), nal(40, b"\x84\x01\x00\x80"), nal(36, b"")


def fu(unit, size=8):
    body = unit[2:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    last = len(pieces) - 1
    header = bytes((unit[0] & 0x81 | 49 << 1, unit[1]))
    return [
        header + bytes(((at == 0) << 7 | (at == last) << 6 | nal_type(unit),)) + piece
        for at, piece in enumerate(pieces)
    ]


def ap(*units):
    return nal(48, b"".join(len(unit).to_bytes(2, "big") + unit for unit in units))


def run(packets, sets=SETS):
    """Feeds (timestamp, payload, *MARK or LOSS); gives each picture with the index of its last packet."""
    depacketizer = H265Depacketizer(sets)
    found = []
    for index, (timestamp, payload, *flags) in enumerate(packets):
        depacketizer.push(timestamp, MARK in flags, payload, index, LOSS in flags)
        found += [(index, picture) for picture in depacketizer.frames()]
    return depacketizer, found


def shown(found):
    return [(p.timestamp, p.keyframe, p.gap, list(p.nals)) for _, p in found]


START = [(0, IDR, MARK), (1, TRAIL, MARK)]  # the first picture waits for the second's timestamp
STARTED = [(0, True, True, [*SETS, IDR]), (1, False, False, [TRAIL])]

CASES = {
    "single NAL units": (START, STARTED),
    "AP with everything": (
        [(0, ap(AUD, VPS, SPS, PPS, SEI, IDR, SUFFIX_SEI), MARK), (1, TRAIL, MARK)],
        [(0, True, True, [*SETS, SEI, IDR, SUFFIX_SEI]), STARTED[1]],
    ),
    "FU": (
        [*((0, piece) for piece in fu(IDR)), *((1, piece) for piece in fu(TRAIL)), (2, TRAIL)],
        STARTED,
    ),
    "FU in one piece (S and E)": ([(0, fu(IDR, 99)[0], MARK), (1, TRAIL, MARK)], STARTED),
    "empty last fragment": (
        [(0, b"\x62\x01\x93" + IDR[2:]), (0, b"\x62\x01\x53", MARK), (1, TRAIL, MARK)],
        STARTED,
    ),
    "FU keeps layer and temporal id": (
        [*START, *((2, piece) for piece in fu(nal(1, FIRST, temporal_id=2))), (3, TRAIL)],
        [*STARTED, (2, False, False, [nal(1, FIRST, temporal_id=2)])],
    ),
    "filler and AUD are left out": (
        [(0, AUD), (0, IDR), (0, FILLER, MARK), (1, AUD), (1, TRAIL, MARK)],
        STARTED,
    ),
    "no marker ever": (
        [(0, IDR), (1, TRAIL), (2, TRAIL), (3, TRAIL)],
        [*STARTED, (2, False, False, [TRAIL])],
    ),
    "parameter sets with a timestamp of their own": (
        [(7, VPS, MARK), (7, SPS, MARK), (7, PPS, MARK), (0, IDR, MARK), (1, TRAIL, MARK)],
        STARTED,
    ),
    "sets sent once go in front of every keyframe": (
        [(0, ap(*SETS)), (0, IDR, MARK), (1, TRAIL, MARK), (2, IDR_N, MARK), (3, SEI), (3, CRA, MARK)],
        [*STARTED, (2, True, False, [*SETS, IDR_N]), (3, True, False, [*SETS, SEI, CRA])],
    ),
    "new sets replace the old": (
        [*START, (2, SPS + b"\x01"), (2, IDR, MARK), (3, IDR, MARK)],
        [*STARTED, *((at, True, False, [VPS, SPS + b"\x01", PPS, IDR]) for at in (2, 3))],
    ),
    "nothing before the first keyframe": (
        [(8, TRAIL, MARK), (9, TRAIL, MARK), *START],
        STARTED,
    ),
    "marker on every NAL unit": (
        [
            *((0, VPS, MARK), (0, SPS, MARK), (0, PPS, MARK), (0, IDR, MARK), (0, IDR_REST, MARK)),
            *((1, TRAIL, MARK), (1, TRAIL_REST, MARK), (2, TRAIL, MARK), (2, TRAIL_REST, MARK), (3, TRAIL)),
        ],
        [
            (0, True, True, [*SETS, IDR, IDR_REST]),
            (1, False, False, [TRAIL, TRAIL_REST]),
            (2, False, False, [TRAIL, TRAIL_REST]),
        ],
    ),
    "marker inside appears late": (
        [*START, (2, TRAIL, MARK), (2, TRAIL_REST, MARK), (3, IDR, MARK), (3, IDR_REST, MARK), (4, TRAIL)],
        [*STARTED, (2, False, False, [TRAIL]), (3, True, True, [*SETS, IDR, IDR_REST])],
    ),
    "one timestamp for two pictures": (
        [*START, (2, TRAIL), (2, TRAIL_REST), (2, UNUSED, MARK), (3, TRAIL, MARK)],
        [
            *STARTED,
            (2, False, False, [TRAIL, TRAIL_REST]),
            (2, False, False, [UNUSED]),
            (3, False, False, [TRAIL]),
        ],
    ),
    "what ends a picture comes after its marker": (
        [*START, (1, SUFFIX_SEI, MARK), (1, END, MARK), (2, TRAIL, MARK)],
        [*STARTED, (2, False, False, [TRAIL])],
    ),
    "reserved and unspecified types, other layers": (
        [
            *((0, nal(kind, FIRST)) for kind in (10, 15, 22, 31, 41, 47, 51, 63)),
            *((0, nal(kind, FIRST, layer)) for kind in (1, 19, 33) for layer in (1, 32, 63)),
            (0, fu(nal(19, FIRST, layer=1))[0]),
            *START,
        ],
        STARTED,
    ),
    "empty payload": ([(0, b""), *START], STARTED),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    packets, expected = CASES[name]
    depacketizer, found = run(packets)
    assert shown(found) == expected
    assert depacketizer.damaged == (name == "marker inside appears late")


def test_complete_at_the_marker_not_one_frame_late():
    packets = [*START, (2, TRAIL), (2, TRAIL_REST, MARK), (3, IDR, MARK)]
    assert [(index, p.timestamp, p.arrival_ns) for index, p in run(packets)[1]] == [
        (1, 0, 0),
        (1, 1, 1),
        (3, 2, 3),
        (4, 3, 4),
    ]


@pytest.mark.parametrize("missing", SETS)
def test_keyframe_needs_parameter_sets(missing):
    others = [unit for unit in SETS if unit != missing]
    packets = [(0, IDR, MARK), (1, TRAIL, MARK), (2, missing), (2, IDR, MARK)]
    depacketizer, found = run(packets, sets=others)
    assert shown(found) == [(2, True, True, [*SETS, IDR])]
    assert depacketizer.damaged == 0


def test_parameters():
    depacketizer, _ = run(START[:1])
    assert depacketizer.parameters is None
    depacketizer, _ = run(START)
    assert depacketizer.parameters == VideoParameters(
        "Main", None, 642, 362, 2, "profile-id=1;tier-flag=0;level-id=63"
    )
    depacketizer, found = run([*START, (2, SPS_3_LAYERS), (2, IDR, MARK)])
    assert len(found) == 3
    assert depacketizer.parameters is None


DAMAGE = {
    "lost middle of an FU": [(2, fu(TRAIL)[0]), (2, fu(TRAIL)[2], MARK, LOSS)],
    "lost start of an FU": [(2, fu(TRAIL)[1], LOSS), (2, fu(TRAIL)[2], MARK)],
    "lost end of an FU": [(2, fu(TRAIL)[0]), (2, fu(TRAIL)[1])],
    "FU without start": [(2, fu(TRAIL)[1]), (2, fu(TRAIL)[2], MARK)],
    "FU begun twice": [(2, fu(TRAIL)[0]), *((2, piece) for piece in fu(TRAIL))],
    "FU that changes its type": [(2, fu(TRAIL)[0]), (2, b"\x62\x01\x40x", MARK)],
    "FU without header": [(2, TRAIL), (2, b"\x62\x01", MARK)],
    "FU of an FU": [(2, TRAIL), (2, b"\x62\x01\xf1x", MARK)],
    "FU ended by another NAL unit": [(2, fu(TRAIL)[0]), (2, TRAIL_REST, MARK)],
    "lost first slice": [(2, TRAIL_REST, MARK, LOSS)],
    "lost slice": [(2, TRAIL), (2, TRAIL_REST, MARK, LOSS)],
    "lost slices of two pictures under one timestamp": [(2, UNUSED), (2, UNUSED, MARK, LOSS)],
    "AP cut off": [(2, ap(TRAIL, SEI)[:-1], MARK)],
    "AP with half a size": [(2, ap(TRAIL) + b"\x00", MARK)],
    "AP with half a header": [(2, ap(TRAIL, b"\x02"), MARK)],
    "PACI": [(2, TRAIL), (2, nal(50, b"\x02\x00" + REST), MARK)],
    "forbidden bit": [(2, b"\x82" + TRAIL[1:], MARK)],
    "forbidden bit in FU": [(2, b"\xe2" + fu(TRAIL)[0][1:]), (2, fu(TRAIL)[1], MARK)],
    "forbidden bit in AP": [(2, ap(b"\x82" + TRAIL[1:]), MARK)],
    "one octet": [(2, TRAIL), (2, b"\x02", MARK)],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_picture_is_dropped_whole_with_all_that_refer_to_it(name):
    packets = [*START, *DAMAGE[name], (3, TRAIL, MARK), (4, IDR, MARK), (5, TRAIL, MARK)]
    depacketizer, found = run(packets)
    assert shown(found) == [*STARTED, (4, True, True, [*SETS, IDR]), (5, False, False, [TRAIL])]
    assert depacketizer.damaged == 1


def test_keyframe_without_its_first_slice_is_no_keyframe():
    packets = [*START, (2, IDR_REST, MARK, LOSS), (3, IDR, MARK)]
    assert shown(run(packets)[1])[2:] == [(3, True, True, [*SETS, IDR])]


def test_whole_pictures_lost_between_others():
    packets = [*START, (5, TRAIL, MARK, LOSS), (6, IDR, MARK)]
    depacketizer, found = run(packets)
    assert shown(found)[2:] == [(6, True, True, [*SETS, IDR])]
    assert depacketizer.damaged == 0


# Damaged picture, SPS in force: does what follows need it?
NEEDED = {
    "reference": (1, 0, SPS, True),
    "not of its sub-layer, the only one": (0, 0, SPS, False),
    "leading, not of its sub-layer": (8, 0, SPS, False),
    "not of its sub-layer, but there are higher ones": (0, 1, SPS_3_LAYERS, True),
    "not of the highest sub-layer": (0, 2, SPS_3_LAYERS, False),
    "reference of the highest sub-layer": (1, 2, SPS_3_LAYERS, True),
    "reserved type of its even number": (14, 0, SPS, True),
}


@pytest.mark.parametrize("name", NEEDED)
def test_damaged_picture_that_nothing_refers_to_leaves_no_gap(name):
    kind, temporal_id, sps, needed = NEEDED[name]
    damaged = [
        (2, nal(kind, FIRST, temporal_id=temporal_id)),
        (2, nal(kind, REST, temporal_id=temporal_id), MARK, LOSS),
    ]
    packets = [*START, *damaged, (3, TRAIL, MARK)]
    _, found = run(packets, sets=(VPS, sps, PPS))
    assert shown(found)[2:] == ([] if needed else [(3, False, False, [TRAIL])])


OPEN_GOP = [(6, CRA, MARK), (4, RASL, MARK), (3, RASL_N, MARK), (5, RADL, MARK), (7, TRAIL, MARK)]
WITHOUT_RASL = [(5, False, False, [RADL]), (7, False, False, [TRAIL])]


def test_rasl_pictures_are_kept_where_what_they_refer_to_was_sent():
    _, found = run([*START, *OPEN_GOP])
    assert [p.timestamp for _, p in found] == [0, 1, 6, 4, 3, 5, 7]
    assert not any(p.gap for _, p in found[1:])


def test_rasl_pictures_are_dropped_where_decoding_starts():
    depacketizer, found = run(OPEN_GOP)
    assert shown(found) == [(6, True, True, [*SETS, CRA]), *WITHOUT_RASL]
    assert depacketizer.damaged == 0


def test_rasl_pictures_are_dropped_behind_a_gap_and_kept_behind_the_next_keyframe():
    lost = [(2, TRAIL, MARK, LOSS)]
    again = [(timestamp + 10, *rest) for timestamp, *rest in OPEN_GOP]
    depacketizer, found = run([*START, *lost, *OPEN_GOP, *again])
    assert shown(found)[2:5] == [(6, True, True, [*SETS, CRA]), *WITHOUT_RASL]
    assert [p.timestamp for _, p in found[5:]] == [16, 14, 13, 15, 17]
    assert depacketizer.damaged == 0


@pytest.mark.parametrize("before", [[(2, TRAIL), (2, END, MARK)], [(2, TRAIL, MARK), (2, END)]])
def test_rasl_pictures_are_dropped_behind_an_end_of_sequence(before):
    _, found = run([*START, *before, *OPEN_GOP])
    assert shown(found)[3:] == [(6, True, False, [*SETS, CRA]), *WITHOUT_RASL]


def test_rasl_pictures_are_dropped_behind_a_splice():
    _, found = run([*START, (6, BLA, MARK), *OPEN_GOP[1:]])
    assert shown(found)[2:] == [(6, True, False, [*SETS, BLA]), *WITHOUT_RASL]


PAYLOADS = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([*SETS, IDR, IDR_REST, CRA, RASL, TRAIL, TRAIL_REST, UNUSED, SEI, SUFFIX_SEI, AUD, END]),
    st.sampled_from([*fu(IDR), *fu(TRAIL)]),
    st.binary(max_size=12).map(b"\x60\x01".__add__),
    st.binary(max_size=6).map(b"\x62\x01".__add__),
)
PACKETS = st.tuples(st.integers(0, 3), PAYLOADS, st.sampled_from(["", MARK]), st.sampled_from(["", "", LOSS]))


@settings(max_examples=300)
@given(st.lists(PACKETS, max_size=40))
def test_fuzz_pictures_are_sound(packets):
    _, found = run(packets, sets=())
    for _, picture in found:
        kinds = [nal_type(unit) for unit in picture.nals]
        assert all(len(unit) >= 2 for unit in picture.nals)
        assert any(kind < 32 for kind in kinds)
        assert not picture.keyframe or (kinds[0] == 32 and {33, 34} < set(kinds))
    assert not found or found[0][1].keyframe
    assert all(picture.keyframe for _, picture in found if picture.gap)


# Real streams ----------------------------------------------------------------------------------------------

X265 = "log-level=none:pools=1:repeat-headers=1:keyint=10:min-keyint=10:scenecut=0"
OPEN = f"{X265}:bframes=3:b-adapt=0:open-gop=1:slices=2:ctu=16"
CLOSED = f"{X265}:bframes=0:aud=1:open-gop=0"


def source(parameters, pictures=35):
    lavfi = ["-f", "lavfi", "-i", "testsrc2=size=480x272:rate=25", "-frames:v", str(pictures)]
    codec = ["-pix_fmt", "yuv420p", "-c:v", "libx265", "-preset", "ultrafast", "-crf", "20"]
    return [*lavfi, *codec, "-x265-params", parameters]


def access_units(stream):
    """NAL units of each picture of an encoder's file, AUD and filler left out."""
    units, pending = [], []
    has_picture = False
    for unit in split_annex_b(stream):
        kind = nal_type(unit)
        if has_picture and (32 <= kind <= 39 or (kind < 32 and unit[2] & 0x80)):
            units.append(pending)
            pending, has_picture = [], False
        has_picture = has_picture or kind < 32
        if kind not in (35, 38):
            pending.append(unit)
    return [*units, pending]


@functools.cache
def encoded(parameters):
    command = ["ffmpeg", "-v", "error", *source(parameters), "-f", "hevc", "-"]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def depacketized(packets):
    """All pictures of whole RTP; the end of the stream is known by a packet that begins another picture."""
    depacketizer = H265Depacketizer()
    frames = []
    for before, packet in zip([None, *packets], packets, strict=False):
        loss = before is not None and packet.sequence != before.sequence + 1 & 0xFFFF
        depacketizer.push(packet.timestamp, packet.marker, packet.payload, 0, loss)
        frames += depacketizer.frames()
    assert depacketizer.damaged == 0
    return depacketizer, frames


@pytest.mark.parametrize("parameters", [OPEN, CLOSED])
@pytest.mark.parametrize("packet_size", [300, 1472])
def test_ffmpeg_rtp_gives_what_the_encoder_made(parameters, packet_size, tmp_path):
    file = tmp_path / "encoder.265"
    packets = ffmpeg_rtp(source(parameters), [f"[f=hevc]{file}"], packet_size)
    kinds = {nal_type(packet.payload) for packet in packets}
    assert 49 in kinds
    assert 48 in kinds or packet_size == 300
    depacketizer, frames = depacketized(packets)
    assert [list(frame.nals) for frame in frames] == access_units(file.read_bytes())
    assert depacketizer.parameters == VideoParameters(
        "Main", None, 480, 272, 2 if parameters == OPEN else 0, "profile-id=1;tier-flag=0;level-id=63"
    )
    assert [frame.keyframe for frame in frames].count(True) == 4
    assert [frame.gap for frame in frames] == [True] + [False] * 34


@pytest.mark.parametrize("mode", ["none", "zero-latency", "max"])
def test_gstreamer_rtp_gives_what_the_encoder_made(mode):
    stream = encoded(CLOSED)
    expected = access_units(stream)
    frames = [b"".join(b"\0\0\0\1" + unit for unit in units) for units in expected]
    caps = "video/x-h265,stream-format=byte-stream,alignment=au,width=480,height=272,framerate=25/1"
    packets = gst_rtp(caps, f"rtph265pay aggregate-mode={mode} mtu=1200", frames)
    kinds = {nal_type(packet.payload) for packet in packets}
    assert 49 in kinds
    assert (48 in kinds) == (mode != "none")
    _, found = depacketized(packets)
    assert [list(frame.nals) for frame in found] == expected


def luma(frame):
    plane = frame.planes[0]
    data = bytes(plane)
    rows = range(0, plane.height * plane.line_size, plane.line_size)
    return b"".join(data[at : at + plane.width] for at in rows)


def decode(pictures):
    """The luma of the decoded pictures in order of presentation; errors are raised."""
    decoder = av.CodecContext.create("hevc", "r")
    decoder.options = {"err_detect": "explode"}
    decoder.thread_count = 1
    frames = []
    for units in pictures:
        frames += decoder.decode(av.Packet(b"".join(b"\0\0\0\1" + unit for unit in units)))
    frames += decoder.decode(None)
    return [luma(frame) for frame in frames]


@pytest.mark.parametrize("lost", range(4, 60, 4))
def test_all_that_is_handed_over_after_a_loss_decodes_as_without(lost):
    """The open GOPs of x265 with one picture's packet missing, each NAL unit a packet."""
    expected = access_units(encoded(OPEN))
    packets = [(index, unit) for index, units in enumerate(expected) for unit in units]
    del packets[lost]
    depacketizer = H265Depacketizer()
    frames = []
    for at, (index, unit) in enumerate([*packets, (99, TRAIL)]):
        depacketizer.push(index, False, unit, 0, at == lost)
        frames += depacketizer.frames()
    complete = decode(expected)
    runs = []
    for frame in frames:
        if frame.gap:
            runs.append([])
        runs[-1].append(frame.nals)
    assert sum(map(len, runs)) < len(expected)
    for each in runs:
        decoded = decode(each)
        assert len(decoded) == len(each)
        assert set(decoded) <= set(complete)
