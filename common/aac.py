"""AAC as far as a relay needs it: AudioSpecificConfig and ADTS (ISO/IEC 14496-3 clauses 1.6.2.1, 1.A.2.2)."""

from dataclasses import dataclass

from common.errors import PeerError

SAMPLE_RATES = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)  # table 1.18, by samplingFrequencyIndex
_EXPLICIT_RATE = 15

# audioObjectType, table 1.17.
AAC_MAIN = 1
AAC_LC = 2
AAC_LTP = 4
SBR = 5
ER_AAC_LC = 17
ER_AAC_LD = 23
PS = 29
_SYNC_SBR = 0x2B7
_SYNC_PS = 0x548
_ERROR_RESILIENT = frozenset({ER_AAC_LC, ER_AAC_LD})
_READ = frozenset({AAC_MAIN, AAC_LC, AAC_LTP}) | _ERROR_RESILIENT

# Table 1.19, by channelConfiguration; 0 is a program_config_element.
_CHANNELS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8, 11: 7, 12: 8, 14: 8}

MAX_CONFIG_BYTES = 256
_ADTS_HEADER_BYTES = 7
_ADTS_CRC_BYTES = 2


class AacError(PeerError):
    """Bytes that are not valid MPEG-4 audio syntax, or a kind of it that is not read."""


class BitReader:
    """Takes bits from the front, the highest first; raises AacError past the end."""

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0
        "Bits taken so far."

    @property
    def left(self) -> int:
        """Bits that are still there."""
        return 8 * len(self._data) - self.position

    def read(self, bits: int) -> int:
        """The next `bits` as an unsigned number."""
        end = self.position + bits
        if end > 8 * len(self._data):
            raise AacError(
                f"cut off: {bits} bits are wanted after bit {self.position} of {len(self._data)} octets"
            )
        covering = int.from_bytes(self._data[self.position >> 3 : (end + 7) >> 3], "big")
        self.position = end
        return covering >> (-end & 7) & ((1 << bits) - 1)

    def read_bytes(self, count: int) -> bytes:
        """The next octets, which need not begin at an octet of the data."""
        if self.position & 7:
            return self.read(8 * count).to_bytes(count, "big")
        start = self.position >> 3
        if start + count > len(self._data):
            raise AacError(f"cut off: {count} octets are wanted after octet {start} of {len(self._data)}")
        self.position += 8 * count
        return self._data[start : start + count]


@dataclass(frozen=True, slots=True)
class AudioSpecificConfig:
    """What a decoder has to know before the first frame (clause 1.6.2.1)."""

    object_type: int
    "audioObjectType of the core: 2 is AAC-LC."
    sample_rate: int
    "Hz of the core, half of what is heard with SBR."
    channels: int
    "What a decoder gives, parametric stereo counts 2; 0 when a program_config_element says it."
    frame_length: int
    "Samples per channel of a frame of the core."

    def ticks(self, frames: int, clock_rate: int) -> int:
        """How long `frames` last in units of an RTP clock, which may run at the rate with SBR or without."""
        return frames * self.frame_length * clock_rate // self.sample_rate


def _object_type(bits: BitReader) -> int:
    kind = bits.read(5)
    return kind if kind < 31 else 32 + bits.read(6)


def _sample_rate(bits: BitReader) -> int:
    index = bits.read(4)
    rate = bits.read(24) if index == _EXPLICIT_RATE else (*SAMPLE_RATES, 0, 0)[index]
    if rate == 0:
        raise AacError(f"sampling frequency index {index} is reserved")
    return rate


def read_audio_specific_config(bits: BitReader) -> AudioSpecificConfig:
    """Takes an AudioSpecificConfig() without extension behind it (clause 1.6.2.1); raises AacError."""
    object_type = _object_type(bits)
    sample_rate = _sample_rate(bits)
    configuration = bits.read(4)
    parametric_stereo = object_type == PS
    if object_type in (SBR, PS):
        _sample_rate(bits)
        object_type = _object_type(bits)
    if object_type not in _READ:
        raise AacError(
            f"audio object type {object_type} is not read, only AAC (LC, Main, LTP, LD) and HE-AAC"
        )
    if configuration not in _CHANNELS:
        raise AacError(f"channel configuration {configuration} is reserved")
    # GASpecificConfig(), clause 4.4.1.
    short = bits.read(1)
    if bits.read(1):
        bits.read(14)  # coreCoderDelay
    extension = bits.read(1)
    if configuration and extension and object_type in _ERROR_RESILIENT:
        bits.read(3)  # data resilience
    if configuration and extension:
        bits.read(1)  # extensionFlag3
    if configuration and object_type in _ERROR_RESILIENT and bits.read(2) > 1:
        raise AacError("MPEG-4 error protection (epConfig) is not read")
    frame_length = (480 if short else 512) if object_type == ER_AAC_LD else (960 if short else 1024)
    channels = 2 if parametric_stereo and configuration == 1 else _CHANNELS[configuration]
    return AudioSpecificConfig(object_type, sample_rate, channels, frame_length)


def skip_sync_extension(bits: BitReader) -> None:
    """Takes the extension that says about SBR and parametric stereo, if it stands here (clause 1.6.5)."""
    start = bits.position
    if bits.left < 17 or bits.read(11) != _SYNC_SBR or bits.read(5) != SBR:
        bits.position = start
        return
    if bits.read(1):
        _sample_rate(bits)
        start = bits.position
        if bits.left < 12 or bits.read(11) != _SYNC_PS:
            bits.position = start
        else:
            bits.read(1)


def parse_audio_specific_config(data: bytes) -> AudioSpecificConfig:
    """Reads a whole one, as SDP and MP4 hold it, without what extends the core's part; raises AacError."""
    if len(data) > MAX_CONFIG_BYTES:
        raise AacError(f"configuration of {len(data)} octets, at most {MAX_CONFIG_BYTES} are read")
    return read_audio_specific_config(BitReader(data))


def aac_lc_config(sample_rate: int, channels: int) -> bytes:
    """The AudioSpecificConfig of plain AAC-LC; raises AacError for what AAC-LC does not have."""
    configuration = next((key for key, count in _CHANNELS.items() if key and count == channels), None)
    if sample_rate not in SAMPLE_RATES or configuration is None:
        raise AacError(f"AAC has no {sample_rate} Hz with {channels} channels")
    return _config(AAC_LC, SAMPLE_RATES.index(sample_rate), configuration)


def _config(object_type: int, rate_index: int, configuration: int) -> bytes:
    return (object_type << 11 | rate_index << 7 | configuration << 3).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Adts:
    """Frames that were found in ADTS (clause 1.A.2.2), without their headers."""

    config: bytes
    "The AudioSpecificConfig that the first header stands for."
    frames: tuple[bytes, ...]


def split_adts(data: bytes) -> Adts | None:
    """Takes the ADTS headers away; None when `data` is not exactly a row of ADTS frames of one block each.

    SSR, which nobody decodes, counts as none.
    """
    frames = []
    position = 0
    while position < len(data):
        header = data[position : position + _ADTS_HEADER_BYTES]
        # syncword, layer 0, a frame_length of 13 bits, number_of_raw_data_blocks_in_frame 0
        if len(header) < _ADTS_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[6] & 3:
            return None
        length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
        start = position + _ADTS_HEADER_BYTES + (0 if header[1] & 1 else _ADTS_CRC_BYTES)
        position += length
        if start >= position or position > len(data):
            return None
        frames.append(data[start:position])
    if not frames:
        return None
    object_type = (data[2] >> 6) + 1  # profile_ObjectType counts from 0 (table 1.A.7)
    rate_index = data[2] >> 2 & 0xF
    if object_type not in _READ or rate_index >= len(SAMPLE_RATES):
        return None
    return Adts(_config(object_type, rate_index, (data[2] & 1) << 2 | data[3] >> 6), tuple(frames))
