"""What the packetizers of H.264 (RFC 6184) and H.265 (RFC 7798) have in common."""

from collections.abc import Callable, Iterable

from fanout.packetizing.packetized import MAX_PAYLOAD

# Of FU headers (RFC 6184 section 5.8, RFC 7798 section 4.4.3).
_FU_START = 0x80
_FU_END = 0x40
_SIZE_OCTETS = 2  # in front of each NAL unit of an aggregate (RFC 6184 section 5.7.1, RFC 7798 section 4.4.2)


def payloads(
    nals: Iterable[bytes],
    aggregate_header: int,
    aggregate: Callable[[list[bytes]], bytes],
    fragment: Callable[[bytes], list[bytes]],
) -> list[bytes]:
    """RTP payloads of NAL units in their order: small neighbours share one, large ones are cut.

    Parameter sets so travel in one packet, with the timestamp of the picture that follows, as Chromium wants
    it. `aggregate_header`: octets in front of all that an aggregate holds.
    """
    made: list[bytes] = []
    small: list[bytes] = []
    small_octets = aggregate_header

    def flush() -> None:
        nonlocal small_octets
        if small:
            made.append(small[0] if len(small) == 1 else aggregate(small))
            small.clear()
        small_octets = aggregate_header

    for nal in nals:
        if len(nal) > MAX_PAYLOAD:
            flush()
            made += fragment(nal)
            continue
        if small_octets + _SIZE_OCTETS + len(nal) > MAX_PAYLOAD:
            flush()
        small.append(nal)
        small_octets += _SIZE_OCTETS + len(nal)
    flush()
    return made


def aggregated(header: bytes, nals: Iterable[bytes]) -> bytes:
    """The payload that holds all these NAL units."""
    parts = [header]
    for nal in nals:
        parts += (len(nal).to_bytes(_SIZE_OCTETS, "big"), nal)
    return b"".join(parts)


def fragments(nal: bytes, indicator: bytes, kind: int) -> list[bytes]:
    """Payloads of equal size, the last one smaller at most, of a NAL unit larger than MAX_PAYLOAD.

    `indicator` stands in front of each and is as long as the NAL unit's header, which it replaces; `kind` is
    the NAL unit's type, which the FU header carries.
    """
    header = len(indicator)
    octets = len(nal) - header
    count = -(-octets // (MAX_PAYLOAD - header - 1))
    size = -(-octets // count)
    middle = indicator + bytes((kind,))
    made = [middle + nal[at : at + size] for at in range(header, len(nal), size)]
    made[0] = indicator + bytes((_FU_START | kind,)) + made[0][header + 1 :]
    made[-1] = indicator + bytes((_FU_END | kind,)) + made[-1][header + 1 :]
    return made
