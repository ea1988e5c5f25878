"""The tone as RTP payloads: Opus, G.711, G.722, AAC or L16."""

from fractions import Fraction

from av import CodecContext
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from ingest.simulated.audio_formats import AUDIO_FORMATS, AudioFormat
from ingest.simulated.options import AudioCodec
from ingest.simulated.payloads import aac_payload
from ingest.simulated.tone import tone


def _open(form: AudioFormat) -> AudioCodecContext:
    encoder = CodecContext.create(form.encoder, "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate = form.sample_rate
    encoder.layout = "mono"
    formats = [item.name for item in encoder.codec.audio_formats or ()]
    encoder.format = "s16" if "s16" in formats else formats[0]
    encoder.time_base = Fraction(1, form.sample_rate)
    if form.bitrate is not None:
        encoder.bit_rate = form.bitrate
    encoder.open()
    return encoder


class AudioEncoder:
    """The tone of UTC; `next` gives it frame by frame from sample number `position` on."""

    def __init__(self, codec: AudioCodec, position: int, utc_ns: int) -> None:
        self.format = AUDIO_FORMATS[codec]
        self._is_aac = codec == "aac"
        self.position = position
        "Number of the next sample; sample 0 is tick 0."
        self._since_1970 = utc_ns * self.format.sample_rate // 1_000_000_000 - position
        self._encoder = _open(self.format)

    def next(self) -> list[tuple[bytes, bool, int]]:
        """Takes one frame of sound in; payloads with their marker bit and tick, as they come out."""
        form = self.format
        frame = AudioFrame(format="s16", layout="mono", samples=form.frame_samples)
        samples = tone(self._since_1970 + self.position, form.frame_samples, form.sample_rate)
        frame.planes[0].update(samples)
        frame.sample_rate = form.sample_rate
        frame.pts = self.position
        frame.time_base = Fraction(1, form.sample_rate)
        self.position += form.frame_samples
        coded = []
        for packet in self._encoder.encode(frame):
            tick = (packet.pts or 0) * form.clock_rate // form.sample_rate
            data = bytes(packet)
            # The marker ends an AU (RFC 3640 section 3.1); elsewhere it begins a talk spurt (RFC 3551).
            coded.append((aac_payload(data), True, tick) if self._is_aac else (data, False, tick))
        return coded
