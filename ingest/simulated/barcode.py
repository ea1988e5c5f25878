"""The time of a picture for programs to read: two rows of white and black cells in its lower left corner.

Forty bits of UTC in milliseconds, the highest first, then eight of a check (below), row by row.
"""

COLUMNS = 24
ROWS = 2
TIME_OCTETS = 5
"They repeat after 34 years."
_CELLS_PER_WIDTH = 80  # 8 pixels at 640, half a block of H.264: the coarsest encoder keeps them


def cell_size(width: int) -> int:
    """Pixels along each side of a cell, in a picture of that width; even, as chroma has half the samples."""
    return max(2, width // _CELLS_PER_WIDTH & ~1)


def cells(utc_ms: int) -> list[bool]:
    """The cells from the upper left one on; True is white."""
    octets = (utc_ms % (1 << 8 * TIME_OCTETS)).to_bytes(TIME_OCTETS)
    # The complement, so that neither all black nor all white is a time.
    octets += bytes((~sum(octets) & 0xFF,))
    return [bool(octet >> bit & 1) for octet in octets for bit in reversed(range(8))]


def barcode_rows(utc_ms: int, size: int, ink: int, paper: int) -> list[bytes]:
    """Rows of luma, `size` pixels to a cell."""
    marks = [bytes((ink if white else paper,)) * size for white in cells(utc_ms)]
    return [
        b"".join(marks[begin : begin + COLUMNS])
        for begin in range(0, COLUMNS * ROWS, COLUMNS)
        for _ in range(size)
    ]
