"""Access units to RTP payloads, once per camera; a file for each kind of codec that browsers are given."""

from collections.abc import Callable, Iterable, Mapping

from common.access_unit import AccessUnit
from fanout.packetizing import audio, h264, h265
from fanout.packetizing.packetized import PacketizedUnit, group

_VIDEO: Mapping[str, Callable[[Iterable[bytes]], list[bytes]]] = {
    "H264": h264.payloads,
    "H265": h265.payloads,
}
VIDEO_CODECS = frozenset(_VIDEO)
AUDIO_CODECS = frozenset({"OPUS", "PCMA", "PCMU", "G722"})


def packetize(unit: AccessUnit, timestamp: int, number: int, capture_ntp: int) -> PacketizedUnit | None:
    """The packets of a picture in one of VIDEO_CODECS; None when nothing in it is for a decoder.

    `timestamp`, `number` and `capture_ntp` are those of PacketizedUnit.
    """
    payloads = _VIDEO[unit.codec](unit.nals)
    if not payloads:
        return None
    return PacketizedUnit(
        codec=unit.codec,
        timestamp=timestamp,
        capture_ns=unit.capture_ns,
        keyframe=unit.keyframe,
        runs=group(payloads),
        packets=len(payloads),
        octets=sum(map(len, payloads)),
        number=number,
        capture_ntp=capture_ntp,
    )


def packetize_audio(unit: AccessUnit, timestamp: int, number: int) -> tuple[PacketizedUnit, ...]:
    """A packet for each frame in one of AUDIO_CODECS, more for one too long, each with its own timestamp.

    `timestamp` and `number` are those of the first; the packets tell no capture time.
    """
    return tuple(
        PacketizedUnit(
            codec=unit.codec,
            timestamp=timestamp + ticks,
            capture_ns=unit.capture_ns + ticks * 1_000_000_000 // unit.clock_rate,
            keyframe=True,
            runs=((payload,),),
            packets=1,
            octets=len(payload),
            number=number + position,
            capture_ntp=0,
        )
        for position, (ticks, payload) in enumerate(audio.payloads(unit))
    )
