"""RFC 3640: AU headers of any layout, fragments, loss, cameras that disobey, real senders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.aac import AacError
from ingest.codecs.aac import MAX_ACCESS_UNIT_BYTES, AacDepacketizer, AuHeaderLayout, au_header_layout
from tests.common.test_aac import adts, bits
from tests.ingest.codecs.real_rtp import decode, ffmpeg, file_packets, send_with_ffmpeg, send_with_gstreamer

HBR = {"mode": "AAC-hbr", "sizelength": "13", "indexlength": "3", "indexdeltalength": "3", "config": "1408"}
ONE = b"\x21" + bytes(range(20))
TWO = b"\x21" + bytes(range(30, 70))
THREE = b"\x21" + bytes(range(100, 110))

MARK = "mark"
LOSS = "loss"


def packet(*units, sizes=None):
    """A payload with AU headers of 16 bits."""
    headers = b"".join((size << 3).to_bytes(2, "big") for size in sizes or map(len, units))
    return (8 * len(headers)).to_bytes(2, "big") + headers + b"".join(units)


def pushed(packets, parameters=None, clock_rate=16_000, channels=1):
    depacketizer = AacDepacketizer(clock_rate, channels, HBR if parameters is None else parameters)
    found = []
    for index, (timestamp, payload, *flags) in enumerate(packets):
        depacketizer.push(timestamp, MARK in flags, payload, index, LOSS in flags)
        found += [(index, frame) for frame in depacketizer.frames()]
    return depacketizer, found


def shown(found):
    assert all(frame.keyframe and frame.arrival_ns <= index for index, frame in found)
    return [(frame.timestamp, frame.gap, *frame.nals) for _, frame in found]


CASES = {
    "one each": (
        [(0, packet(ONE), MARK), (1024, packet(TWO), MARK)],
        [(0, True, ONE), (1024, False, TWO)],
    ),
    "several in one": (
        [(0xFFFFFFFF, packet(ONE, TWO, THREE), MARK), (3071, packet(ONE), MARK)],
        [(0xFFFFFFFF, True, ONE), (1023, False, TWO), (2047, False, THREE), (3071, False, ONE)],
    ),
    "fragments": (
        [
            (0, packet(ONE[:9], sizes=[21])),
            (0, packet(ONE[9:15], sizes=[21])),
            (0, packet(ONE[15:], sizes=[21]), MARK),
            (1024, packet(TWO), MARK),
        ],
        [(0, True, ONE), (1024, False, TWO)],
    ),
    "marker on every fragment": (
        [(0, packet(ONE[:9], sizes=[21]), MARK), (0, packet(ONE[9:], sizes=[21]), MARK)],
        [(0, True, ONE)],
    ),
    "fragments with their own size": (
        [(0, packet(ONE[:9])), (0, packet(ONE[9:15])), (0, packet(ONE[15:]), MARK), (9, packet(TWO), MARK)],
        [(0, True, ONE), (9, False, TWO)],
    ),
    "no marker ever": (
        [(0, packet(ONE)), (1024, packet(TWO)), (2048, packet(THREE))],
        [(0, True, ONE), (1024, False, TWO), (2048, False, THREE)],
    ),
    "octets behind": (
        [(0, packet(ONE) + b"...", MARK), (1024, packet(TWO) + b"..."), (2048, packet(THREE), MARK)],
        [(0, True, ONE), (1024, False, TWO), (2048, False, THREE)],
    ),
    "fragments without marker": (
        [(0, packet(ONE[:9], sizes=[21])), (0, packet(ONE[9:], sizes=[21])), (1024, packet(TWO, THREE))],
        [(0, True, ONE), (1024, False, TWO), (2048, False, THREE)],
    ),
    "ADTS in each access unit": (
        [(0, packet(adts(ONE)), MARK), (1024, packet(adts(TWO, crc=True), adts(THREE)), MARK)],
        [(0, True, ONE), (1024, False, TWO), (2048, False, THREE)],
    ),
    "ADTS frames in one access unit": (
        [(0, packet(adts(ONE) + adts(TWO), THREE), MARK)],
        [(0, True, ONE), (1024, False, TWO), (1024, False, THREE)],
    ),
    "ADTS without AU headers": (
        [(0, adts(ONE), MARK), (1024, adts(TWO) + adts(THREE), MARK)],
        [(0, True, ONE), (1024, False, TWO), (2048, False, THREE)],
    ),
    "empty payload": ([(0, b""), (0, packet(ONE), MARK)], [(0, True, ONE)]),
    "a frame is missing": (
        [(0, packet(ONE), MARK), (2048, packet(TWO), MARK, LOSS), (3072, packet(ONE), MARK)],
        [(0, True, ONE), (2048, True, TWO), (3072, False, ONE)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    packets, expected = CASES[name]
    depacketizer, found = pushed(packets)
    assert shown(found) == expected
    assert depacketizer.damaged == 0 and depacketizer.parameters is None


BEFORE, AFTER = (0, packet(ONE), MARK), (9000, packet(THREE), MARK)
BROKEN = {
    "first fragment lost": [(1024, packet(TWO[20:], sizes=[41]), MARK, LOSS)],
    "middle fragment lost": [
        (1024, packet(TWO[:9], sizes=[41])),
        (1024, packet(TWO[20:], sizes=[41]), LOSS),
    ],
    "last fragment lost": [(1024, packet(TWO[:9], sizes=[41]))],
    "fragments longer than the access unit": [(1024, packet(TWO[:9], sizes=[41])), (1024, packet(TWO), MARK)],
    "several without marker and then another timestamp": [(1024, packet(ONE)), (1024, packet(TWO))],
    "a fragment before whole ones": [(1024, packet(ONE[:9], sizes=[21])), (1024, packet(TWO, THREE)[:8])],
    "cut off": [(1024, packet(ONE)[:-1], MARK)],
    "headers cut off": [(1024, packet(ONE, TWO)[:5], MARK)],
    "length of headers cut off": [(1024, b"\0", MARK)],
    "headers only": [(1024, packet(ONE)[:4], MARK)],
    "no header": [(1024, b"\0\0" + ONE, MARK)],
    "empty access unit": [(1024, packet(b"", sizes=[0]) + ONE, MARK)],
    "empty access unit among others": [(1024, packet(ONE, b"", TWO), MARK)],
    "interleaved": [(1024, b"\0\x20" + bits((21, 13), (0, 3), (41, 13), (1, 3)) + ONE + TWO, MARK)],
    "too many": [(1024, packet(*[b"x"] * 257), MARK)],
    "ADTS cut off": [(1024, adts(ONE)[:-1], MARK)],
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_dropped_and_leaves_a_gap(name):
    depacketizer, found = pushed([BEFORE, *BROKEN[name], AFTER])
    kept = [item for item in shown(found) if item[0] in (0, 9000)]
    assert kept == [(0, True, ONE), (9000, True, THREE)]
    assert depacketizer.damaged >= 1


def test_whole_access_units_before_a_cut_off_one_are_kept():
    depacketizer, found = pushed([(0, packet(ONE, TWO)[:-1], MARK), AFTER])
    assert shown(found) == [(0, True, ONE), (9000, True, THREE)] and depacketizer.damaged == 1


def test_complete_at_the_marker_or_without_any_from_the_second_on():
    assert [index for index, _ in pushed([BEFORE, AFTER])[1]] == [0, 1]
    depacketizer, found = pushed([(1024 * index, packet(ONE)) for index in range(4)])
    assert [index for index, _ in found] == [1, 1, 2, 3]
    assert not depacketizer.marker_is_end


def test_an_access_unit_is_bounded():
    endless = [(0, packet(bytes(1000)))] * 20
    depacketizer, found = pushed([*endless, AFTER])
    assert shown(found) == [(9000, True, THREE)] and depacketizer.damaged >= 2
    layout = {"sizelength": "24", "config": "1408"}
    large = bits((24, 16), (MAX_ACCESS_UNIT_BYTES + 1, 24)) + ONE
    assert pushed([(0, large)], layout)[0].damaged == 1


def test_low_bit_rate_mode():
    payload = bits((16, 16), (21, 6), (0, 2), (11, 6), (0, 2)) + ONE + THREE
    _, found = pushed([(0, payload, MARK)], {"mode": "aac-LBR", "config": "1408"})
    assert shown(found) == [(0, True, ONE), (1024, False, THREE)]


def test_every_field_of_an_au_header():
    parameters = HBR | {
        "ctsdeltalength": "12",
        "dtsdeltalength": "4",
        "randomaccessindication": "1",
        "streamstateindication": "5",
        "auxiliarydatasizelength": "4",
    }
    first = [(21, 13), (3, 3), (0, 1), (0, 1), (1, 1), (9, 5)]
    second = [(41, 13), (0, 3), (1, 1), (600, 12), (1, 1), (7, 4), (0, 1), (9, 5)]
    third = [(11, 13), (0, 3), (1, 1), (-2 & 0xFFF, 12), (0, 1), (1, 1), (9, 5)]
    headers = first + second + third
    auxiliary = bits((9, 4), (0x1FF, 9))
    size = sum(width for _, width in headers)
    payload = bits((size, 16), *headers) + auxiliary + ONE + TWO + THREE
    depacketizer, found = pushed([(100, payload, MARK)], parameters)
    assert shown(found) == [(100, True, ONE), (700, False, TWO), (98, False, THREE)]
    assert depacketizer.damaged == 0


def test_only_size_length_in_sdp():
    parameters = {"mode": "AAC-hbr", "sizelength": "13", "config": "1408"}
    assert au_header_layout(parameters) == AuHeaderLayout(13, 0, 0)
    _, found = pushed([(0, bits((13, 16), (21, 13)) + ONE, MARK), (9, packet(TWO), MARK)], parameters)
    assert shown(found) == [(0, True, ONE), (9, False, TWO)]


@pytest.mark.parametrize("parameters", [{}, {"mode": ""}, {"mode": "generic"}, {"sizelength": ""}])
def test_layout_without_parameters(parameters):
    assert au_header_layout(parameters) == AuHeaderLayout()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"mode": "CELP-cbr"}, "mode celp-cbr"),
        ({"sizelength": "0"}, "sizeLength is 0"),
        ({"sizelength": "33"}, "sizelength is not a number"),
        ({"sizelength": "13", "indexlength": "x"}, "indexlength is not a number"),
        ({"ctsdeltalength": "-1"}, "ctsdeltalength"),
        ({"config": "140"}, "not hexadecimal"),
        ({"config": "45e6"}, "object type 8 is not read"),
        ({"config": "14"}, "cut off"),
    ],
)
def test_parameters_that_are_not_read(parameters, said):
    with pytest.raises(AacError, match=said):
        AacDepacketizer(16_000, 1, parameters)


def test_configuration():
    made = AacDepacketizer(48_000, 1, HBR | {"config": '"1190"'})
    assert (made.config, made.channels) == (b"\x11\x90", 2)
    assumed = AacDepacketizer(16_000, 0, {})
    assert (assumed.config, assumed.channels) == (b"\x14\x08", 1)
    with pytest.raises(AacError, match="90000 Hz"):
        AacDepacketizer(90_000, 1, {})
    by_rtpmap = AacDepacketizer(44_100, 6, {"config": "1200"})
    assert by_rtpmap.channels == 6


def test_adts_knows_better_than_an_assumed_configuration_only():
    payload = packet(adts(ONE, rate_index=11, channels=2))
    assumed, _ = pushed([(0, payload, MARK)], {})
    assert (assumed.config, assumed.channels) == (bytes.fromhex("1590"), 2)
    said, _ = pushed([(0, payload, MARK)])
    assert (said.config, said.channels) == (bytes.fromhex("1408"), 1)


@pytest.mark.parametrize(("clock_rate", "ticks"), [(44_100, 2048), (22_050, 1024), (90_000, 4179)])
def test_frame_length_in_ticks_of_the_rtp_clock(clock_rate, ticks):
    _, found = pushed([(0, packet(ONE, TWO), MARK)], HBR | {"config": "2b8a0800"}, clock_rate)
    assert [frame.timestamp for _, frame in found] == [0, ticks]


PAYLOADS = st.one_of(
    st.binary(max_size=60),
    st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4).map(lambda units: packet(*units)),
    st.builds(lambda data, size: packet(data, sizes=[size]), st.binary(max_size=30), st.integers(0, 8191)),
    st.lists(st.binary(min_size=1, max_size=9).map(adts), max_size=3).map(b"".join),
)
LAYOUTS = st.dictionaries(
    st.sampled_from(
        (
            *("sizelength", "indexlength", "indexdeltalength", "ctsdeltalength", "dtsdeltalength"),
            *("randomaccessindication", "streamstateindication", "auxiliarydatasizelength"),
        )
    ),
    st.integers(1, 32).map(str),
)


@given(LAYOUTS, st.lists(st.tuples(st.integers(0, 3), st.booleans(), PAYLOADS, st.booleans())))
def test_any_packets(parameters, packets):
    depacketizer = AacDepacketizer(16_000, 1, parameters)
    for timestamp, marker, payload, after_loss in packets:
        depacketizer.push(timestamp, marker, payload, 0, after_loss)
        for frame in depacketizer.frames():
            assert len(frame.nals) == 1 and frame.nals[0] and 0 <= frame.timestamp < 1 << 32


@given(
    st.lists(st.binary(min_size=2, max_size=60).map(lambda data: b"\x21" + data), min_size=1, max_size=5),
    st.integers(1, 59),
)
def test_fragments_of_any_size_are_the_same_access_units(units, piece):
    packets = []
    for number, unit in enumerate(units):
        parts = [unit[at : at + piece] for at in range(0, len(unit), piece)]
        packets += [(1024 * number, packet(part, sizes=[len(unit)])) for part in parts[:-1]]
        packets.append((1024 * number, packet(parts[-1], sizes=[len(unit)]), MARK))
    depacketizer, found = pushed(packets)
    assert [frame.nals[0] for _, frame in found] == units and depacketizer.damaged == 0


@given(st.lists(st.integers(1, 90), min_size=1, max_size=6), st.integers(1, 50), st.sets(st.integers(0, 60)))
def test_under_loss_only_whole_access_units_come_and_gaps_are_said(sizes, piece, missing):
    units = [b"\x21" + bytes([number]) * size for number, size in enumerate(sizes)]
    packets = []
    for number, unit in enumerate(units):
        parts = [unit[at : at + piece] for at in range(0, len(unit), piece)]
        packets += [(1024 * number, packet(part, sizes=[len(unit)])) for part in parts]
        packets[-1] = (*packets[-1], MARK)
    arrived = [
        (*item, *[LOSS] * (index - 1 in missing))
        for index, item in enumerate(packets)
        if index not in missing
    ]
    _, found = pushed(arrived)
    broken = {packets[index][0] for index in missing if index < len(packets)}
    whole = [frame.timestamp for _, frame in found]
    assert whole == [1024 * number for number in range(len(units)) if 1024 * number not in broken]
    for place, (_, frame) in enumerate(found):
        assert frame.nals == (units[frame.timestamp // 1024],)
        assert frame.gap == (place == 0 or whole[place] != whole[place - 1] + 1024)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Two seconds of stereo in an MP4."""
    path = tmp_path_factory.mktemp("aac") / "sound.mp4"
    noise = "anoisesrc=sample_rate=48000:duration=2:amplitude=0.3:seed=1"
    ffmpeg("-f", "lavfi", "-i", noise, "-ac", "2", "-c:a", "aac", "-b:a", "160k", path)
    return path


def compare(sent, recording):
    extradata, expected = file_packets(recording)
    depacketizer = AacDepacketizer(48_000, 2, sent.fmtp)
    found = sent.feed(depacketizer)
    # GStreamer leaves out the encoder's priming frame, FFmpeg what it still gathers at the end.
    first = expected.index(found[0].nals[0])
    assert [frame.nals for frame in found] == [(unit,) for unit in expected[first : first + len(found)]]
    assert first <= 1 and len(found) >= len(expected) - 5
    assert extradata.startswith(depacketizer.config[:2])
    assert (depacketizer.damaged, depacketizer.channels) == (0, 2)
    start = found[0].timestamp
    for number, frame in enumerate(found):
        # GStreamer counts nanoseconds and rounds.
        assert frame.timestamp - start - 1024 * number & 0xFFFFFFFF in (0, 1, 0xFFFFFFFF)
    assert decode([frame.nals[0] for frame in found], "aac", depacketizer.config) == 1024 * len(found)


@pytest.mark.peers
@pytest.mark.parametrize("query", ["", "?pkt_size=300", "?pkt_size=1000"])
def test_ffmpeg(recording, query):
    sent = send_with_ffmpeg(recording, query=query)
    assert sent.rtpmap == "MPEG4-GENERIC/48000/2"
    compare(sent, recording)


@pytest.mark.peers
@pytest.mark.parametrize("mtu", [1400, 200])
def test_gstreamer(recording, mtu):
    sent = send_with_gstreamer(
        f"filesrc location={recording} ! qtdemux ! aacparse ! rtpmp4gpay name=pay mtu={mtu}"
    )
    assert sent.rtpmap == "MPEG4-GENERIC/48000/2"
    compare(sent, recording)
