"""Which tracks of a session description are read, and how: encoding name to depacketizer and bus codec."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from common.aac import AacError
from common.errors import CameraRefusal
from ingest.codecs.aac import AacDepacketizer
from ingest.codecs.audio import AudioDepacketizer
from ingest.codecs.frame import Depacketizer
from ingest.codecs.h264 import H264Depacketizer
from ingest.codecs.h265 import H265Depacketizer
from ingest.codecs.jpeg import JpegDepacketizer
from ingest.codecs.latm import LatmDepacketizer
from ingest.codecs.sprop import h264_parameter_sets, h265_parameter_sets
from ingest.rtsp.messages import shown
from ingest.rtsp.sdp import Track

_READ = {
    "video": "H.264, H.265 or MJPEG",
    "audio": "AAC, G.711, G.722, L16 or Opus",
}
_FRAMESIZE = re.compile(r"([1-9]\d{0,4})-([1-9]\d{0,4})")  # RFC 6064 section 6.2
_CALLED = {"video": "picture", "audio": "sound"}
_AAC = (AacDepacketizer, LatmDepacketizer)


class UnreadableTrack(CameraRefusal):
    """A camera sends what is not read; the message says what it sends and what to set."""


@dataclass(frozen=True, slots=True)
class TrackFormat:
    """How one track is read; of one connection, as the depacketizer has state."""

    codec: str
    "As on the bus: H264, H265, JPEG, AAC, OPUS, PCMA, PCMU, G722, L16."
    clock_rate: int
    "Ticks per second of RTP timestamps; of G.722 half its sampling rate."
    depacketizer: Depacketizer
    sdp_channels: int
    "Of audio before any packet came, 0 for video."

    @property
    def channels(self) -> int:
        """Of audio, 0 for video; of AAC it may change with the configuration in band."""
        if isinstance(self.depacketizer, _AAC):
            return self.depacketizer.channels
        return self.sdp_channels

    @property
    def config(self) -> bytes:
        """AudioSpecificConfig of AAC as known now, else empty; it may come or change in band."""
        if isinstance(self.depacketizer, _AAC):
            return self.depacketizer.config
        return b""


def _h264(track: Track, parameters: Mapping[str, str]) -> TrackFormat:
    mode = parameters.get("packetization-mode", "") or "0"
    if mode not in ("0", "1"):
        raise UnreadableTrack(
            f"camera sends H.264 in packetization mode {shown(mode)}, only 0 and 1 are read; set it to 1"
        )
    return TrackFormat("H264", track.clock_rate, H264Depacketizer(h264_parameter_sets(parameters)), 0)


def _h265(track: Track, parameters: Mapping[str, str]) -> TrackFormat:
    # Section 7.1 of RFC 7798: above 0 every packet has a DONL field, and pictures come out of decoding order.
    if difference := parameters.get("sprop-max-don-diff", "").strip("0"):
        raise UnreadableTrack(
            f"camera sends H.265 out of decoding order (sprop-max-don-diff {shown(difference)}), which is "
            "not read; turn interleaving off or set it to H.264"
        )
    return TrackFormat("H265", track.clock_rate, H265Depacketizer(h265_parameter_sets(parameters)), 0)


def _jpeg(track: Track, parameters: Mapping[str, str]) -> TrackFormat:
    # Pictures above 2040 pixels have no size in their packets (RFC 2435 section 3.1.5).
    size = _FRAMESIZE.fullmatch(parameters.get("framesize", ""))
    depacketizer = JpegDepacketizer((int(size[1]), int(size[2])) if size else None)
    return TrackFormat("JPEG", track.clock_rate, depacketizer, 0)


def _aac(track: Track, parameters: Mapping[str, str]) -> TrackFormat:
    depacketizer = LatmDepacketizer if track.encoding == "MP4A-LATM" else AacDepacketizer
    try:
        made = depacketizer(track.clock_rate, track.channels, parameters)
    except AacError as error:
        raise UnreadableTrack(
            f"camera sends MPEG-4 audio that is not read: {shown(str(error))}; set it to AAC-LC or G.711"
        ) from error
    return TrackFormat("AAC", track.clock_rate, made, made.channels)


def _opus(track: Track, _: Mapping[str, str]) -> TrackFormat:
    # Always 2 (RFC 7587 section 7), whatever a camera writes: each packet says how many it has.
    return TrackFormat("OPUS", track.clock_rate, AudioDepacketizer(), 2)


def _samples(track: Track, _: Mapping[str, str]) -> TrackFormat:
    channels = track.channels or 1
    sample_bytes = 2 if track.encoding == "L16" else 1
    return TrackFormat(track.encoding, track.clock_rate, AudioDepacketizer(channels * sample_bytes), channels)


_FORMATS: dict[tuple[Literal["video", "audio"], str], Callable[[Track, Mapping[str, str]], TrackFormat]] = {
    ("video", "H264"): _h264,
    ("video", "H265"): _h265,
    ("video", "JPEG"): _jpeg,
    ("audio", "MPEG4-GENERIC"): _aac,
    ("audio", "MP4A-LATM"): _aac,
    ("audio", "OPUS"): _opus,
    ("audio", "PCMA"): _samples,
    ("audio", "PCMU"): _samples,
    ("audio", "G722"): _samples,
    ("audio", "L16"): _samples,
}


def depacketizer_for(track: Track) -> TrackFormat:
    """How to read a track; raises UnreadableTrack."""
    make = _FORMATS.get((track.kind, track.encoding))
    if make is None:
        raise UnreadableTrack(
            f"camera sends its {_CALLED[track.kind]} as {shown(track.encoding)}, which is not read; "
            f"set it to {_READ[track.kind]}"
        )
    if track.clock_rate <= 0:
        raise UnreadableTrack(
            f"camera describes its {track.encoding} {_CALLED[track.kind]} with a clock rate of "
            f"{track.clock_rate}; set it to another codec, or update the camera"
        )
    return make(track, dict(track.parameters))


def problem_with(track: Track) -> str | None:
    """Why a track cannot be read and what to set, None when it can."""
    try:
        depacketizer_for(track)
    except UnreadableTrack as error:
        return str(error)
    return None


def readable(track: Track) -> bool:
    """True when `depacketizer_for` takes it."""
    return problem_with(track) is None
