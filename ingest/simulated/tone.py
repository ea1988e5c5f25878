"""The simulated camera's sound: a soft tone that changes with each second of UTC."""

from array import array
from functools import cache
from math import pi, sin

NOTES_HZ = (262, 294, 330, 392, 440)  # whole numbers: each second ends where a wave ends, without a click
AMPLITUDE = 1600  # of 32767: -26 dB
SAMPLE_BYTES = 2


@cache
def _second(note_hz: int, sample_rate: int) -> bytes:
    step = 2 * pi * note_hz / sample_rate
    return array("h", (round(AMPLITUDE * sin(step * index)) for index in range(sample_rate))).tobytes()


def tone(position: int, count: int, sample_rate: int) -> bytes:
    """`count` samples, signed 16 bits in the machine's order; `position` is samples since 1970."""
    pieces = []
    while count > 0:
        second, offset = divmod(position, sample_rate)
        taken = min(count, sample_rate - offset)
        note = _second(NOTES_HZ[second % len(NOTES_HZ)], sample_rate)
        pieces.append(note[offset * SAMPLE_BYTES : (offset + taken) * SAMPLE_BYTES])
        position += taken
        count -= taken
    return b"".join(pieces)
