"""RTP payloads to AAC frames (RFC 3640: MPEG4-GENERIC in mode AAC-hbr or AAC-lbr).

A packet holds AU headers and then whole access units, or a fragment of one; an access unit is an AAC frame.
Not all cameras and servers keep to that:

- No `config` in SDP: AAC-LC of the rate and channels that rtpmap says.
- ADTS headers in front of the frames (they are taken away), even without any AU header (anjvision).
- AU-size of a fragment instead of its access unit (gortsplib): the marker ends it.
- No marker ever: the first frame waits for the next timestamp, then markers are ignored.
- Parameters without indexLength (AMS32): it is 0 then, as section 4.1 says.

Interleaving (section 3.2.3.2) is not read: such packets are dropped and counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from common.aac import AacError, BitReader, aac_lc_config, parse_audio_specific_config, split_adts
from ingest.codecs.frame import Frame, VideoParameters

MAX_ACCESS_UNIT_BYTES = 8191  # what the 13 bits of AU-size in mode AAC-hbr hold
MAX_ACCESS_UNITS = 256  # of a packet
_MAX_FIELD_BITS = 32
_AU_HEADERS_LENGTH_BYTES = 2

# sizeLength, indexLength, indexDeltaLength (sections 3.3.5 and 3.3.6); a missing mode is the one of AAC that
# everybody uses. Mode generic says nothing but what the other parameters say.
_MODES = {"": (13, 3, 3), "aac-hbr": (13, 3, 3), "generic": (13, 3, 3), "aac-lbr": (6, 2, 2)}


@dataclass(frozen=True, slots=True)
class AuHeaderLayout:
    """Bits of each field of an AU header, 0 when it is not there (sections 3.2.1.1 and 4.1)."""

    size: int = 13
    index: int = 3
    index_delta: int = 3
    cts_delta: int = 0
    dts_delta: int = 0
    random_access: int = 0
    stream_state: int = 0
    auxiliary_size: int = 0
    "Of auxiliary-data-size, which stands once behind all AU headers (section 3.2.2)."


def au_header_layout(parameters: Mapping[str, str]) -> AuHeaderLayout:
    """Of the fmtp parameters, names in lower case; raises AacError."""
    mode = parameters.get("mode", "").lower()
    if mode not in _MODES:
        raise AacError(f"mode {mode} is not read, only AAC-hbr and AAC-lbr")

    def bits(name: str, default: int = 0) -> int:
        text = parameters.get(name, "") or str(default)
        if not text.isdecimal() or len(text) > 2 or int(text) > _MAX_FIELD_BITS:
            raise AacError(f"{name} is not a number up to {_MAX_FIELD_BITS}")
        return int(text)

    size, index, index_delta = _MODES[mode]
    if parameters.get("sizelength"):
        size, index, index_delta = bits("sizelength"), bits("indexlength"), bits("indexdeltalength")
    if size == 0:
        raise AacError("sizeLength is 0")
    return AuHeaderLayout(
        *(size, index, index_delta),
        cts_delta=bits("ctsdeltalength"),
        dts_delta=bits("dtsdeltalength"),
        random_access=min(bits("randomaccessindication"), 1),
        stream_state=bits("streamstateindication"),
        auxiliary_size=bits("auxiliarydatasizelength"),
    )


def sdp_config(parameters: Mapping[str, str]) -> bytes:
    """The octets of `config` (hexadecimal), empty without; raises AacError."""
    text = parameters.get("config", "").strip("\"' ")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise AacError("config is not hexadecimal") from None


class AacDepacketizer:
    """`push` packets in order, then take `frames`, one for each access unit.

    `clock_rate` and `channels` are those of rtpmap, `parameters` those of fmtp with names in lower case. The
    constructor raises AacError for parameters that are not read. Nothing is raised later: what is broken is
    dropped and counted in `damaged`.
    """

    parameters: VideoParameters | None = None

    def __init__(self, clock_rate: int, channels: int, parameters: Mapping[str, str]) -> None:
        self.damaged = 0
        "Access units, or packets that could not be taken apart, that were dropped."
        self.marker_is_end = True
        "False for a camera that sets no marker."
        self._layout = au_header_layout(parameters)
        self._plain = self._layout == AuHeaderLayout()
        self._clock_rate = clock_rate
        self._rtpmap_channels = channels
        config = sdp_config(parameters)
        self._config_assumed = not config
        self._take_config(config or aac_lc_config(clock_rate, channels or 1))
        self._gap = True
        self._timestamp = 0
        self._arrival_ns = 0
        self._fragments: list[bytes] = []
        self._size = 0
        self._au_size = 0
        self._frames: list[Frame] = []

    def push(
        self, timestamp: int, marker: bool, payload: bytes, arrival_ns: int, after_loss: bool = False
    ) -> None:
        """Takes the next RTP packet; `after_loss` when packets before it are missing."""
        if after_loss:
            self._gap = True
            if self._fragments:
                self._break()
        if self._fragments and timestamp != self._timestamp:
            self._end_without_marker()
        self._timestamp = timestamp
        self._arrival_ns = arrival_ns
        if not payload:
            return
        if self._plain and payload[:2] == b"\x00\x10" and len(payload) > 4:
            # Nearly all packets: one AU header of 16 bits.
            headers = [(payload[2] << 5 | payload[3] >> 3, 0)]
            start = 4
        else:
            try:
                headers, start = self._headers(payload)
            except AacError:
                if not self._adts(0, payload):
                    self._break()
                return
        size = headers[0][0]
        if size == 0 or start >= len(payload):
            self._break()
        elif len(headers) > 1 or (
            size <= len(payload) - start and not self._fragments and (marker or not self.marker_is_end)
        ):
            self._whole(headers, payload, start)
        else:
            self._fragment(marker, size, payload[start : start + size])

    def frames(self) -> list[Frame]:
        """The frames that were completed since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def _take_config(self, config: bytes) -> None:
        self._parsed = parse_audio_specific_config(config)
        self.config = config
        "The AudioSpecificConfig in force."
        self.channels = self._parsed.channels or self._rtpmap_channels or 1

    def _headers(self, payload: bytes) -> tuple[list[tuple[int, int]], int]:
        """AU-size and ticks after the RTP timestamp of each, and where the first begins; raises AacError."""
        layout = self._layout
        end = 8 * _AU_HEADERS_LENGTH_BYTES + int.from_bytes(payload[:_AU_HEADERS_LENGTH_BYTES], "big")
        bits = BitReader(payload)
        bits.read(8 * _AU_HEADERS_LENGTH_BYTES)
        if end > 8 * len(payload):
            raise AacError("cut off: the AU headers are longer than the packet")
        headers: list[tuple[int, int]] = []
        # Fewer bits than an AU-size are left over where indexLength is missing from SDP only.
        while end - bits.position >= layout.size:
            size = bits.read(layout.size)
            index = bits.read(layout.index_delta if headers else layout.index)
            ticks = self._parsed.ticks(len(headers), self._clock_rate)
            if layout.cts_delta and bits.read(1):
                ticks = bits.read(layout.cts_delta)
                ticks -= ticks >> (layout.cts_delta - 1) << layout.cts_delta
            if layout.dts_delta and bits.read(1):
                bits.read(layout.dts_delta)
            bits.read(layout.random_access + layout.stream_state)
            if index and headers:
                raise AacError("access units are interleaved: AU-Index-delta is not 0")
            if size == 0 or len(headers) == MAX_ACCESS_UNITS:
                raise AacError("AU-size is 0, or too many AU headers")
            headers.append((size, ticks))
        if not headers:
            raise AacError("no AU header")
        start = end + 7 >> 3
        if layout.auxiliary_size:
            bits = BitReader(payload[start:])
            auxiliary = bits.read(layout.auxiliary_size)
            start += bits.position + auxiliary + 7 >> 3
        return headers, start

    def _whole(self, headers: list[tuple[int, int]], payload: bytes, start: int) -> None:
        if self._fragments:
            self._break()
        for size, ticks in headers:
            unit = payload[start : start + size]
            start += size
            if len(unit) < size:
                self._break()
                return
            self._add(ticks, unit)

    def _fragment(self, marker: bool, size: int, data: bytes) -> None:
        """AU-size is the whole access unit's (section 3.2.1.1); if it is the fragment's, the marker ends."""
        if not self._fragments:
            self._size = 0
            self._au_size = size if size > len(data) else 0
        self._fragments.append(data)
        self._size += len(data)
        if max(self._size, self._au_size) > MAX_ACCESS_UNIT_BYTES:
            self._break()
        elif self._size == self._au_size or (marker and not self._au_size):
            self._add_fragments()
        elif self._size > self._au_size > 0:
            self._break()

    def _end_without_marker(self) -> None:
        if len(self._fragments) == 1 and not self._au_size:
            # It was whole, and nothing is missing here.
            self.marker_is_end = False
            self._add_fragments()
        else:
            self._break()

    def _add_fragments(self) -> None:
        unit = b"".join(self._fragments)
        self._fragments = []
        self._add(0, unit)

    def _add(self, ticks: int, unit: bytes) -> None:
        # No raw frame looks like ADTS: it would begin with its end (ID_END, ISO/IEC 14496-3 table 4.85).
        if unit[0] == 0xFF and self._adts(ticks, unit):
            return
        timestamp = self._timestamp + ticks & 0xFFFF_FFFF
        self._frames.append(Frame(timestamp, self._arrival_ns, True, self._gap, (unit,)))
        self._gap = False

    def _adts(self, ticks: int, data: bytes) -> bool:
        """Takes ADTS frames apart; False when it is none."""
        adts = split_adts(data)
        if adts is None:
            return False
        if self._config_assumed:
            self._config_assumed = False
            self._take_config(adts.config)
        for number, unit in enumerate(adts.frames):
            at = self._timestamp + ticks + self._parsed.ticks(number, self._clock_rate)
            self._frames.append(Frame(at & 0xFFFF_FFFF, self._arrival_ns, True, self._gap, (unit,)))
            self._gap = False
        return True

    def _break(self) -> None:
        """Drops what is under way."""
        self.damaged += 1
        self._gap = True
        self._fragments = []
