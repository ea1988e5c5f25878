"""RTP payload formats of sound, all mono (RFC 7587, RFC 3551, RFC 3640)."""

from dataclasses import dataclass

from ingest.simulated.options import AudioCodec

# AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1): object type 2 (LC), frequency index 8, one channel.
_AAC_16_KHZ_MONO = (2 << 11 | 8 << 7 | 1 << 3).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """One RTP payload format, and the encoder that fills it."""

    encoder: str
    payload_type: int
    rtpmap: str
    clock_rate: int
    "Ticks per second of RTP timestamps."
    sample_rate: int
    frame_samples: int
    bitrate: int | None = None
    "bit/s, where the encoder can choose."


AUDIO_FORMATS = {
    # The rtpmap of Opus always says 48000/2 (RFC 7587 section 7).
    "opus": AudioFormat("libopus", 97, "opus/48000/2", 48_000, 48_000, 960, 32_000),
    "pcma": AudioFormat("pcm_alaw", 8, "PCMA/8000", 8_000, 8_000, 160),
    "pcmu": AudioFormat("pcm_mulaw", 0, "PCMU/8000", 8_000, 8_000, 160),
    # G.722 samples at 16 kHz, but its RTP clock is 8 kHz (RFC 3551 section 4.5.2).
    "g722": AudioFormat("g722", 9, "G722/8000", 8_000, 16_000, 320),
    "aac": AudioFormat("aac", 97, "mpeg4-generic/16000/1", 16_000, 16_000, 1024, 32_000),
    "l16": AudioFormat("pcm_s16be", 97, "L16/16000/1", 16_000, 16_000, 320),
}


def format_parameters(codec: AudioCodec) -> str | None:
    """fmtp of the payload format; None where it has none."""
    if codec == "opus":
        return "sprop-stereo=0"
    if codec == "aac":  # RFC 3640 section 3.3.6
        return (
            "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;"
            f"config={_AAC_16_KHZ_MONO.hex()}"
        )
    return None
