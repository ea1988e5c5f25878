"""Audio frames to RTP payloads: Opus (RFC 7587), G.711 and G.722 (RFC 3551 sections 4.5.2, 4.5.14)."""

from collections.abc import Iterator

from common.access_unit import AccessUnit
from fanout.packetizing.packetized import MAX_PAYLOAD

# Length of one frame in ticks of 48 kHz by the `config` of the TOC octet (RFC 6716 section 3.1):
# SILK in three bandwidths, hybrid in two, CELT in four.
_OPUS_FRAME_TICKS = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
# Codecs of 8 bits per tick and channel. G.722's ticks are of 8 kHz (RFC 3551 section 4.5.2).
_CUT_ANYWHERE = frozenset({"PCMA", "PCMU", "G722"})


def payloads(unit: AccessUnit) -> Iterator[tuple[int, bytes]]:
    """Each payload with the ticks that it is later than the unit; payloads follow each other in time."""
    if unit.codec in _CUT_ANYWHERE:
        return _samples(unit)
    return _opus(unit)


def _samples(unit: AccessUnit) -> Iterator[tuple[int, bytes]]:
    """Those too long for a datagram are cut into equal ones, between samples."""
    ticks = 0
    channels = max(1, unit.channels)
    room = MAX_PAYLOAD // channels  # in ticks, as all that follows
    if not room:  # a camera that claims thousands of channels
        return
    for frame in unit.nals:
        length = len(frame) // channels
        size = -(-length // -(-length // room)) if length else 1
        for at in range(0, length, size):
            yield ticks + at, frame[at * channels : (at + size) * channels]
        ticks += length


def _opus(unit: AccessUnit) -> Iterator[tuple[int, bytes]]:
    """A packet of Opus cannot be cut (RFC 7587 section 4.2): one too long for a datagram is left out.

    20 ms at the highest rate that RFC 7587 advises, 128 kbit/s for stereo music, are 320 octets.
    """
    ticks = 0
    for frame in unit.nals:
        if len(frame) <= MAX_PAYLOAD:
            yield ticks, frame
        ticks += opus_ticks(frame)


def opus_ticks(packet: bytes) -> int:
    """How long an Opus packet of at least one octet plays, in ticks of 48 kHz (RFC 6716 section 3.2)."""
    match packet[0] & 0x03:
        case 0:
            frames = 1
        case 1 | 2:
            frames = 2
        case _:
            frames = packet[1] & 0x3F if len(packet) > 1 else 0
    return frames * _OPUS_FRAME_TICKS[packet[0] >> 3]
