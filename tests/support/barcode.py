"""Reads the time that the simulated camera draws into its pictures (ingest.simulated.barcode)."""

from ingest.simulated.barcode import COLUMNS, ROWS, TIME_OCTETS, cell_size

_TURN_MS = 1 << 8 * TIME_OCTETS


def read(plane: memoryview, stride: int, width: int, height: int, near_ms: int) -> int | None:
    """UTC in ms, the one nearest to `near_ms`, from a plane of luma; None where there is no time."""
    size = cell_size(width)
    value = 0
    for cell in range(COLUMNS * ROWS):
        row, column = divmod(cell, COLUMNS)
        x, y = column * size, height - (ROWS - row) * size
        # Its middle: edges are blurred.
        inner = [
            plane[(y + down) * stride + x + right]
            for down in range(size // 4, size - size // 4)
            for right in range(size // 4, size - size // 4)
        ]
        value = value << 1 | (sum(inner) > 127 * len(inner))
    octets = value.to_bytes(TIME_OCTETS + 1)
    if sum(octets[:-1]) + octets[-1] & 0xFF != 0xFF:
        return None
    time_ms = value >> 8
    return time_ms + round((near_ms - time_ms) / _TURN_MS) * _TURN_MS


SCRIPT = """(() => {
    const COLUMNS = 24, ROWS = 2, TURN_MS = 2 ** 40;
    const canvas = new OffscreenCanvas(COLUMNS * 4, ROWS * 4);
    const context = canvas.getContext('2d', {willReadFrequently: true});
    /** UTC in ms from what a video or ImageBitmap shows, near to another time; null where there is none. */
    window.readBarcode = (picture, nearMs) => {
        const {videoWidth: width = picture.width, videoHeight: height = picture.height} = picture;
        const size = Math.max(2, Math.floor(width / 80) & ~1);
        context.drawImage(
            picture, 0, height - ROWS * size, COLUMNS * size, ROWS * size, 0, 0, COLUMNS * 4, ROWS * 4);
        const {data} = context.getImageData(0, 0, COLUMNS * 4, ROWS * 4);
        const octets = [0, 0, 0, 0, 0, 0];
        for (let cell = 0; cell < COLUMNS * ROWS; cell++) {
            const x = cell % COLUMNS, y = Math.floor(cell / COLUMNS);
            let sum = 0;
            for (const down of [1, 2]) {
                for (const right of [1, 2]) sum += data[4 * ((4 * y + down) * COLUMNS * 4 + 4 * x + right)];
            }
            octets[cell >> 3] = octets[cell >> 3] << 1 | (sum > 4 * 127);
        }
        if ((octets.reduce((all, octet) => all + octet, 0) & 0xff) !== 0xff) return null;
        const time = octets.slice(0, 5).reduce((all, octet) => all * 256 + octet, 0);
        return time + Math.round((nearMs - time) / TURN_MS) * TURN_MS;
    };
})();"""
"For a page: defines `readBarcode(picture, nearMs)`."
