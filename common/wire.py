"""Messages and access units as ZeroMQ frames and back; the only place that knows msgpack (docs/bus.md)."""

import dataclasses
import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgpack

from common import messages
from common.access_unit import AccessUnit
from common.errors import BusError

MEDIA_VERSION = 2
MAX_CONTROL_BYTES = 1 << 20

_KEYFRAME = 1
_JOIN_END = 2
_CAMERA_CLOCK = 4
_HEADER_FIELDS = 12

# Past sorts after live in byte order: that is how libzmq repeats subscriptions when it connects, and live has
# to be subscribed before the join is answered, or a unit could fall between the two.
_LIVE = b"live"
_PAST = b"past"


@dataclasses.dataclass(frozen=True, slots=True)
class LiveTopic:
    """What one track of one rendition is published on."""

    rendition: str
    track: str


@dataclasses.dataclass(frozen=True, slots=True)
class JoinTopic:
    """Somebody's own topic for the cached GOP of a rendition."""

    rendition: str


def live_topic(rendition: str, track: str) -> bytes:
    """The topic of a track; the final `/` keeps it from being another's prefix."""
    return b"/".join((_LIVE, rendition.encode(), track.encode(), b""))


def join_topic(rendition: str, worker: str, nonce: int) -> bytes:
    """The topic on which ingest answers one join with the video of a rendition."""
    return b"/".join((_PAST, rendition.encode(), worker.encode(), b"%x" % nonce, b""))


def parse_topic(topic: bytes) -> LiveTopic | JoinTopic | None:
    """What a subscription asks for; None when it is neither."""
    match topic.decode("ascii", "replace").split("/"):
        case ["live", rendition, track, ""]:
            return LiveTopic(rendition, track)
        case ["past", rendition, _, _, ""]:
            return JoinTopic(rendition)
    return None


def encode_access_unit(topic: bytes, unit: AccessUnit) -> list[bytes]:
    """`[topic, header, nal, nal, …]`; the payload stays outside msgpack."""
    header: bytes = msgpack.packb(
        (
            MEDIA_VERSION,
            unit.epoch,
            unit.sequence,
            unit.track,
            unit.codec,
            unit.timestamp,
            unit.capture_ns,
            unit.arrival_ns,
            (_KEYFRAME if unit.keyframe else 0) | (_CAMERA_CLOCK if unit.camera_clock else 0),
            unit.clock_rate,
            unit.channels,
            unit.config,
        )
    )
    return [topic, header, *unit.nals]


def encode_join_end(topic: bytes, epoch: int, next_sequence: int) -> list[bytes]:
    """The last message of a join answer; `next_sequence` is the live access unit that follows."""
    fields = (MEDIA_VERSION, epoch, next_sequence, "", "", 0, 0, 0, _JOIN_END, 0, 0, b"")
    header: bytes = msgpack.packb(fields)
    return [topic, header]


@dataclasses.dataclass(frozen=True, slots=True)
class JoinEnd:
    """End of the cached GOP on a join topic."""

    epoch: int
    next_sequence: int


def decode_media(frames: Sequence[bytes]) -> AccessUnit | JoinEnd:
    """The access unit or join end in a media message; raises BusError, also for another version."""
    if len(frames) < 2:
        raise BusError(f"media message of {len(frames)} frames, at least topic and header are needed")
    try:
        header = msgpack.unpackb(frames[1], use_list=False)
    except (ValueError, msgpack.UnpackException) as exc:
        raise BusError(f"media header is not msgpack: {type(exc).__name__}") from exc
    if not isinstance(header, tuple) or not header:
        raise BusError("media header is not an array")
    if header[0] != MEDIA_VERSION:
        raise BusError(
            f"media message of version {header[0]!r:.20}, this process reads {MEDIA_VERSION}; "
            "run the same release everywhere"
        )
    if len(header) != _HEADER_FIELDS:
        raise BusError(f"media header has {len(header)} fields instead of {_HEADER_FIELDS}")
    _, epoch, sequence, track, codec, timestamp, capture_ns, arrival_ns, flags, *audio = header
    rate, channels, config = audio
    integers = (epoch, sequence, timestamp, capture_ns, arrival_ns, flags, rate, channels)
    if not all(type(number) is int for number in integers):
        raise BusError("media header holds something else where a number belongs")
    if type(track) is not str or type(codec) is not str or type(config) is not bytes:
        raise BusError("media header holds something else where track, codec and config belong")
    if flags & _JOIN_END:
        return JoinEnd(epoch, sequence)
    nals = tuple(frames[2:])
    if not nals or not all(nals):
        raise BusError("media message without NAL units or with an empty one")
    if rate <= 0:
        raise BusError(f"media header says {rate} ticks per second")
    return AccessUnit(
        epoch=epoch,
        sequence=sequence,
        track=track,
        codec=codec,
        timestamp=timestamp,
        capture_ns=capture_ns,
        arrival_ns=arrival_ns,
        keyframe=bool(flags & _KEYFRAME),
        nals=nals,
        clock_rate=rate,
        channels=channels,
        config=config,
        camera_clock=bool(flags & _CAMERA_CLOCK),
    )


def encode_message(message: messages.Message, request_id: int = 0) -> bytes:
    """A control message: msgpack `[version, type, request id, {field: value}]`; request id 0 is none."""
    fields = dataclasses.asdict(message)
    packed: bytes = msgpack.packb((messages.PROTOCOL_VERSION, message.TYPE, request_id, fields))
    return packed


def _build(hint: Any, value: Any, where: str) -> Any:
    """Checks `value` against the type `hint` and gives it back as that type."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        (hint,) = (arg for arg in get_args(hint) if arg is not type(None))
        return _build(hint, value, where)
    if origin is Literal:
        if value in get_args(hint):
            return value
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_build(get_args(hint)[0], item, where) for item in value)
    elif dataclasses.is_dataclass(hint):
        if isinstance(value, dict):
            return _build_dataclass(hint, value, where)
    elif type(value) is hint:
        return value
    elif hint is float and type(value) is int:
        return float(value)
    raise BusError(f"{where}: {type(value).__name__} where {hint} belongs")


def _build_dataclass(kind: Any, fields: dict[Any, Any], where: str) -> Any:
    wanted = _HINTS.get(kind) or _hints(kind)
    if fields.keys() != wanted.keys():
        raise BusError(f"{where}: fields {sorted(map(str, fields))} instead of {sorted(wanted)}")
    return kind(**{name: _build(hint, fields[name], f"{where}.{name}") for name, hint in wanted.items()})


def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


_KINDS: dict[str, Any] = {kind.TYPE: kind for kind in get_args(messages.Message)}
_HINTS: dict[Any, dict[str, Any]] = {kind: _hints(kind) for kind in _KINDS.values()}


def decode_message(data: bytes) -> tuple[messages.Message, int]:
    """The control message and its request id (0: none); raises BusError, also for another version."""
    if len(data) > MAX_CONTROL_BYTES:
        raise BusError(f"control message of {len(data)} octets, at most {MAX_CONTROL_BYTES} are read")
    try:
        outer = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException) as exc:
        raise BusError(f"control message is not msgpack: {type(exc).__name__}") from exc
    if not isinstance(outer, list) or len(outer) != 4:
        raise BusError("control message is not an array of 4")
    version, type_name, request_id, fields = outer
    if version != messages.PROTOCOL_VERSION:
        raise BusError(
            f"control message of version {version!r:.20}, this process reads "
            f"{messages.PROTOCOL_VERSION}; run the same release everywhere"
        )
    kind = _KINDS.get(type_name) if isinstance(type_name, str) else None
    if kind is None:
        raise BusError(f"control message of unknown type {type_name!r:.40}")
    if type(request_id) is not int or not isinstance(fields, dict):
        raise BusError(f"control message {type_name} without request id or fields")
    return _build_dataclass(kind, fields, type_name), request_id
