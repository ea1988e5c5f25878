"""RTP payloads to JPEG files: headers, tables, sizes, loss, and what real senders make of real pictures."""

import itertools
import subprocess
import tracemalloc
from dataclasses import replace

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import CameraRefusal
from ingest.codecs.frame import DepacketizerError, VideoParameters
from ingest.codecs.jpeg import MAX_PICTURE_BYTES, JpegDepacketizer, JpegRefusal
from tests.ingest.codecs.payloaders import ffmpeg_rtp, gst, gst_rtp

MARK = "mark"
LOSS = "loss"

SOI, DQT, SOF0, SOF1, DRI, SOS = 0xD8, 0xDB, 0xC0, 0xC1, 0xDD, 0xDA


def packet(data, offset=0, kind=1, q=50, size=(64, 48), extra=b""):
    width, height = size
    header = bytes((0, *offset.to_bytes(3, "big"), kind, q, width // 8 & 255, height // 8 & 255))
    return header + extra + data


def in_band(tables, precision=0):
    return bytes((0, precision)) + len(tables).to_bytes(2, "big") + tables


def run(packets, size=None):
    """Feeds (timestamp, payload, *MARK or LOSS); gives each picture with the index of its last packet."""
    depacketizer = JpegDepacketizer(size)
    found = []
    for index, (timestamp, payload, *flags) in enumerate(packets):
        depacketizer.push(timestamp, MARK in flags, payload, index, LOSS in flags)
        found += [(index, picture) for picture in depacketizer.frames()]
    return depacketizer, found


def segments(file):
    """Marker and content of every segment, then the scan."""
    assert file[:2] == b"\xff\xd8"
    found, at = [], 2
    while True:
        marker, size = file[at + 1], int.from_bytes(file[at + 2 : at + 4], "big")
        found.append((marker, file[at + 4 : at + 2 + size]))
        at += 2 + size
        if marker == SOS:
            return found, file[at:]


def scans(found):
    return [(p.timestamp, segments(p.nals[0])[1].removesuffix(b"\xff\xd9")) for _, p in found]


A, B, C = b"abcdefgh", b"ijklmnop", b"qrst"
WHOLE = [(7, packet(A)), (7, packet(B, 8)), (7, packet(C, 16), MARK)]
NEXT = [(8, packet(A)), (8, packet(C, 8), MARK)]

CASES = {
    "fragments": ([*WHOLE, *NEXT], [(7, A + B + C), (8, A + C)], 0),
    "one packet each": ([(7, packet(A), MARK), (8, packet(B), MARK)], [(7, A), (8, B)], 0),
    "no marker": (
        [(7, packet(A)), (7, packet(B, 8)), (8, packet(C)), (9, packet(A))],
        [(7, A + B), (8, C)],
        0,
    ),
    "one timestamp for two pictures": ([(7, packet(A)), (7, packet(B), MARK)], [(7, A), (7, B)], 0),
    "end in the data": ([(7, packet(A + b"\xff\xd9"), MARK)], [(7, A)], 0),
    "fragment without data": (
        [(7, packet(A)), (7, packet(b"", 8)), (7, packet(B, 8), MARK)],
        [(7, A + B)],
        0,
    ),
    "tables fill the first fragment": (
        [(7, packet(b"", q=255, extra=in_band(bytes([9]) * 128))), (7, packet(A, q=255), MARK)],
        [],
        1,
    ),
    "lost middle": ([WHOLE[0], (7, WHOLE[2][1], MARK, LOSS), *NEXT], [(8, A + C)], 1),
    "lost start": ([(*WHOLE[1], LOSS), WHOLE[2], *NEXT], [(8, A + C)], 1),
    "lost end": ([*WHOLE[:2], (*NEXT[0], LOSS), NEXT[1]], [(8, A + C)], 1),
    "lost end and start": ([*WHOLE[:2], (8, NEXT[1][1], MARK, LOSS)], [], 2),
    "lost pictures": ([*WHOLE, (9, packet(A), MARK, LOSS)], [(7, A + B + C), (9, A)], 0),
    "offset that does not fit": ([WHOLE[0], WHOLE[2], *NEXT], [(8, A + C)], 1),
    "too short": ([WHOLE[0], (7, b"\0" * 7), WHOLE[1], WHOLE[2], *NEXT], [(8, A + C)], 1),
    "empty payload": ([(7, b"", MARK), *NEXT], [(8, A + C)], 1),
    "no data": ([(7, packet(b""), MARK), *NEXT], [(8, A + C)], 1),
    **{
        f"reserved Q {q}": ([(7, packet(A, q=q)), (7, packet(B, 8, q=q), MARK), *NEXT], [(8, A + C)], 1)
        for q in (0, 100, 127)
    },
    "tables cut off": ([(7, packet(b"", q=255, extra=in_band(bytes(128))[:-1]), MARK)], [], 1),
    "table header cut off": ([(7, packet(b"", q=255, extra=b"\0\0\0"), MARK)], [], 1),
    "table too small": ([(7, packet(A, q=255, extra=in_band(bytes(63))), MARK)], [], 1),
    "no tables with Q 255": (
        [
            (7, packet(A, q=255, extra=in_band(bytes(128))), MARK),
            (8, packet(A, q=255, extra=in_band(b"")), MARK),
        ],
        [(7, A)],
        1,
    ),
    "no tables known": ([(7, packet(A, q=200, extra=in_band(b"")), MARK)], [], 1),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    packets, expected, damaged = CASES[name]
    depacketizer, found = run(packets)
    assert scans(found) == expected
    assert depacketizer.damaged == damaged
    assert all(p.keyframe and not p.gap and len(p.nals) == 1 for _, p in found)


def test_complete_at_the_marker():
    assert [(index, p.arrival_ns) for index, p in run([*WHOLE, *NEXT])[1]] == [(2, 2), (4, 4)]


def dqt(packets):
    """DQT segments of each picture."""
    return [[body for marker, body in segments(p.nals[0])[0] if marker == DQT] for _, p in run(packets)[1]]


def test_tables_are_kept_for_each_q():
    one, two = bytes([1]) * 128, bytes([2]) * 128
    packets = [
        (0, packet(A, q=200, extra=in_band(one)), MARK),
        (1, packet(A, q=201, extra=in_band(two)), MARK),
        (2, packet(A, q=200, extra=in_band(b"")), MARK),
        (3, packet(A, q=201, extra=in_band(b"")), MARK),
    ]
    found = dqt(packets)
    assert found[0] == found[2] == [b"\0" + one[:64], b"\1" + one[64:]]
    assert found[1] == found[3] == [b"\0" + two[:64], b"\1" + two[64:]]


@pytest.mark.parametrize(
    ("precision", "tables", "expected", "chroma", "sof"),
    [
        (0, 64, [64], 0, SOF0),
        (0, 128, [64, 64], 1, SOF0),
        (0, 192, [64, 64], 1, SOF0),
        (1, 192, [128, 64], 1, SOF1),
        (2, 192, [64, 128], 1, SOF1),
        (3, 256, [128, 128], 1, SOF1),
    ],
)
def test_tables_of_all_sizes(precision, tables, expected, chroma, sof):
    _, found = run([(0, packet(A, q=255, extra=in_band(bytes(tables), precision)), MARK)])
    parts, _ = segments(found[0][1].nals[0])
    assert [len(body) - 1 for marker, body in parts if marker == DQT] == expected
    assert [body[0] >> 4 for marker, body in parts if marker == DQT] == [size // 128 for size in expected]
    frame = dict(parts)[sof]
    assert (frame[8], frame[11], frame[14]) == (0, chroma, chroma)


@pytest.mark.parametrize(("q", "first"), [(1, 255), (25, 32), (50, 16), (75, 8), (99, 1)])
def test_computed_tables(q, first):
    (luma, chroma), *_ = dqt([(0, packet(A, q=q), MARK)])
    assert (luma[1], len(luma), len(chroma)) == (first, 65, 65)


def test_restart_interval():
    interval = bytes.fromhex("0005ffff")
    packets = [(0, packet(A, kind=65, extra=interval)), (0, packet(B, 8, kind=65, extra=interval), MARK)]
    _, found = run(packets)
    parts, scan = segments(found[0][1].nals[0])
    assert dict(parts)[DRI] == b"\0\5"
    assert scan == A + B + b"\xff\xd9"


SIZES = {
    "as the header says": ((640, 480), None, (640, 480)),
    "rounded up to blocks": ((1368, 768), (1366, 768), (1366, 768)),
    "of another resolution in SDP": ((640, 480), (1920, 1080), (640, 480)),
    "0 in the header": ((0, 0), (2560, 1440), (2560, 1440)),
    "one is 0": ((0, 1440), (2560, 1440), (2560, 1440)),
    "modulo 2048": ((512, 1440), (2560, 1440), (2560, 1440)),
    "modulo 2048, unsaid, 4K": ((1792, 112), None, (3840, 2160)),
    "modulo 2048, unsaid": ((512, 1920), None, (2560, 1920)),
}


@pytest.mark.parametrize("name", SIZES)
def test_size(name):
    header, given_size, expected = SIZES[name]
    depacketizer, found = run([(0, packet(A, size=header), MARK)], given_size)
    parts, _ = segments(found[0][1].nals[0])
    frame = dict(parts)[SOF0]
    assert (int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")) == expected
    assert depacketizer.parameters == VideoParameters("Baseline", None, *expected, 0)


def test_parameters_follow_the_pictures():
    depacketizer, _ = run([(0, packet(A), MARK), (1, packet(A, size=(320, 240)), MARK)])
    assert depacketizer.parameters == VideoParameters("Baseline", None, 320, 240, 0)
    assert JpegDepacketizer().parameters is None


@pytest.mark.parametrize("size", [(0, 480), (640, 0), (0, 0)])
def test_unknown_size_is_refused(size):
    with pytest.raises(JpegRefusal, match="2040"):
        run([(0, packet(A, size=size))])


@pytest.mark.parametrize("kind", [2, 63, 66, 127, 128, 255])
def test_types_that_are_not_read_are_refused(kind):
    with pytest.raises(CameraRefusal, match=f"type {kind}"):
        run([(0, packet(A, kind=kind))])


@pytest.mark.parametrize("size", [2, 1400])
def test_endless_picture(size):
    depacketizer = JpegDepacketizer()
    tracemalloc.start()
    try:
        with pytest.raises(DepacketizerError, match="at most 8388608"):
            for offset in itertools.count(0, size):
                depacketizer.push(0, False, packet(bytes(size), offset), 0)
        assert tracemalloc.get_traced_memory()[0] < 2 * MAX_PICTURE_BYTES
    finally:
        tracemalloc.stop()


def test_endless_fragments_without_data():
    depacketizer = JpegDepacketizer()
    depacketizer.push(0, False, packet(A), 0)
    with pytest.raises(DepacketizerError):
        for _ in range(200_000):
            depacketizer.push(0, False, packet(b"", 8), 0)


PAYLOADS = st.one_of(
    st.binary(max_size=160),
    st.builds(
        packet,
        st.binary(max_size=20),
        st.sampled_from([0, 8, 16]),
        st.sampled_from([0, 1, 64, 65]),
        st.integers(0, 255),
        extra=st.sampled_from([b"", b"\0\5\xff\xff", in_band(bytes(128)), in_band(bytes(60)), in_band(b"")]),
    ),
)
PACKETS = st.tuples(st.integers(0, 3), PAYLOADS, st.sampled_from(["", MARK]), st.sampled_from(["", "", LOSS]))


@settings(max_examples=300)
@given(st.lists(PACKETS, max_size=30))
def test_fuzz_pictures_are_files(packets):
    try:
        _, found = run(packets)
    except DepacketizerError:
        return
    for _, picture in found:
        parts, scan = segments(picture.nals[0])
        assert {SOF0, SOF1} & set(dict(parts))
        assert DQT in dict(parts)
        assert scan.endswith(b"\xff\xd9")


# Real pictures ---------------------------------------------------------------------------------------------


def decode(file):
    """Size, format and the octets of every plane."""
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    (frame,) = [*decoder.decode(av.Packet(file)), *decoder.decode(None)]
    return frame.width, frame.height, frame.format.name, [rows(plane) for plane in frame.planes]


def rows(plane):
    data = bytes(plane)
    starts = range(0, plane.height * plane.line_size, plane.line_size)
    return b"".join(data[at : at + plane.width] for at in starts)


def split(stream):
    """Files of a stream of them."""
    return [b"\xff\xd8" + part for part in stream.split(b"\xff\xd8")[1:]]


def depacketized(packets, size=None):
    depacketizer = JpegDepacketizer(size)
    frames = []
    for each in packets:
        depacketizer.push(each.timestamp, each.marker, each.payload, 0)
        frames += depacketizer.frames()
    assert depacketizer.damaged == 0
    assert len({frame.timestamp for frame in frames}) == len(frames)
    return [frame.nals[0] for frame in frames]


def source(size, *options):
    lavfi = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-frames:v", "3", "-pix_fmt", "yuvj420p"]
    return [*lavfi, "-c:v", "mjpeg", "-huffman", "default", *options]


def encoded(size, *options):
    command = ["ffmpeg", "-v", "error", *source(size, *options), "-f", "mjpeg", "-"]
    return split(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


@pytest.mark.parametrize("quality", ["2", "20"])
def test_ffmpeg_rtp_decodes_to_the_encoders_pictures(quality, tmp_path):
    file = tmp_path / "encoder.mjpeg"
    packets = ffmpeg_rtp(source("640x360", "-q:v", quality), [f"[f=mjpeg]{file}"], 1200)
    originals = split(file.read_bytes())
    found = depacketized(packets)
    assert len(found) == 3
    assert [decode(picture) for picture in found] == [decode(picture) for picture in originals]


# FFmpeg puts restart markers between slices.
@pytest.mark.parametrize(("threads", "kind"), [("frame", 1), ("slice", 65)])
@pytest.mark.parametrize(
    ("size", "given_size"), [("640x360", None), ("1366x766", (1366, 766)), ("2560x1440", (2560, 1440))]
)
def test_gstreamer_rtp_decodes_to_the_encoders_pictures(size, given_size, threads, kind):
    originals = encoded(size, "-thread_type", threads, "-threads", "2")
    width, height = size.split("x")
    caps = f"image/jpeg,width={width},height={height},framerate=25/1"
    packets = gst_rtp(caps, "rtpjpegpay mtu=1400", originals)
    assert packets[0].payload[4] == kind
    found = depacketized(packets, given_size)
    assert [decode(picture) for picture in found] == [decode(picture) for picture in originals]


@pytest.mark.parametrize(("layout", "pixels", "kind"), [("I420", "yuv420p", 1), ("Y42B", "yuv422p", 0)])
@pytest.mark.parametrize("quality", [10, 50, 90, 99])
def test_computed_tables_and_sampling_are_those_of_libjpeg(layout, pixels, kind, quality):
    """The tables that libjpeg takes for a quality are those of RFC 2435 for that Q."""
    lavfi = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-frames:v", "3", "-pix_fmt", pixels]
    command = ["ffmpeg", "-v", "error", *lavfi, "-f", "rawvideo", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    size = len(raw) // 3
    frames = [raw[at : at + size] for at in range(0, len(raw), size)]
    caps = f"video/x-raw,format={layout},width=320,height=240,framerate=25/1"
    encoder = f"jpegenc quality={quality}"
    expected = [decode(picture) for picture in gst(caps, encoder, frames)]
    packets = gst_rtp(caps, f"{encoder} ! rtpjpegpay", frames)
    assert packets[0].payload[4:6] == bytes((kind, 255))
    assert [decode(picture) for picture in depacketized(packets)] == expected
    computed = [replace(each, payload=with_q(each.payload, quality)) for each in packets]
    assert [decode(picture) for picture in depacketized(computed)] == expected


def with_q(payload, q):
    """The payload with its tables in band taken out."""
    tables = 4 + int.from_bytes(payload[10:12], "big") if payload[1:4] == b"\0\0\0" else 0
    return payload[:5] + bytes((q,)) + payload[6:8] + payload[8 + tables :]
