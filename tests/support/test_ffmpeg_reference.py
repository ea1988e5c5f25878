"""Two readings laid over each other; the reading itself is tested by the matrix of peers."""

import dataclasses
import hashlib

from tests.support.ffmpeg_reference import Overlap, Recording, differences

SPS, PPS, OTHER_PPS = b"\x67sps", b"\x68pps", b"\x68other"


def recording(first: int, last: int, audio_codec: str = "OPUS") -> Recording:
    made = Recording("H264", audio_codec)
    for number in range(first, last):
        sets = [SPS, PPS] if number % 5 == 0 else []
        made.add_video([*sets, b"\x06sei", b"\x41slice%d" % number])
        made.audio.append(hashlib.shake_128(b"%d" % number).digest(400))
    return made


def test_the_part_in_common_agrees_whoever_began_first() -> None:
    for ours, theirs in (((0, 20), (7, 30)), ((7, 30), (0, 20)), ((5, 10), (0, 30))):
        overlap, found = differences(recording(*ours), recording(*theirs))
        length = min(ours[1], theirs[1]) - max(ours[0], theirs[0])
        assert (overlap, found) == (Overlap(length, length), [])


def test_packets_of_pcm_may_be_cut_elsewhere() -> None:
    ours, theirs = recording(3, 20, "PCMA"), recording(0, 20, "PCMA")
    ours.audio = [b"".join(ours.audio)[10:]]
    assert differences(ours, theirs) == (Overlap(17, 17 * 400 - 10), [])


def test_a_steady_tone_that_changes_once_is_laid_over_right() -> None:
    ours, theirs = Recording("", "PCMA"), Recording("", "PCMA")
    ours.audio = [b"abcd" * 200, b"efgh" * 200]
    theirs.audio = [b"abcd" * 300, b"efgh" * 400]
    assert differences(ours, theirs) == (Overlap(0, 1600), [])
    ours.audio[1] = b"efgx" * 200
    assert differences(ours, theirs)[1] == ["audio octets: after 803 in common the next one differs"]


def test_a_missing_unit_is_found() -> None:
    ours, theirs = recording(3, 20), recording(0, 20)
    del ours.video[5]
    assert differences(ours, theirs)[1] == ["access units: after 5 in common the next one differs"]


def test_a_changed_first_unit_is_found() -> None:
    ours, theirs = recording(3, 20), recording(0, 20)
    ours.video[0] = (b"\x41changed",)
    assert "neither reading begins within the other" in differences(ours, theirs)[1][0]


def test_parameter_sets() -> None:
    ours, theirs = recording(3, 20), recording(0, 20)
    for sets in ours.parameter_sets:
        sets -= {PPS}
    assert differences(ours, theirs)[1] == [f"parameter sets missing: {PPS.hex()}"]
    ours = recording(3, 20)
    ours.parameter_sets[2].add(OTHER_PPS)
    assert differences(ours, theirs)[1] == [f"parameter sets that FFmpeg has not: {OTHER_PPS.hex()}"]
    assert not differences(ours, dataclasses.replace(theirs, sdp_parameter_sets={OTHER_PPS}))[1]


def test_another_codec() -> None:
    assert differences(recording(0, 9, ""), recording(0, 9))[1][0] == "audio is absent, FFmpeg reads OPUS"


def test_jpegs_agree_by_their_scans() -> None:
    ours, theirs = Recording("JPEG"), Recording("JPEG")
    ours.add_video([b"\xff\xd8\xff\xdb\0\4ab\xff\xda\0\4cdscan\xff\xd9"])
    theirs.add_video([b"\xff\xd8\xff\xc4\0\3x\xff\xda\0\4cdscan\xff\xd9\xff\xd9"])
    assert differences(ours, theirs) == (Overlap(1, 0), [])
