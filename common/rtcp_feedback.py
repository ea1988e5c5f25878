"""RTCP feedback of receivers (RFC 4585): parse and serialize side by side.

PLI, FIR (RFC 5104), generic NACK, transport-wide feedback
(draft-holmer-rmcat-transport-wide-cc-extensions-01) and REMB (draft-alvestrand-rmcat-remb-03). `common.rtp`
takes compound packets apart and hands feedback over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from struct import Struct

from common.errors import PeerError

RTCP_RTPFB = 205
RTCP_PSFB = 206
RTPFB_NACK = 1  # RFC 4585 section 6.2.1
RTPFB_TRANSPORT = 15
PSFB_PLI = 1  # RFC 4585 section 6.3.1
PSFB_FIR = 4  # RFC 5104 section 4.3.1
PSFB_APPLICATION = 15  # RFC 4585 section 6.4

_SSRCS = Struct("!II")
_MAX_SEQUENCES_PER_NACK = 17  # PID and the 16 bits of BLP

# Base sequence number, packet status count, reference time and feedback packet count.
_TRANSPORT = Struct("!HHI")
_CHUNKS_AT = _SSRCS.size + _TRANSPORT.size
_DELTA_US = 250
_REFERENCE_US = 64_000
REFERENCE_WRAP_US = _REFERENCE_US << 24
"After so long, 12.4 days, arrival times start again."
_SMALL, _LARGE, _RESERVED = 1, 2, 3  # packet status symbols; 0 says not received
_MAX_RUN = 0x1FFF
_ONES = tuple(tuple(bit for bit in range(7) if value >> (6 - bit) & 1) for value in range(128))
"Positions of the packets received, for each half of a vector of one-bit symbols."

_REMB = b"REMB"
_MANTISSA_BITS = 18
_MAX_BITRATE = (1 << 63) - 1


class RtpError(PeerError):
    """Bytes that are not RTP or RTCP."""


@dataclass(frozen=True, slots=True)
class KeyframeRequest:
    """PLI or FIR: the receiver wants a keyframe of `media_ssrc`."""

    sender_ssrc: int
    media_ssrc: int


@dataclass(frozen=True, slots=True)
class Nack:
    """Generic NACK: the receiver misses these packets of `media_ssrc`."""

    sender_ssrc: int
    media_ssrc: int
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """Transport-wide feedback: which packets arrived when."""

    sender_ssrc: int
    media_ssrc: int
    base_sequence: int
    "Transport-wide sequence number, 16 bits, of the first packet told of."
    feedback_count: int
    "Number of this feedback packet, 8 bits."
    received: tuple[tuple[int, int], ...]
    """Sequence number and arrival of each packet received, in the order of sequence numbers. Arrival is in
    microseconds of the receiver's clock, a multiple of 250, and starts again after REFERENCE_WRAP_US."""
    lost: int
    "Packets told of that had not arrived."
    span: int
    "Packets told of, from `base_sequence` on."


@dataclass(frozen=True, slots=True)
class ReceiverEstimate:
    """REMB: what the receiver thinks that the path of these streams carries."""

    sender_ssrc: int
    bitrate: int
    "Bits per second; 18 bits of it are significant."
    ssrcs: tuple[int, ...]


Feedback = KeyframeRequest | Nack | TransportFeedback | ReceiverEstimate


def parse_feedback(kind: int, fmt: int, body: bytes) -> list[Feedback]:
    """Parses what follows the header of an RTPFB or PSFB packet; formats nobody here reads give nothing.

    Raises RtpError.
    """
    if len(body) < _SSRCS.size:
        raise RtpError("RTCP feedback is shorter than its two SSRCs")
    sender, media = _SSRCS.unpack_from(body)
    if kind == RTCP_RTPFB:
        if fmt == RTPFB_TRANSPORT:
            return [_parse_transport(sender, media, body)]
        if fmt == RTPFB_NACK:
            return [_parse_nack(sender, media, body)]
    elif kind == RTCP_PSFB:
        if fmt == PSFB_PLI:
            return [KeyframeRequest(sender, media)]
        if fmt == PSFB_FIR:
            # The media SSRC of FIR is in its entries, the header's is 0 (RFC 5104 section 4.3.1.2).
            return [
                KeyframeRequest(sender, int.from_bytes(body[at : at + 4], "big"))
                for at in range(8, len(body) - 7, 8)
            ]
        if fmt == PSFB_APPLICATION and body[8:12] == _REMB:
            return [_parse_estimate(sender, body)]
    return []


def serialize_feedback(packet: Feedback) -> bytes:
    """One RTCP packet as octets, a keyframe request as PLI.

    Raises ValueError for transport feedback with more than 8.19 s between arrivals: the format cannot say it.
    """
    match packet:
        case KeyframeRequest():
            return rtcp_packet(PSFB_PLI, RTCP_PSFB, _SSRCS.pack(packet.sender_ssrc, packet.media_ssrc))
        case Nack():
            return rtcp_packet(RTPFB_NACK, RTCP_RTPFB, _nack_body(packet))
        case TransportFeedback():
            return rtcp_packet(RTPFB_TRANSPORT, RTCP_RTPFB, _transport_body(packet))
        case ReceiverEstimate():
            return rtcp_packet(PSFB_APPLICATION, RTCP_PSFB, _estimate_body(packet))


def rtcp_packet(first: int, kind: int, body: bytes) -> bytes:
    """Puts the header (RFC 3550 section 6.1) before a body of whole words; `first` is the count or format."""
    return bytes((0x80 | first, kind)) + (len(body) // 4).to_bytes(2, "big") + body


def _parse_nack(sender: int, media: int, body: bytes) -> Nack:
    missing: list[int] = []
    for at in range(8, len(body) - 3, 4):
        pid = int.from_bytes(body[at : at + 2], "big")
        blp = int.from_bytes(body[at + 2 : at + 4], "big")
        missing.append(pid)
        missing += [(pid + 1 + bit) & 0xFFFF for bit in range(16) if blp >> bit & 1]
    return Nack(sender, media, tuple(missing))


def _nack_body(packet: Nack) -> bytes:
    body = _SSRCS.pack(packet.sender_ssrc, packet.media_ssrc)
    left = sorted(packet.sequences)
    while left:
        pid = left.pop(0)
        blp = 0
        while left and 0 < left[0] - pid < _MAX_SEQUENCES_PER_NACK:
            blp |= 1 << (left.pop(0) - pid - 1)
        body += pid.to_bytes(2, "big") + blp.to_bytes(2, "big")
    return body


def _parse_transport(sender: int, media: int, body: bytes) -> TransportFeedback:
    if len(body) < _CHUNKS_AT:
        raise RtpError("transport feedback is cut off")
    base, span, time_and_count = _TRANSPORT.unpack_from(body, _SSRCS.size)
    sequences, symbols, at = _parse_chunks(body, base, base + span)
    if at + len(symbols) + symbols.count(_LARGE) > len(body):
        raise RtpError(f"transport feedback is too short for {len(symbols)} arrival times")
    deltas: Sequence[int] = body[
        at : at + len(symbols)
    ]  # as nearly all feedback is: one octet for each packet
    if _LARGE in symbols:
        deltas = _parse_deltas(body, symbols, at)
    if base + span > 0x10000:
        sequences = [sequence & 0xFFFF for sequence in sequences]
    reference_us = (time_and_count >> 8) * _REFERENCE_US
    arrivals = [reference_us + _DELTA_US * ticks for ticks in accumulate(deltas)]
    lost = span - len(symbols)
    return TransportFeedback(
        sender, media, base, time_and_count & 0xFF, tuple(zip(sequences, arrivals, strict=True)), lost, span
    )


def _parse_chunks(body: bytes, sequence: int, end: int) -> tuple[list[int], bytearray, int]:
    """Sequence numbers of the packets received, not wrapped, a symbol for each, and where the chunks end."""
    sequences: list[int] = []
    symbols = bytearray()
    size = len(body)
    at = _CHUNKS_AT
    while sequence < end:
        if at + 2 > size:
            raise RtpError(f"transport feedback ends {end - sequence} packet statuses early")
        chunk = body[at] << 8 | body[at + 1]
        at += 2
        if chunk < 0x8000:  # run length
            stop = min(sequence + (chunk & _MAX_RUN), end)
            symbol = chunk >> 13
            if symbol:
                # A claim of thousands costs nothing to make: each needs an octet of arrival time at least.
                if len(symbols) + stop - sequence > size - at:
                    raise RtpError("transport feedback claims more packets than it has arrival times")
                sequences += range(sequence, stop)
                symbols += bytes((symbol,)) * (stop - sequence)
            sequence = stop
        elif chunk < 0xC000:  # 14 symbols of one bit
            if sequence + 14 > end:
                chunk &= -1 << (sequence + 14 - end)
            received = [sequence + bit for bit in _ONES[chunk >> 7 & 0x7F]]
            received += [sequence + 7 + bit for bit in _ONES[chunk & 0x7F]]
            sequences += received
            symbols += b"\1" * len(received)
            sequence += 14
        else:  # 7 symbols of two bits
            if sequence + 7 > end:
                chunk &= -1 << 2 * (sequence + 7 - end)
            for position, shift in enumerate((12, 10, 8, 6, 4, 2, 0), sequence):
                symbol = chunk >> shift & 3
                if symbol:
                    sequences.append(position)
                    symbols.append(symbol)
            sequence += 7
    if _RESERVED in symbols:
        raise RtpError("transport feedback has a packet status of the reserved value 3")
    return sequences, symbols, at


def _parse_deltas(body: bytes, symbols: bytearray, at: int) -> list[int]:
    """Arrival times less the one before, in units of 250 us; large ones have two octets and a sign."""
    deltas: list[int] = []
    done = 0
    while (large := symbols.find(_LARGE, done)) >= 0:
        small = large - done
        deltas += body[at : at + small]
        at += small + 2
        deltas.append(int.from_bytes(body[at - 2 : at], "big", signed=True))
        done = large + 1
    deltas += body[at : at + len(symbols) - done]
    return deltas


def _transport_body(packet: TransportFeedback) -> bytes:
    reference = packet.received[0][1] // _REFERENCE_US if packet.received else 0
    statuses = bytearray(packet.span)
    deltas = bytearray()
    before = reference * _REFERENCE_US
    for sequence, arrival_us in packet.received:
        delta = (arrival_us - before) // _DELTA_US
        before += delta * _DELTA_US
        large = not 0 <= delta <= 0xFF
        if large and not -0x8000 <= delta <= 0x7FFF:
            raise ValueError(
                f"{delta * _DELTA_US} us between arrivals are more than transport feedback can say"
            )
        statuses[(sequence - packet.base_sequence) & 0xFFFF] = _LARGE if large else _SMALL
        deltas += delta.to_bytes(2, "big", signed=True) if large else delta.to_bytes(1, "big")
    time_and_count = (reference & 0xFF_FFFF) << 8 | packet.feedback_count
    body = _SSRCS.pack(packet.sender_ssrc, packet.media_ssrc)
    body += _TRANSPORT.pack(packet.base_sequence, packet.span, time_and_count)
    body += _chunks(statuses) + deltas
    return body + bytes(-len(body) % 4)


def _chunks(statuses: bytearray) -> bytes:
    """The fewest octets that a look ahead of one chunk finds."""
    chunks = bytearray()
    at = 0
    while at < len(statuses):
        symbol = statuses[at]
        alike = len(statuses[at : at + _MAX_RUN]) - len(statuses[at : at + _MAX_RUN].lstrip(bytes((symbol,))))
        head = statuses[at : at + 14]
        if alike >= min(14, len(statuses) - at) or (alike >= 7 and _LARGE in head):
            value, told = symbol << 13 | alike, alike
        elif _LARGE in head:
            value = 0xC000 | sum(status << 12 - 2 * position for position, status in enumerate(head[:7]))
            told = 7
        else:
            value = 0x8000 | sum(status << 13 - position for position, status in enumerate(head))
            told = 14
        chunks += value.to_bytes(2, "big")
        at += told
    return bytes(chunks)


def _parse_estimate(sender: int, body: bytes) -> ReceiverEstimate:
    if len(body) < 16 or len(body) < 16 + 4 * body[12]:
        raise RtpError("REMB is cut off")
    mantissa = int.from_bytes(body[13:16], "big")
    exponent = mantissa >> _MANTISSA_BITS
    bitrate = (mantissa & (1 << _MANTISSA_BITS) - 1) << exponent
    if bitrate > _MAX_BITRATE:
        raise RtpError(f"REMB of 2^{bitrate.bit_length()} bit/s")
    ssrcs = (int.from_bytes(body[at : at + 4], "big") for at in range(16, 16 + 4 * body[12], 4))
    return ReceiverEstimate(sender, bitrate, tuple(ssrcs))


def _estimate_body(packet: ReceiverEstimate) -> bytes:
    exponent = max(packet.bitrate.bit_length() - _MANTISSA_BITS, 0)
    value = len(packet.ssrcs) << 24 | exponent << _MANTISSA_BITS | packet.bitrate >> exponent
    body = _SSRCS.pack(packet.sender_ssrc, 0) + _REMB + value.to_bytes(4, "big")
    return body + b"".join(ssrc.to_bytes(4, "big") for ssrc in packet.ssrcs)
