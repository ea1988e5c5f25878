"""One stream of a PyAV container as a track: its packets become frames."""

from typing import Any, Literal, TypeAlias

from av import Packet
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from common.aac import split_adts
from common.errors import CameraRefusal
from common.units import TIMESTAMP_MODULUS, VIDEO_CLOCK_RATE
from ingest.codecs.frame import Depacketizer, Frame, VideoParameters
from ingest.codecs.h264 import H264Depacketizer
from ingest.codecs.h265 import H265Depacketizer
from ingest.pyav.packets import NalFormat, PacketError, nal_format

CODECS = {
    "h264": "H264",
    "hevc": "H265",
    "mjpeg": "JPEG",
    "aac": "AAC",
    "opus": "OPUS",
    "pcm_alaw": "PCMA",
    "pcm_mulaw": "PCMU",
}
OPUS_CLOCK_RATE = 48_000  # RFC 7587 section 4.1
MAX_PACKET_BYTES = 8 << 20
FRAMES_PER_S = 25  # where neither the container nor the codec says how long a picture lasts

MediaStream = VideoStream | AudioStream
MediaPacket: TypeAlias = "Packet[Any]"


class AvTrack:
    """Implements SourceTrack. The reading thread feeds it, the event loop looks at its figures.

    `untimed` containers have no timestamps: the time of arrival stands in. Raises PacketError.
    """

    lost = reordered = 0
    jitter_s = 0.0
    passed_over = None

    def __init__(self, stream: MediaStream, untimed: bool) -> None:
        context = stream.codec_context
        self.kind: Literal["video", "audio"]
        self.codec = CODECS[context.name]
        self.clock_rate = VIDEO_CLOCK_RATE
        self.channels = 0
        self.config = b""
        self.last_packet_at: float | None = None
        self.malformed = 0
        self.dropped = 0
        "Frames that the event loop had no time for."
        self._untimed = untimed
        self._depacketizer: Depacketizer | None = None
        self._picture: VideoParameters | None = None
        if isinstance(stream, VideoStream):
            self.kind = "video"
            if self.codec == "JPEG":
                self._picture = VideoParameters(None, None, stream.width, stream.height, 0)
            else:
                # Each NAL unit is a payload of its own in RTP's formats too (RFC 6184 5.6, RFC 7798 4.4.1).
                self._depacketizer = H264Depacketizer() if self.codec == "H264" else H265Depacketizer()
        else:
            self.kind = "audio"
            self.clock_rate = OPUS_CLOCK_RATE if self.codec == "OPUS" else stream.codec_context.sample_rate
            self.channels = stream.codec_context.channels
        self.begin(stream)

    def begin(self, stream: MediaStream) -> None:
        """Goes on with a stream of the same layout: the next round of a file."""
        assert stream.time_base is not None
        self._numerator = stream.time_base.numerator * self.clock_rate
        self._denominator = stream.time_base.denominator
        self._expected = 0
        self._after_loss = False
        self._incomplete = 0
        self._nals = NalFormat(0, ())
        self._adts = False
        self._configure(stream.codec_context.extradata or b"")

    def _configure(self, extradata: bytes) -> None:
        if self._depacketizer is not None:
            self._nals = nal_format(self.codec, extradata)
            self._new_sets = self._nals.parameter_sets
        elif self.codec == "AAC":
            self._adts = not extradata
            self.config = extradata or self.config

    @property
    def layout(self) -> tuple[str, int, int]:
        """What stays the same in every round of a file."""
        return self.codec, self.clock_rate, self.channels

    @property
    def parameters(self) -> VideoParameters | None:
        return self._depacketizer.parameters if self._depacketizer is not None else self._picture

    @property
    def damaged(self) -> int:
        return self.dropped + (self._depacketizer.damaged if self._depacketizer is not None else 0)

    def times(self, packet: MediaPacket, utc_ns: int) -> tuple[int, int, int]:
        """When the packet is decoded, presented, and over, in ticks that do not wrap."""
        if self._untimed:
            now = utc_ns * self.clock_rate // 1_000_000_000
            return now, now, now
        decoded, presented = packet.dts, packet.pts
        if decoded is None:
            decoded = presented
        if presented is None:
            presented = decoded
        if decoded is None or presented is None:  # raw H.264: its pictures follow each other
            start = begin = self._expected
        else:
            start = decoded * self._numerator // self._denominator
            begin = presented * self._numerator // self._denominator
        length = (packet.duration or 0) * self._numerator // self._denominator
        length = length or self.clock_rate // FRAMES_PER_S
        self._expected = start + length
        return start, begin, begin + length

    def frames(self, packet: MediaPacket, ticks: int, arrival_ns: int) -> list[Frame]:
        """The frames that this packet completes; what cannot be read is counted and leaves a gap."""
        try:
            if packet.is_corrupt:
                # FFmpeg says it of the packet before where it puts pictures together itself (MPEG-TS).
                self._incomplete = 2
            if self._incomplete or packet.size > MAX_PACKET_BYTES:
                self._incomplete = max(0, self._incomplete - 1)
                raise PacketError("packet arrived incomplete, or is too large")
            if packet.has_sidedata("new_extradata"):
                self._configure(bytes(packet.get_sidedata("new_extradata")))
            timestamp = ticks % TIMESTAMP_MODULUS
            data = bytes(packet)
            if self._depacketizer is not None:
                return self._pictures(self._depacketizer, data, timestamp, arrival_ns)
            nals: tuple[bytes, ...] = (data,)
            if self._adts:
                if (adts := split_adts(data)) is None:
                    raise PacketError("AAC with neither configuration nor ADTS headers")
                self.config, nals = adts.config, adts.frames
            elif self.codec == "JPEG" and data[:2] != b"\xff\xd8":
                raise PacketError("picture is no JPEG file")
        except PacketError:
            self.malformed += 1
            self._after_loss = True
            return []
        gap, self._after_loss = self._after_loss, False
        return [Frame(timestamp, arrival_ns, True, gap, nals)]

    def _pictures(
        self, depacketizer: Depacketizer, data: bytes, timestamp: int, arrival_ns: int
    ) -> list[Frame]:
        nals = [*self._new_sets, *self._nals.split(data)]
        self._new_sets = ()
        last = len(nals) - 1
        for index, nal in enumerate(nals):
            depacketizer.push(timestamp, index == last, nal, arrival_ns, self._after_loss)
            self._after_loss = False
        return depacketizer.frames()


def select(container: InputContainer, what: str, audio: bool) -> list[MediaStream]:
    """The video, then the audio where one is wanted, comes and can be read; the others are discarded.

    Raises CameraRefusal where there is no video, or one of another codec.
    """
    best = container.streams.best("video")
    videos: list[VideoStream] = [
        stream for stream in container.streams.video if Disposition.attached_pic not in stream.disposition
    ]
    if not videos:
        raise CameraRefusal(f"{what} has no video; check the path")
    videos.sort(key=lambda stream: stream is not best)
    video = next((stream for stream in videos if codec_name(stream) in CODECS), None)
    if video is None:
        raise CameraRefusal(
            f"{what} sends its video as {codec_name(videos[0])}; set it to H.264, H.265 or MJPEG"
        )
    selected: list[MediaStream] = [video]
    if audio:
        selected += [stream for stream in container.streams.audio if _is_heard(stream)][:1]
    for stream in container.streams:
        if stream not in selected:
            stream.discard = Discard.all
    return selected


def _is_heard(stream: AudioStream) -> bool:
    # What was declared and did not come while FFmpeg looked has no sample rate.
    return codec_name(stream) in CODECS and stream.codec_context.sample_rate > 0


def why_silent(stream: AudioStream) -> str:
    """What the source does so that its sound is left out, in words."""
    codec = codec_name(stream)
    if codec in CODECS:
        return f"declares sound as {codec} and sends none, so it is left out"
    return f"sends its sound as {codec}, which is not read"


def codec_name(stream: MediaStream) -> str:
    """FFmpeg's name of the stream's codec."""
    # PyAV makes no context for a codec that this FFmpeg cannot decode.
    return stream.codec_context.name if stream.codec_context else "an unknown codec"
