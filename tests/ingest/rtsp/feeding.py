"""Every way to cut a byte string in pieces that a parser has to bear."""

from collections.abc import Iterator


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, then in two at each byte."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for cut in range(1, len(data)):
        yield [data[:cut], data[cut:]]
