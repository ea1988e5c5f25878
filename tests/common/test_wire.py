"""Bus messages: round trip of every kind, other versions refused, damage raises BusError only."""

import dataclasses
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import messages, wire
from common.access_unit import AccessUnit
from common.errors import BusError

LIVE = wire.live_topic("main", "video")
VERSION = messages.PROTOCOL_VERSION
MEDIA = wire.MEDIA_VERSION

counts = st.integers(0, 2**63 - 1)
units = st.builds(
    AccessUnit,
    epoch=counts,
    sequence=counts,
    track=st.sampled_from(["video", "audio"]),
    codec=st.sampled_from(["H264", "OPUS"]),
    timestamp=st.integers(-(2**62), 2**62),
    capture_ns=counts,
    arrival_ns=counts,
    keyframe=st.booleans(),
    nals=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5).map(tuple),
    clock_rate=st.integers(1, 2**32),
    channels=st.integers(0, 255),
    config=st.binary(max_size=10),
    camera_clock=st.booleans(),
)
every_message = st.one_of(*(st.from_type(kind) for kind in get_args(messages.Message)))
# What msgpack can carry: its integers have 64 bits.
packable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def _fits(message: Any) -> bool:
    def small(value: Any) -> bool:
        if isinstance(value, int):
            return -(2**63) <= value < 2**64
        if isinstance(value, float):
            return value == value
        if isinstance(value, str):
            return not any("\ud800" <= character <= "\udfff" for character in value)
        if isinstance(value, dict):
            return all(map(small, value.values()))
        if isinstance(value, (tuple, list)):
            return all(map(small, value))
        return True

    return small(dataclasses.asdict(message))


@given(units)
def test_access_unit_round_trip(unit: AccessUnit) -> None:
    frames = wire.encode_access_unit(LIVE, unit)
    assert frames[0] == LIVE
    assert tuple(frames[2:]) == unit.nals
    assert wire.decode_media(frames) == unit


def test_payload_is_not_copied_to_be_packed() -> None:
    nal = bytes(100_000)
    unit = AccessUnit(1, 0, "video", "H264", 0, 0, 0, True, (nal,))
    frames = wire.encode_access_unit(b"t", unit)
    assert frames[2] is nal
    assert len(frames[1]) < 100


@given(counts, counts)
def test_join_end_round_trip(epoch: int, following: int) -> None:
    assert wire.decode_media(wire.encode_join_end(b"t", epoch, following)) == wire.JoinEnd(epoch, following)


def test_no_topic_is_the_prefix_of_another() -> None:
    topics = [
        wire.join_topic(rendition, worker, nonce)
        for rendition in messages.RENDITIONS
        for worker in ("fanout-1", "fanout-11")
        for nonce in (1, 17)
    ]
    topics += [
        wire.live_topic(rendition, track) for rendition in messages.RENDITIONS for track in ("video", "audio")
    ]
    for first in topics:
        assert [topic for topic in topics if topic.startswith(first)] == [first]


def test_live_topics_sort_before_joins() -> None:
    assert wire.live_topic("sub", "video") < wire.join_topic("main", "fanout-0", 1)


def test_topics_are_read_back() -> None:
    assert wire.parse_topic(wire.live_topic("sub", "audio")) == wire.LiveTopic("sub", "audio")
    assert wire.parse_topic(wire.join_topic("main", "fanout-3", 2**63)) == wire.JoinTopic("main")


@given(st.binary(max_size=40))
def test_any_subscription_is_read(topic: bytes) -> None:
    wire.parse_topic(topic)


@given(every_message.filter(_fits), st.integers(0, 2**63))
def test_message_round_trip(message: messages.Message, request_id: int) -> None:
    data = wire.encode_message(message, request_id)
    assert wire.decode_message(data) == (message, request_id)


def test_another_version_is_named() -> None:
    data = msgpack.packb((99, "done", 0, {}))
    with pytest.raises(BusError, match=f"version 99, this process reads {VERSION}"):
        wire.decode_message(data)
    with pytest.raises(BusError, match=f"version 99, this process reads {MEDIA}"):
        wire.decode_media([b"t", msgpack.packb((99, "whatever"))])


_GOOD = {"session": "s", "reason": "r"}
_MAIN = {"name": "main", "video": None, "audio": None}
_WATCHER = dataclasses.asdict(messages.ANYBODY)
_OFFER = {
    "session": "s",
    "camera": "front",
    "media_endpoint": "ipc:///x",
    "renditions": [],
    "sdp": "v=0",
    "watcher": _WATCHER,
    "quality": "auto",
}


@pytest.mark.parametrize(
    ("outer", "says"),
    [
        (7, "array of 4"),
        ([VERSION, "done", 0], "array of 4"),
        ([VERSION, "dance", 0, {}], "unknown type 'dance'"),
        ([VERSION, ["done"], 0, {}], "unknown type"),
        ([VERSION, "done", "x", {}], "request id"),
        ([VERSION, "done", True, {}], "request id"),
        ([VERSION, "done", 0, []], "fields"),
        ([VERSION, "session-ended", 0, {}], "fields"),
        ([VERSION, "session-ended", 0, {**_GOOD, "more": 1}], "more"),
        ([VERSION, "session-ended", 0, {**_GOOD, "reason": 7}], "reason"),
        ([VERSION, "refused", 0, {"kind": "because", "detail": ""}], "kind"),
        ([VERSION, "refused", 0, {"kind": ["internal"], "detail": ""}], "kind"),
        ([VERSION, "select", 0, {"session": "s", "quality": "best"}], "quality"),
        ([VERSION, "session-changed", 0, {**_GOOD, "showing": "auto"}], "showing"),
        ([VERSION, "sessions", 0, {"camera": "front"}], "camera"),
        ([VERSION, "sessions", 0, {"session": 7}], "session"),
        ([VERSION, "sessions-report", 0, {"sessions": [{"session": "s"}]}], "sessions"),
        ([VERSION, "offer", 0, {**_OFFER, "renditions": [{**_MAIN, "name": "third"}]}], "renditions.name"),
        ([VERSION, "offer", 0, {**_OFFER, "renditions": [{**_MAIN, "video": {}}]}], "renditions.video"),
        ([VERSION, "offer", 0, {**_OFFER, "renditions": _MAIN}], "renditions"),
        ([VERSION, "offer", 0, {**_OFFER, "watcher": {**_WATCHER, "role": "root"}}], "role"),
        ([VERSION, "offer", 0, {**_OFFER, "quality": "best"}], "quality"),
    ],
)
def test_malformed_messages(outer: object, says: str) -> None:
    with pytest.raises(BusError, match=says):
        wire.decode_message(msgpack.packb(outer))


def test_size_limit() -> None:
    with pytest.raises(BusError, match="at most"):
        wire.decode_message(bytes(wire.MAX_CONTROL_BYTES + 1))


@given(st.binary(max_size=200))
def test_any_octets_are_a_message_or_an_error(data: bytes) -> None:
    with pytest.raises(BusError):
        wire.decode_message(data)


@given(st.sampled_from([kind.TYPE for kind in get_args(messages.Message)]), packable)
def test_any_fields_are_a_message_or_an_error(type_name: str, fields: object) -> None:
    try:
        wire.decode_message(msgpack.packb((VERSION, type_name, 0, fields)))
    except BusError:
        return


@given(st.data())
def test_any_value_in_a_field_is_taken_or_refused(data: st.DataObject) -> None:
    message = data.draw(every_message.filter(_fits).filter(lambda one: bool(dataclasses.fields(one))))
    fields = dataclasses.asdict(message)
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(packable)
    try:
        wire.decode_message(msgpack.packb((VERSION, message.TYPE, 0, fields)))
    except BusError:
        return


_HEADER = (MEDIA, 1, 1, "video", "H264", 1, 1, 1, 0, 90_000, 0, b"")


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"t"],
        [b"t", b""],
        [b"t", b"\xc1"],
        [b"t", msgpack.packb(())],
        [b"t", msgpack.packb({})],
        [b"t", msgpack.packb((MEDIA, 2))],
        [b"t", msgpack.packb(_HEADER)],  # no NAL unit
        [b"t", msgpack.packb(_HEADER), b""],  # an empty one
        [b"t", msgpack.packb((*_HEADER[:4], 264, *_HEADER[5:])), b"x"],
        [b"t", msgpack.packb((MEDIA, True, *_HEADER[2:])), b"x"],
        [b"t", msgpack.packb((*_HEADER[:9], 0, 0, b"")), b"x"],  # no clock rate
        [b"t", msgpack.packb((*_HEADER[:11], "")), b"x"],
    ],
)
def test_malformed_media(frames: list[bytes]) -> None:
    with pytest.raises(BusError):
        wire.decode_media(frames)


@given(st.lists(st.binary(max_size=60), max_size=4), st.lists(packable, max_size=12))
def test_any_frames_are_media_or_an_error(frames: list[bytes], header: list) -> None:
    ours = msgpack.packb([MEDIA, *header])
    for candidate in (frames, [b"t", msgpack.packb(header), *frames], [b"t", ours]):
        try:
            wire.decode_media(candidate)
        except BusError:
            continue
