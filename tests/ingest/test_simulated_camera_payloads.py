"""Payload formats of the simulated camera: NAL units, AAC, JPEG."""

import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.h264 import NAL_FU_A
from ingest.simulated.faults import Faults
from ingest.simulated.jpeg_payloads import jpeg_payloads
from ingest.simulated.options import video_options
from ingest.simulated.payloads import H265_FU, MAX_PAYLOAD_BYTES, aac_payload, h264_payloads, h265_payloads
from ingest.simulated.picture import Picture
from ingest.simulated.video_encoder import VideoEncoder


@given(st.binary(min_size=1, max_size=6000))
def test_h264_fragments_come_together(nal: bytes) -> None:
    parts = h264_payloads(nal)
    assert all(len(part) <= MAX_PAYLOAD_BYTES for part in parts)
    if len(parts) == 1:
        assert parts == [nal]
        return
    assert [part[1] & 0xC0 for part in parts] == [0x80, *[0] * (len(parts) - 2), 0x40]
    assert all(part[0] & 0x1F == NAL_FU_A for part in parts)
    header = bytes((parts[0][0] & 0xE0 | parts[0][1] & 0x1F,))
    assert header + b"".join(part[2:] for part in parts) == nal


@given(st.integers(0, 47), st.integers(0, 63), st.integers(1, 7), st.binary(max_size=6000))
def test_h265_fragments_come_together(kind: int, layer: int, temporal_id: int, rest: bytes) -> None:
    header = (kind << 9 | layer << 3 | temporal_id).to_bytes(2, "big")
    parts = h265_payloads(header + rest)
    assert all(len(part) <= MAX_PAYLOAD_BYTES for part in parts)
    if len(parts) == 1:
        assert parts == [header + rest]
        return
    assert [part[2] & 0xC0 for part in parts] == [0x80, *[0] * (len(parts) - 2), 0x40]
    assert {part[:2] for part in parts} == {(H265_FU << 9 | layer << 3 | temporal_id).to_bytes(2, "big")}
    assert {part[2] & 0x3F for part in parts} == {kind}
    assert b"".join(part[3:] for part in parts) == rest


def test_an_aac_frame_has_one_au_header() -> None:
    payload = aac_payload(bytes(291))
    assert payload[:2] == b"\x00\x10"
    assert int.from_bytes(payload[2:4], "big") == 291 << 3
    assert payload[4:] == bytes(291)


def coded_jpeg(width: int, height: int) -> bytes:
    options = video_options("jpeg", width, height, 25, 50_000_000, None)
    (coded,) = VideoEncoder(options, Faults()).encode(Picture(options).next(0, 0))
    return coded.units[0]


def test_jpeg_fragments_hold_the_scan_and_both_tables() -> None:
    jpeg = coded_jpeg(640, 480)
    parts = jpeg_payloads(jpeg)
    assert len(parts) > 2
    assert all(len(part) <= MAX_PAYLOAD_BYTES for part in parts)
    offset = 0
    scan = b""
    for part in parts:
        assert part[0] == 0
        assert int.from_bytes(part[1:4], "big") == offset
        assert part[4:8] == bytes((1, 255, 80, 60))
        body = part[8:]
        if offset == 0:
            assert body[:4] == b"\x00\x00\x00\x80"
            body = body[4 + 128 :]
        scan += body
        offset = len(scan)
    with av.open(io.BytesIO(jpeg)) as file:
        assert next(file.decode(video=0)).format.name == "yuvj420p"
    assert jpeg.endswith(scan + b"\xff\xd9")


@pytest.mark.parametrize(
    ("jpeg", "message"),
    [
        (b"", "without a baseline scan"),
        (b"\xff\xd8\xff\xd9", "without a baseline scan"),
        (b"\xff\xd8\xff\xdb\x00\x43\x10" + bytes(64), "16-bit"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x10\x03\x01\x11\x00\x02\x11\x01\x03\x11\x01", "4:2:0"),
    ],
)
def test_jpeg_that_rfc_2435_does_not_carry(jpeg: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jpeg_payloads(jpeg)
