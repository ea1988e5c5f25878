"""RTP payloads to AAC frames (RFC 6416 section 6: MP4A-LATM), the same frames as those of RFC 3640.

A packet, or several up to the marker, is one AudioMuxElement (ISO/IEC 14496-3 clause 1.7.3): frames behind
their lengths, and with `cpresent=1` the configuration in front, which may change. Read is one program of one
layer with frames of any length. Not all cameras keep to that:

- `cpresent` is missing though SDP has the configuration: then it is not in band, as players take it.
- `cpresent=0` without configuration (against section 7.3): AAC-LC of the rate and channels of rtpmap.
- What stands behind the AudioSpecificConfig is missing from SDP (GStreamer): it is taken as zeros.
- No marker: the timestamp changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from common.aac import (
    MAX_CONFIG_BYTES,
    AacError,
    AudioSpecificConfig,
    BitReader,
    aac_lc_config,
    parse_audio_specific_config,
    read_audio_specific_config,
    skip_sync_extension,
)
from ingest.codecs.aac import sdp_config
from ingest.codecs.frame import Frame, VideoParameters

_MISSING_BYTES = 2  # frameLengthType 3 bits, latmBufferFullness 8, otherDataPresent 1, crcCheckPresent 1
MAX_ELEMENT_BYTES = 64 << 10  # 64 frames (numSubFrames has 6 bits) of 1 KiB


@dataclass(frozen=True, slots=True)
class StreamMuxConfig:
    """How an AudioMuxElement is built (clause 1.7.3, table 1.42)."""

    config: bytes
    "The AudioSpecificConfig, moved to begin at an octet."
    parsed: AudioSpecificConfig
    frames: int
    "In each AudioMuxElement."


def _value(bits: BitReader) -> int:
    """LatmGetValue()."""
    return bits.read(8 * (bits.read(2) + 1))


def read_stream_mux_config(bits: BitReader) -> StreamMuxConfig:
    """Takes a StreamMuxConfig(); raises AacError, also for several programs or layers."""
    version = bits.read(1)
    if version and bits.read(1):
        raise AacError("audioMuxVersionA is not 0")
    if version:
        _value(bits)  # taraBufferFullness
    if not bits.read(1):
        raise AacError("the streams of LATM have different framings")
    frames = bits.read(6) + 1
    if bits.read(4) or bits.read(3):
        raise AacError("LATM with several programs or layers is not read")
    size = _value(bits) if version else None
    if size is not None and size > 8 * MAX_CONFIG_BYTES:
        raise AacError(f"configuration of {size} bits, at most {8 * MAX_CONFIG_BYTES} are read")
    start = bits.position
    parsed = read_audio_specific_config(bits)
    if size is None:
        # Without a length nothing may follow, but GStreamer copies what an MP4 holds.
        skip_sync_extension(bits)
    used = bits.position - start
    if size is None:
        size = used
        if parsed.channels == 0:
            raise AacError("a program_config_element in LATM is not read")
    elif size < used:
        raise AacError(f"configuration of {used} bits says that it has {size}")
    bits.position = start
    config = (bits.read(size) << (-size & 7)).to_bytes(size + 7 >> 3, "big")
    if frame_length_type := bits.read(3):
        raise AacError(f"frameLengthType {frame_length_type} of LATM is not read, only 0")
    bits.read(8)  # latmBufferFullness
    if bits.read(1):  # otherDataPresent: it lies behind all frames
        if version:
            _value(bits)
        else:
            while bits.read(9) >> 8:
                pass
    if bits.read(1):
        bits.read(8)  # crcCheckSum
    return StreamMuxConfig(config, parsed, frames)


class LatmDepacketizer:
    """`push` packets in order, then take `frames`, one for each AAC frame.

    `clock_rate` and `channels` are those of rtpmap, `parameters` those of fmtp with names in lower case. The
    constructor raises AacError for parameters that are not read. Nothing is raised later: what is broken is
    dropped and counted in `damaged`.
    """

    parameters: VideoParameters | None = None

    def __init__(self, clock_rate: int, channels: int, parameters: Mapping[str, str]) -> None:
        self.damaged = 0
        "AudioMuxElements dropped because a part was missing or not readable."
        self._clock_rate = clock_rate
        config = sdp_config(parameters)
        self._in_band = parameters.get("cpresent", "0" if config else "1") != "0"
        self._mux: StreamMuxConfig | None = None
        if config:
            self._mux = read_stream_mux_config(BitReader(config + bytes(_MISSING_BYTES)))
        elif not self._in_band:
            config = aac_lc_config(clock_rate, channels or 1)
            self._mux = StreamMuxConfig(config, parse_audio_specific_config(config), 1)
        self._rtpmap_channels = channels
        self._gap = True
        self._after_loss = False
        self._timestamp = 0
        self._arrival_ns = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._frames: list[Frame] = []

    @property
    def config(self) -> bytes:
        """The AudioSpecificConfig in force; empty while it is still to come in band."""
        return self._mux.config if self._mux else b""

    @property
    def channels(self) -> int:
        """What a decoder gives, as far as it is known."""
        return (self._mux.parsed.channels if self._mux else 0) or self._rtpmap_channels or 1

    def push(
        self, timestamp: int, marker: bool, payload: bytes, arrival_ns: int, after_loss: bool = False
    ) -> None:
        """Takes the next RTP packet; `after_loss` when packets before it are missing."""
        if after_loss:
            if self._parts:
                self._break()
            self._gap = self._after_loss = True
        if self._parts and timestamp != self._timestamp:
            self._complete()
        self._timestamp = timestamp
        self._arrival_ns = arrival_ns
        if payload:
            self._parts.append(payload)
            self._size += len(payload)
            if self._size > MAX_ELEMENT_BYTES:
                self._break()
                self._after_loss = True  # what still comes of it begins with no length either
        if marker and self._parts:
            self._complete()

    def frames(self) -> list[Frame]:
        """The frames that were completed since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def _complete(self) -> None:
        try:
            mux, units = self._element(BitReader(b"".join(self._parts)))
        except AacError:
            self._break()
            return
        self._parts = []
        self._size = 0
        self._after_loss = False
        self._mux = mux
        for number, unit in enumerate(units):
            if unit:
                timestamp = self._timestamp + mux.parsed.ticks(number, self._clock_rate) & 0xFFFF_FFFF
                self._frames.append(Frame(timestamp, self._arrival_ns, True, self._gap, (unit,)))
                self._gap = False

    def _element(self, bits: BitReader) -> tuple[StreamMuxConfig, list[bytes]]:
        """AudioMuxElement(), table 1.41; raises AacError."""
        mux = self._mux
        if self._in_band and not bits.read(1):
            mux = read_stream_mux_config(bits)
        if mux is None:
            raise AacError("no StreamMuxConfig came yet")
        units = []
        for _ in range(mux.frames):
            size = last = bits.read(8)
            while last == 0xFF:
                last = bits.read(8)
                size += last
            units.append(bits.read_bytes(size))
        if self._after_loss and bits.left >= 8:
            # The beginning may be missing, and then the lengths were none.
            raise AacError("octets are left over after a loss")
        return mux, units

    def _break(self) -> None:
        """Drops what is under way."""
        self.damaged += 1
        self._gap = True
        self._after_loss = False
        self._parts = []
        self._size = 0
