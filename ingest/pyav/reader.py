"""The thread that reads a PyAV container and hands its frames to the event loop."""

import asyncio
import contextlib
import itertools
import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import av
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError

from common.clock import Clock
from common.errors import CameraError, CameraRefusal, CctvError
from ingest.codecs.frame import Frame
from ingest.pyav.errors import camera_error
from ingest.pyav.tracks import AvTrack, MediaStream, select, why_silent

OPEN_DEADLINE_S = 10.0
READ_DEADLINE_S = 15.0
MAX_QUEUED_BYTES = 32 << 20
MAX_QUEUED_FRAMES = 2000  # 25 pictures and 50 audio frames per second for 26 s
# A step of the timestamps by more is a jump, nothing to wait for.
MAX_STEP_S = 10.0
# A file that comes later than this stalled, and goes on from there; what is live hurries, or it would be
# older for good.
MAX_LATE_S = 1.0
# Of each second of a live stream that is late; a camera's clock that is slow is late for ever.
FOLLOWED = 0.003
# Containers without timestamps: multipart JPEG over HTTP.
_UNTIMED = frozenset({"mpjpeg"})
# Delivered a segment at a time, so played at the speed of their timestamps, as files are.
_IN_SEGMENTS = frozenset({"hls"})
# What a V4L2 device is asked for, one after the other.
_DEVICE_FORMATS = ("h264", "hevc", "mjpeg")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opening:
    """What is opened, and how."""

    what: str
    "In words for errors, without credentials: `camera at host:port`, `file /path`."
    url: str = field(repr=False)
    options: tuple[tuple[str, str], ...]
    "FFmpeg's."
    check: str = "its address and path"
    "What to look at when it cannot be opened."
    audio: bool = True
    looped: bool = False
    "A file: begins again at its end, and is played at the speed of its timestamps."
    device: bool = False
    "V4L2."


class Handover:
    """Frames on their way from the reading thread to the event loop.

    When the queue is full because the loop has no time, pictures are dropped up to the next keyframe.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, frames: Callable[[int, list[Frame]], None]) -> None:
        self._loop = loop
        self._frames = frames
        self._lock = threading.Lock()
        self._queue: deque[tuple[int, Frame]] = deque()
        self._bytes = 0
        self._dropping: set[int] = set()

    def put(self, track: int, frame: Frame) -> bool:
        """Called by the thread; False when the frame is dropped."""
        size = sum(map(len, frame.nals))
        with self._lock:
            full = self._bytes + size > MAX_QUEUED_BYTES or len(self._queue) >= MAX_QUEUED_FRAMES
            if full or (track in self._dropping and not frame.keyframe):
                self._dropping.add(track)
                return False
            if track in self._dropping:
                self._dropping.remove(track)
                frame = replace(frame, gap=True)
            idle = not self._queue
            self._queue.append((track, frame))
            self._bytes += size
        if idle:
            self._loop.call_soon_threadsafe(self._drain)
        return True

    def _drain(self) -> None:
        with self._lock:
            queue, self._queue = self._queue, deque()
            self._bytes = 0
        for track, group in itertools.groupby(queue, key=lambda item: item[0]):
            self._frames(track, [frame for _, frame in group])


class Pace:
    """Lets packets pass at the speed of their timestamps; `live` ones that are late at once."""

    def __init__(self, clock: Clock, stopped: threading.Event, live: bool = False) -> None:
        self._clock = clock
        self._stopped = stopped
        self._max_late_s = MAX_STEP_S if live else MAX_LATE_S
        self._zero: float | None = None
        self._newest_s = 0.0

    def wait(self, time_s: float) -> None:
        """Until `time_s` of the stream has come, or stop."""
        now = self._clock.monotonic_s()
        step_s = time_s - self._newest_s
        if (
            self._zero is None
            or abs(step_s) > MAX_STEP_S
            # Not for what is behind the other track: containers interleave loosely.
            or (step_s >= 0 and now - self._zero - time_s > self._max_late_s)
        ):
            self._zero = now - time_s
            self._newest_s = time_s
        elif step_s > 0 and now - self._zero > time_s:
            self._zero += FOLLOWED * step_s
        self._newest_s = max(self._newest_s, time_s)
        wait_s = self._zero + time_s - now
        if wait_s > 0:
            self._stopped.wait(wait_s)


class AvReader(threading.Thread):
    """Reads until the source ends, fails or `stop` is called, then `on_end`; calls back in the event loop.

    A thread inside FFmpeg cannot be interrupted: it leaves at its next packet, at the latest at its
    deadline. So it is a daemon that nobody has to wait for.
    """

    def __init__(
        self,
        opening: Opening,
        clock: Clock,
        on_playing: Callable[[tuple[AvTrack, ...], str], None],
        on_frames: Callable[[int, list[Frame]], None],
        on_end: Callable[[Exception], None],
    ) -> None:
        super().__init__(name="av-reader", daemon=True)
        self._opening = opening
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._on_playing = on_playing
        self._on_end = on_end
        self._stopped = threading.Event()
        self._pace = Pace(clock, self._stopped, live=not opening.looped)
        self._handover = Handover(self._loop, on_frames)
        self._tracks: tuple[AvTrack, ...] = ()
        self._format = ""

    def stop(self) -> None:
        """Asks the thread to leave; calls that are under way may still come."""
        self._stopped.set()

    def run(self) -> None:
        # FFmpeg's log holds URLs with their login.
        av.logging.set_level(None)
        end: Exception
        try:
            self._read()
            end = CameraError(f"{self._opening.what} ended the stream")
        except FFmpegError as exc:
            end = camera_error(exc, self._opening.what, self._opening.check, playing=bool(self._tracks))
        except CctvError as exc:
            end = exc
        except Exception as exc:
            # The library met octets of a stranger: that ends one attempt, never the process.
            what = self._opening.what
            log.error("! %s: fault in the library that reads it", what, exc_info=exc)
            end = CameraError(f"{what} cannot be read ({type(exc).__name__})")
        # The loop may have been closed while FFmpeg waited for the network.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._on_end, end)

    def _read(self) -> None:
        """Round after round of a file, one round of all others."""
        begin_s = 0.0
        while not self._stopped.is_set():
            with self._open() as container:
                length_s = self._read_round(container, begin_s)
            if not self._opening.looped:
                return
            if not length_s:
                raise CameraRefusal(f"{self._opening.what} holds nothing that can be played")
            begin_s += length_s

    def _open(self) -> InputContainer:
        opening = self._opening
        deadlines = (OPEN_DEADLINE_S, READ_DEADLINE_S)
        # Titles and names are in any character set, and nobody reads them here.
        errors = "replace"
        if not opening.device:
            options = dict(opening.options)
            return av.open(opening.url, "r", options=options, timeout=deadlines, metadata_errors=errors)
        for name in _DEVICE_FORMATS:
            with contextlib.suppress(ArgumentError):
                options = {**dict(opening.options), "input_format": name}
                return av.open(
                    opening.url,
                    "r",
                    format="v4l2",
                    options=options,
                    timeout=deadlines,
                    metadata_errors=errors,
                )
        raise CameraRefusal(
            f"{opening.what} gives raw pictures only, and nothing encodes them here; "
            "use one that gives H.264, H.265 or MJPEG"
        )

    def _read_round(self, container: InputContainer, begin_s: float) -> float:
        """Reads to the end, `begin_s` after the first round's beginning; gives the length in seconds."""
        clock = self._clock
        streams = self._take(container)
        tracks = tuple(zip(streams, self._tracks, strict=True))
        of_stream = {
            stream.index: (number, track, round(begin_s * track.clock_rate))
            for number, (stream, track) in enumerate(tracks)
        }
        paced = self._opening.looped or self._format in _IN_SEGMENTS
        first_s, end_s = math.inf, 0.0
        for packet in container.demux(streams):
            if self._stopped.is_set():
                break
            if not packet.size:
                continue
            number, track, offset = of_stream[packet.stream_index]
            decoded, presented, end = track.times(packet, clock.utc_ns())
            if paced:
                self._pace.wait(begin_s + decoded / track.clock_rate)
            first_s = min(first_s, presented / track.clock_rate)
            end_s = max(end_s, end / track.clock_rate)
            track.last_packet_at = clock.monotonic_s()
            for frame in track.frames(packet, offset + presented, clock.utc_ns()):
                if not self._handover.put(number, frame):
                    track.dropped += 1
        return max(0.0, end_s - first_s)

    def _take(self, container: InputContainer) -> list[MediaStream]:
        """The streams that are read, each with its track."""
        streams = select(container, self._opening.what, self._opening.audio)
        self._format = container.format.name
        fresh = tuple(AvTrack(stream, self._format in _UNTIMED) for stream in streams)
        if not self._tracks:
            self._tracks = fresh
            if len(streams) == 1 and container.streams.audio and self._opening.audio:
                log.warning("! %s %s", self._opening.what, why_silent(container.streams.audio[0]))
            self._loop.call_soon_threadsafe(self._on_playing, fresh, self._format)
        elif [track.layout for track in fresh] != [track.layout for track in self._tracks]:
            raise CameraError(f"{self._opening.what} holds other tracks than before")
        else:
            for track, stream in zip(self._tracks, streams, strict=True):
                track.begin(stream)
        return streams
