"""RFC 6416: StreamMuxConfig in SDP and in band, lengths, fragments, loss, real senders."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.aac import AacError, BitReader
from ingest.codecs.latm import MAX_ELEMENT_BYTES, LatmDepacketizer, read_stream_mux_config
from tests.common.test_aac import bits
from tests.ingest.codecs.real_rtp import decode, ffmpeg, file_packets, send_with_ffmpeg, send_with_gstreamer

ONE = b"\x21" + bytes(range(20))
TWO = b"\x21" + bytes(300)
LONG = b"\x21" + bytes(range(255)) * 2 + b"\x21" * 9

MARK = "mark"
LOSS = "loss"

AAC_LC_16000 = [(2, 5), (8, 4), (1, 4), (0, 3)]


def mux(*, frames=1, config=AAC_LC_16000, rest=((0, 3), (255, 8), (0, 1), (0, 1)), programs=0, layers=0):
    """The fields of a StreamMuxConfig of audioMuxVersion 0."""
    return [(0, 1), (1, 1), (frames - 1, 6), (programs, 4), (layers, 3), *config, *rest]


def versioned(*, config=AAC_LC_16000, fill=0, rest=((0, 3), (255, 8), (0, 1), (0, 1))):
    """Of audioMuxVersion 1: with its length in front, in bits."""
    size = sum(width for _, width in config) + fill
    start = [(1, 1), (0, 1), (0, 2), (255, 8), (1, 1), (0, 6), (0, 4), (0, 3), (0, 2), (size, 8)]
    return [*start, *config, (0, fill), *rest] if fill else [*start, *config, *rest]


def lengths(unit):
    return [(255, 8)] * (len(unit) // 255) + [(len(unit) % 255, 8)]


def contents(*units):
    """PayloadLengthInfo() and PayloadMux() of each."""
    return [field for unit in units for field in (*lengths(unit), *((octet, 8) for octet in unit))]


def in_band(*units, config=None):
    """AudioMuxElement(1), which leaves nothing at the beginning of an octet."""
    return bits(*([(1, 1)] if config is None else [(0, 1), *config]), *contents(*units))


def out_of_band(*units):
    return bits(*contents(*units))


SBR_AND_PS = [(0x2B7, 11), (5, 5), (1, 1), (5, 4), (0x548, 11), (0, 1)]
SDP = {"cpresent": "0", "config": bits(*mux()).hex()}
OTHER = mux(config=[(2, 5), (3, 4), (2, 4), (0, 3)])


def pushed(packets, parameters, clock_rate=16_000, channels=1):
    depacketizer = LatmDepacketizer(clock_rate, channels, parameters)
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
        SDP,
        [(0, out_of_band(ONE), MARK), (1024, out_of_band(LONG), MARK), (2048, out_of_band(TWO[:255]), MARK)],
        [(0, True, ONE), (1024, False, LONG), (2048, False, TWO[:255])],
    ),
    "several": (
        SDP | {"config": bits(*mux(frames=3)).hex()},
        [(0xFFFFFFFF, out_of_band(ONE, TWO, LONG), MARK)],
        [(0xFFFFFFFF, True, ONE), (1023, False, TWO), (2047, False, LONG)],
    ),
    "an empty one among several": (
        SDP | {"config": bits(*mux(frames=3)).hex()},
        [(0, out_of_band(ONE, b"", LONG), MARK)],
        [(0, True, ONE), (2048, False, LONG)],
    ),
    "fragments": (
        SDP,
        [(0, out_of_band(LONG)[:9]), (0, out_of_band(LONG)[9:99]), (0, out_of_band(LONG)[99:], MARK)],
        [(0, True, LONG)],
    ),
    "no marker ever": (
        SDP,
        [(0, out_of_band(LONG)[:9]), (0, out_of_band(LONG)[9:]), (1024, out_of_band(ONE)), (2048, b"")],
        [(0, True, LONG), (1024, False, ONE)],
    ),
    "in band": (
        {},
        [(0, in_band(ONE, config=mux()), MARK), (1024, in_band(LONG), MARK)],
        [(0, True, ONE), (1024, False, LONG)],
    ),
    "in band with something in SDP": (
        SDP | {"cpresent": "1"},
        [(0, in_band(ONE), MARK), (1024, in_band(TWO, config=mux()), MARK)],
        [(0, True, ONE), (1024, False, TWO)],
    ),
    "a configuration in SDP and no cpresent": (
        {"config": SDP["config"]},
        [(0, out_of_band(ONE), MARK)],
        [(0, True, ONE)],
    ),
    "neither in SDP nor in band": (
        {"cpresent": "0", "config": ""},
        [(0, out_of_band(ONE), MARK)],
        [(0, True, ONE)],
    ),
    "other data behind": (
        SDP | {"config": bits(*mux(rest=[(0, 3), (255, 8), (1, 1), (16, 9), (0, 1)])).hex()},
        [(0, out_of_band(ONE) + b"..", MARK)],
        [(0, True, ONE)],
    ),
    "a frame is missing": (
        SDP,
        [(0, out_of_band(ONE), MARK), (2048, out_of_band(TWO), MARK, LOSS), (3072, out_of_band(ONE), MARK)],
        [(0, True, ONE), (2048, True, TWO), (3072, False, ONE)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    parameters, packets, expected = CASES[name]
    depacketizer, found = pushed(packets, parameters)
    assert shown(found) == expected
    assert depacketizer.damaged == 0 and depacketizer.parameters is None
    assert (depacketizer.config, depacketizer.channels) == (b"\x14\x08", 1)


BROKEN = {
    "first fragment lost": [(1024, out_of_band(LONG)[99:], MARK, LOSS)],
    "middle fragment lost": [(1024, out_of_band(LONG)[:9]), (1024, out_of_band(LONG)[99:], MARK, LOSS)],
    "last fragment lost": [(1024, out_of_band(LONG)[:9])],
    "length cut off": [(1024, b"\xff\xff", MARK)],
    "tail that looks like a frame": [(1024, out_of_band(ONE) + b"rest", MARK, LOSS)],
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_dropped_and_leaves_a_gap(name):
    before, after = (0, out_of_band(ONE), MARK), (9000, out_of_band(TWO), MARK)
    depacketizer, found = pushed([before, *BROKEN[name], after], SDP)
    assert shown(found) == [(0, True, ONE), (9000, True, TWO)]
    assert depacketizer.damaged in (1, 2)


def test_nothing_before_the_configuration_in_band():
    packets = [(0, in_band(ONE), MARK), (1, in_band(ONE, config=mux()), MARK)]
    depacketizer = LatmDepacketizer(90_000, 0, {})
    assert (depacketizer.config, depacketizer.channels) == (b"", 1)
    depacketizer, found = pushed(packets, {})
    assert shown(found) == [(1, True, ONE)] and depacketizer.damaged == 1


def test_configuration_changes_in_band():
    depacketizer, _ = pushed([(0, in_band(ONE, config=mux()), MARK)], {})
    depacketizer.push(1024, True, in_band(TWO, config=OTHER), 0)
    assert (depacketizer.config, depacketizer.channels) == (bytes.fromhex("1190"), 2)
    broken = in_band(ONE, config=mux(programs=1))
    depacketizer.push(2048, True, broken, 0)
    assert depacketizer.config == bytes.fromhex("1190") and depacketizer.damaged == 1


def test_an_element_is_bounded():
    packets = [(0, bytes([255]) * 1000)] * (MAX_ELEMENT_BYTES // 1000 + 2)
    depacketizer, found = pushed([*packets, (0, b"\0" * 9, MARK), (1, out_of_band(ONE), MARK)], SDP)
    assert shown(found) == [(1, True, ONE)] and depacketizer.damaged == 2


@pytest.mark.parametrize(
    ("config", "frames", "specific"),
    [
        (mux(frames=64), 64, "1408"),
        (mux(rest=[(0, 3), (255, 8), (1, 1), (256 + 9, 9), (9, 9), (1, 1), (77, 8)]), 1, "1408"),
        (versioned(), 1, "1408"),
        (versioned(fill=5), 1, "140800"),
        (versioned(rest=[(0, 3), (255, 8), (1, 1), (1, 2), (500, 16), (0, 1)]), 1, "1408"),
        (mux(config=[(5, 5), (7, 4), (1, 4), (4, 4), (2, 5), (0, 3)]), 1, "2b8a0800"),
        (mux(config=[*AAC_LC_16000, (0x2B7, 11), (5, 5), (0, 1)]), 1, "140856e500"),
        (mux(config=[*AAC_LC_16000, (0x2B7, 11), (5, 5), (1, 1), (5, 4)]), 1, "140856e5a8"),
        (mux(config=[*AAC_LC_16000, *SBR_AND_PS]), 1, "140856e5ad4800"),
    ],
)
def test_stream_mux_config(config, frames, specific):
    reader = BitReader(bits(*config))
    found = read_stream_mux_config(reader)
    assert found.frames == frames and specific.startswith(found.config.hex())
    assert reader.position == sum(width for _, width in config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ([(3, 2), (0, 30)], "audioMuxVersionA"),
        ([(0, 2), (0, 30)], "different framings"),
        (mux(programs=1), "several programs"),
        (mux(layers=1), "several programs"),
        (mux(rest=[(1, 3), (9, 9), (0, 2)]), "frameLengthType 1"),
        (mux(config=[(2, 5), (8, 4), (0, 4), (0, 3)]), "program_config_element"),
        (mux(config=[(8, 5), (8, 4), (1, 4), (0, 3)]), "object type 8"),
        (mux(config=[(2, 5), (15, 4)], rest=[]), "cut off"),
        ([*versioned()[:9], (7, 8), *AAC_LC_16000], "says that it has 7"),
        ([*versioned()[:8], (1, 2), (4096, 16), *AAC_LC_16000], "at most 2048"),
    ],
)
def test_configurations_that_are_not_read(config, said):
    with pytest.raises(AacError, match=said):
        LatmDepacketizer(16_000, 1, {"cpresent": "0", "config": bits(*config).hex()})


def test_a_configuration_that_ends_early():
    for config in ("40002810", "40002810" + "00" * 9):
        assert LatmDepacketizer(16_000, 1, {"cpresent": "0", "config": config}).config == b"\x14\x08"
    with pytest.raises(AacError, match="object type 0 is not read"):
        LatmDepacketizer(16_000, 1, {"cpresent": "0", "config": "4000"})


def test_no_configuration_can_be_assumed():
    with pytest.raises(AacError, match="90000 Hz"):
        LatmDepacketizer(90_000, 1, {"cpresent": "0"})


UNITS = st.lists(st.binary(max_size=20), min_size=1, max_size=3)
PAYLOADS = st.one_of(
    st.binary(max_size=60),
    UNITS.map(lambda units: out_of_band(*units)),
    UNITS.map(lambda units: in_band(*units)),
    UNITS.map(lambda units: in_band(*units, config=mux(frames=len(units)))),
    UNITS.map(lambda units: in_band(*units, config=versioned())),
)


@given(
    st.sampled_from([SDP, {}, {"cpresent": "1", "config": SDP["config"]}]),
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), PAYLOADS, st.booleans())),
)
def test_any_packets(parameters, packets):
    depacketizer = LatmDepacketizer(16_000, 1, parameters)
    for timestamp, marker, payload, after_loss in packets:
        depacketizer.push(timestamp, marker, payload, 0, after_loss)
        for frame in depacketizer.frames():
            assert len(frame.nals) == 1 and frame.nals[0]


@given(st.binary(max_size=40))
def test_any_octets_are_a_configuration_or_an_error(data):
    with contextlib.suppress(AacError):
        LatmDepacketizer(16_000, 1, {"config": data.hex()})


@given(
    st.lists(st.binary(min_size=1, max_size=600), min_size=1, max_size=4), st.integers(1, 300), st.booleans()
)
def test_fragments_of_any_size_are_the_same_frames(units, piece, configured):
    packets = []
    for number, unit in enumerate(units):
        element = in_band(unit, config=mux() if number == 0 or configured else None)
        parts = [element[at : at + piece] for at in range(0, len(element), piece)]
        packets += [(1024 * number, part) for part in parts[:-1]] + [(1024 * number, parts[-1], MARK)]
    depacketizer, found = pushed(packets, {})
    assert [frame.nals[0] for _, frame in found] == units and depacketizer.damaged == 0


@given(st.lists(st.integers(1, 90), min_size=1, max_size=6), st.integers(1, 50), st.sets(st.integers(0, 60)))
def test_under_loss_only_whole_frames_come_and_gaps_are_said(sizes, piece, missing):
    units = [b"\xaa" * size for size in sizes]  # no tail of it fits its length
    packets = []
    for number, unit in enumerate(units):
        element = out_of_band(unit)
        parts = [element[at : at + piece] for at in range(0, len(element), piece)]
        packets += [(1024 * number, part) for part in parts]
        packets[-1] = (*packets[-1], MARK)
    arrived = [
        (*item, *[LOSS] * (index - 1 in missing))
        for index, item in enumerate(packets)
        if index not in missing
    ]
    _, found = pushed(arrived, SDP)
    broken = {packets[index][0] for index in missing if index < len(packets)}
    whole = [frame.timestamp for _, frame in found]
    assert whole == [1024 * number for number in range(len(units)) if 1024 * number not in broken]
    for place, (_, frame) in enumerate(found):
        assert frame.nals == (units[frame.timestamp // 1024],)
        assert frame.gap == (place == 0 or whole[place] != whole[place - 1] + 1024)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A second of stereo in an MP4."""
    path = tmp_path_factory.mktemp("latm") / "sound.mp4"
    noise = "anoisesrc=sample_rate=44100:duration=1:amplitude=0.3:seed=1"
    ffmpeg("-f", "lavfi", "-i", noise, "-ac", "2", "-c:a", "aac", "-b:a", "160k", path)
    return path


def compare(depacketizer, frames, recording):
    _, expected = file_packets(recording)
    # GStreamer leaves out the encoder's priming frame, and the last.
    first = expected.index(frames[0].nals[0])
    assert [frame.nals for frame in frames] == [(unit,) for unit in expected[first : first + len(frames)]]
    assert len(frames) >= len(expected) - 2
    assert depacketizer.config.hex() in ("1210", "121056e500")
    assert (depacketizer.channels, depacketizer.damaged) == (2, 0)
    assert decode([frame.nals[0] for frame in frames], "aac", depacketizer.config) == 1024 * len(frames)


@pytest.mark.peers
@pytest.mark.parametrize("query", ["", "?pkt_size=300"])
def test_ffmpeg(recording, query):
    sent = send_with_ffmpeg(recording, "-rtpflags", "latm", query=query)
    assert sent.rtpmap == "MP4A-LATM/44100/2"
    depacketizer = LatmDepacketizer(44_100, 2, sent.fmtp)
    compare(depacketizer, sent.feed(depacketizer), recording)


@pytest.mark.peers
@pytest.mark.parametrize("mtu", [1400, 200])
def test_gstreamer(recording, mtu):
    sent = send_with_gstreamer(
        f"filesrc location={recording} ! qtdemux ! aacparse ! rtpmp4apay name=pay mtu={mtu}"
    )
    assert sent.rtpmap.startswith("MP4A-LATM/44100")
    depacketizer = LatmDepacketizer(44_100, 2, sent.fmtp)
    compare(depacketizer, sent.feed(depacketizer), recording)


@pytest.mark.peers
def test_elements_of_ffmpeg_with_the_configuration_in_band(recording, tmp_path):
    stream = tmp_path / "sound.latm"
    ffmpeg("-i", recording, "-c", "copy", "-f", "latm", stream)
    data = stream.read_bytes()
    depacketizer = LatmDepacketizer(44_100, 2, {"cpresent": "1"})
    found = []
    position = 0
    while position < len(data):
        # AudioSyncStream(), clause 1.7.2: a syncword of 11 bits, a length of 13, an AudioMuxElement(1).
        assert data[position] == 0x56 and data[position + 1] >> 5 == 7
        end = position + 3 + ((data[position + 1] & 0x1F) << 8 | data[position + 2])
        depacketizer.push(len(found) * 1024, True, data[position + 3 : end], 0)
        found += depacketizer.frames()
        position = end
    compare(depacketizer, found, recording)
