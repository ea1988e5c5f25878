"""One path of the simulated camera: picture and sound on one clock, made while somebody plays."""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence

from common.clock import Clock
from common.units import VIDEO_CLOCK_RATE
from ingest.simulated.audio_encoder import AudioEncoder
from ingest.simulated.audio_formats import AUDIO_FORMATS
from ingest.simulated.description import AUDIO_TRACK, VIDEO_PAYLOAD_TYPES, VIDEO_TRACK, describe
from ingest.simulated.faults import Faults
from ingest.simulated.jpeg_payloads import jpeg_payloads
from ingest.simulated.options import AudioCodec, VideoOptions, smaller
from ingest.simulated.outlets import Outlet
from ingest.simulated.packets import RtpStream
from ingest.simulated.parameter_sets import is_parameter_set
from ingest.simulated.payloads import h264_payloads, h265_payloads
from ingest.simulated.picture import Picture
from ingest.simulated.video_encoder import VideoEncoder, stream_parameter_sets

log = logging.getLogger(__name__)

REPORT_INTERVAL_S = 5.0  # RFC 3550 section 6.2
_PAYLOADS = {"h264": h264_payloads, "h265": h265_payloads, "jpeg": jpeg_payloads}


def _rtp_stream(payload_type: int) -> RtpStream:
    """All random at the start (RFC 3550 section 5.1)."""
    return RtpStream(payload_type, secrets.randbits(32), secrets.randbits(16), secrets.randbits(32))


class Rendition:
    """Encoders and those who play; the encoders rest while nobody does."""

    def __init__(
        self, clock: Clock, path: str, video: VideoOptions, audio: AudioCodec, faults: Faults
    ) -> None:
        self.path = path
        self._clock = clock
        self._video = video
        self._audio = audio
        self._faults = faults
        self._streams = {VIDEO_TRACK: _rtp_stream(VIDEO_PAYLOAD_TYPES[video.codec])}
        self._clock_rates = {VIDEO_TRACK: VIDEO_CLOCK_RATE}
        if audio != "none":
            self._streams[AUDIO_TRACK] = _rtp_stream(AUDIO_FORMATS[audio].payload_type)
            self._clock_rates[AUDIO_TRACK] = AUDIO_FORMATS[audio].clock_rate
        self._players: dict[object, Mapping[int, Outlet]] = {}
        self._audience = asyncio.Event()
        self._keyframe_wanted = False
        self._next_report_s: dict[int, float] = {}
        self._start_s = clock.monotonic_s()
        "Tick 0 of all tracks."
        self._began_s = self._start_s
        "When the first of those who play now began."
        self._sdp: str | None = None

    @property
    def ssrcs(self) -> tuple[int, ...]:
        """Of each track."""
        return tuple(stream.ssrc for stream in self._streams.values())

    def describe(self) -> str:
        """SDP; its parameter sets come from an encoder, once."""
        if self._sdp is None:
            sets = stream_parameter_sets(self._video, self._faults)
            self._sdp = describe(self.path, self._video, sets, self._audio)
        return self._sdp

    def join(self, player: object, outlets: Mapping[int, Outlet]) -> None:
        """From now on tracks go to these outlets; the next picture is a keyframe, a report comes with it."""
        self._players[player] = outlets
        self._keyframe_wanted = True
        self._next_report_s.clear()
        self._audience.set()

    def leave(self, player: object) -> None:
        """Forgets a player, if it ever joined."""
        self._players.pop(player, None)

    async def run(self) -> None:
        """Encodes until cancelled."""
        while True:
            await self._audience.wait()
            log.info("= encoding %s, somebody plays", self.path)
            self._began_s = self._clock.monotonic_s()
            async with asyncio.TaskGroup() as tracks:
                sound = tracks.create_task(self._record())
                await self._film()
                sound.cancel()
            if not self._players:
                self._audience.clear()
                log.info("= %s is idle, nobody plays", self.path)

    async def _film(self) -> None:
        video, faults = self._video, self._faults
        picture, encoder = Picture(video), VideoEncoder(video, faults)
        stream, payloads = self._streams[VIDEO_TRACK], _PAYLOADS[video.codec]
        size_change_s = faults.sps_change
        number = 0
        while self._players:
            now_s, utc_ns = self._clock.monotonic_s(), self._clock.utc_ns()
            # A machine that is too slow skips numbers, so that the picture stays live.
            number = max(number + 1, int((now_s - self._start_s) * video.fps))
            if size_change_s is not None and now_s - self._began_s >= size_change_s:
                size_change_s = None
                changed = smaller(video)
                picture, encoder = Picture(changed), VideoEncoder(changed, faults)
            # The time drawn in is that of the RTP timestamp.
            late_s = now_s - self._start_s - number / video.fps
            frame = picture.next(utc_ns - int(late_s * 1e9), number)
            keyframe_wanted, self._keyframe_wanted = self._keyframe_wanted, False
            for coded in encoder.encode(frame, keyframe_wanted):
                units = coded.units
                if faults.sps_only_in_sdp:
                    units = tuple(unit for unit in units if not is_parameter_set(video.codec, unit))
                marked = faults.marked([payloads(unit) for unit in units])
                tick = coded.number * VIDEO_CLOCK_RATE // video.fps
                self._send(VIDEO_TRACK, stream.packets(marked, tick), coded.keyframe)
            await self._until(self._start_s + (number + 1) / video.fps)

    async def _record(self) -> None:
        if self._audio == "none":
            return
        rate = AUDIO_FORMATS[self._audio].sample_rate
        elapsed_s = self._clock.monotonic_s() - self._start_s
        encoder = AudioEncoder(self._audio, int(elapsed_s * rate), self._clock.utc_ns())
        stream = self._streams[AUDIO_TRACK]
        while True:
            # A frame of sound can be coded once its last sample is there.
            await self._until(self._start_s + (encoder.position + encoder.format.frame_samples) / rate)
            for payload, marker, tick in encoder.next():
                self._send(AUDIO_TRACK, stream.packets([(payload, marker)], tick), keyframe=True)

    async def _until(self, moment_s: float) -> None:
        await self._clock.sleep(max(0.0, moment_s - self._clock.monotonic_s()))

    def _send(self, track: int, packets: Sequence[bytes], keyframe: bool) -> None:
        now_s, utc_ns = self._clock.monotonic_s(), self._clock.utc_ns()
        played_s = now_s - self._began_s
        if self._faults.silent(played_s):
            return
        # A set: those who share a multicast group are sent to once.
        outlets = {outlets[track] for outlets in self._players.values() if track in outlets}
        for outlet in outlets:
            outlet.send(packets, keyframe)
        if self._faults.no_rtcp or now_s < self._next_report_s.get(track, 0.0):
            return
        self._next_report_s[track] = now_s + REPORT_INTERVAL_S
        tick = int((now_s - self._start_s) * self._clock_rates[track])
        report = self._streams[track].report(self._faults.wall_clock_ns(utc_ns, played_s), tick)
        for outlet in outlets:
            outlet.send_report(report)
