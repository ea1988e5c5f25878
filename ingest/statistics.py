"""Figures of one track as it arrives: frame and bit rate, GOP, B-frames, drift, age of the last unit."""

from collections import deque
from dataclasses import dataclass

from common.access_unit import AccessUnit

WINDOW_S = 5.0
MAX_WINDOW_S = 60.0
"For cameras with few frames: that of four frames."
MAX_SAMPLES = 1500  # 300 access units per second over the window
PEAK_S = 60
GOPS = 8
# An encoder that changes its GOP by itself (Hikvision H.264+, Dahua Smart Codec, Axis Zipstream) stretches it
# manifold. Its second longest and second shortest are compared: one is a requested keyframe or a lost one.
VARYING_GOP = 1.5
MIN_GOPS = 4
ORDER_FRAMES = 100
"Frames after which their order is known."
REORDERED = 3
"Among them, as many go back where there are B-frames; a single one is a timestamp that trembled."
DRIFT_BIN_NS = 10_000_000_000
DRIFT_BINS = 60  # 10 min
MIN_DRIFT_BINS = 12  # 2 min: 1 ms of jitter left in the smallest transits is about 8 ppm


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What `Statistics.figures` found; None for what is not known yet."""

    fps: float | None = None
    bitrate: int | None = None
    "Bits per second of access units."
    peak_bitrate: int | None = None
    "Of the busiest whole second in the last minute."
    gop_s: float | None = None
    gop_frames: int | None = None
    gop_varies: bool = False
    b_frames: bool | None = None
    last_access_unit_age_s: float | None = None


class Drift:
    """How fast a camera's sampling clock runs, by the smallest transits of 10 s each."""

    def __init__(self) -> None:
        self._bins: deque[tuple[int, int]] = deque(maxlen=DRIFT_BINS)
        self._began_ns: int | None = None
        self._smallest = (0, 0)

    def restart(self) -> None:
        """The timestamps begin anew."""
        self._bins.clear()
        self._began_ns = None

    def add(self, media_ns: int, arrival_ns: int) -> None:
        """Takes a unit: its timestamp and its time of arrival."""
        transit_ns = arrival_ns - media_ns
        if self._began_ns is None:
            self._began_ns = arrival_ns
            self._smallest = (transit_ns, arrival_ns)
        elif abs(arrival_ns - self._began_ns) >= DRIFT_BIN_NS:
            self._bins.append(self._smallest)
            self._began_ns = arrival_ns
            self._smallest = (transit_ns, arrival_ns)
        elif transit_ns < self._smallest[0]:
            self._smallest = (transit_ns, arrival_ns)

    @property
    def ppm(self) -> float | None:
        """Parts per million that the camera is faster than this machine; None for the first 2 minutes.

        The slope of the least squares line through the smallest transits.
        """
        if len(self._bins) < MIN_DRIFT_BINS:
            return None
        transit_ns, arrival_ns = self._bins[0]
        points = [((x - arrival_ns) / 1e9, (y - transit_ns) / 1e3) for y, x in self._bins]
        mean_x = sum(x for x, _ in points) / len(points)
        mean_y = sum(y for _, y in points) / len(points)
        square = sum((x - mean_x) ** 2 for x, _ in points)
        return -sum((x - mean_x) * (y - mean_y) for x, y in points) / square if square else None


class Statistics:
    """Rates over the last 5 s, longer where frames are few; `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self.frame_interval_s: float | None = None
        "Smoothed, by the timestamps; of the connection before until two frames came."
        self.longest_gop_s = 0.0
        "Of the last ones measured, those of connections before included."
        self._samples: deque[tuple[float, int]] = deque()
        self._bytes = 0
        self._seconds: deque[tuple[int, int]] = deque(maxlen=PEAK_S)
        self._second = 0
        self._second_bytes = 0
        self._began: float | None = None
        self._last_at: float | None = None
        self._last: AccessUnit | None = None
        self._keyframe: AccessUnit | None = None
        self._frames = 0
        self._whole = True
        self._gops: deque[tuple[float, int | None]] = deque(maxlen=GOPS)
        self._ordered = 0
        self._reordered = 0
        self._b_frames: bool | None = None

    def access_unit(self, unit: AccessUnit, now: float) -> None:
        """Counts an access unit."""
        size = unit.size
        self._count(size, now)
        last = self._last
        if last is not None:
            step = unit.timestamp - last.timestamp
            interval_s = min(abs(step) / unit.clock_rate, MAX_WINDOW_S)
            smoothed_s = self.frame_interval_s
            self.frame_interval_s = (
                interval_s if smoothed_s is None else smoothed_s + (interval_s - smoothed_s) / 8
            )
            self._look_at_order(step)
            if unit.sequence != last.sequence + 1:
                self._whole = False
        self._last = unit
        if unit.keyframe:
            self._look_at_gop(unit)
        self._frames += 1

    def _count(self, size: int, now: float) -> None:
        if self._began is None:
            # Right after the beginning the first access unit opens the interval and is not counted in it.
            self._began = now
            self._second = int(now)
        else:
            if len(self._samples) == MAX_SAMPLES:
                self._bytes -= self._samples.popleft()[1]
            self._samples.append((now, size))
            self._bytes += size
        self._last_at = now
        if int(now) != self._second:
            self._seconds.append((self._second, self._second_bytes))
            self._second, self._second_bytes = int(now), 0
        self._second_bytes += size

    def _look_at_order(self, step: int) -> None:
        self._ordered += 1
        if step < 0:
            self._reordered += 1
            if self._reordered == REORDERED:
                self._b_frames = True
        if self._ordered == ORDER_FRAMES:
            self._b_frames = self._reordered >= REORDERED
            self._ordered = self._reordered = 0

    def _look_at_gop(self, unit: AccessUnit) -> None:
        before = self._keyframe
        # Where pictures are missing a keyframe may be among them: better than knowing nothing.
        if before is not None and (self._whole or not self._gops):
            gop_s = (unit.timestamp - before.timestamp) / unit.clock_rate
            self._gops.append((gop_s, self._frames if self._whole else None))
            self.longest_gop_s = max(length_s for length_s, _ in self._gops)
        self._keyframe = unit
        self._frames = 0
        self._whole = True

    def jumped(self) -> None:
        """The timestamps begin anew, perhaps hours on: the next unit is no frame interval after the last."""
        self._last = self._keyframe = None
        self._frames = 0
        self._whole = True

    def restart(self) -> None:
        """The stream pauses: rates, order and GOPs begin anew, the age goes on."""
        self._samples.clear()
        self._bytes = 0
        self._seconds.clear()
        self._second_bytes = 0
        self._began = None
        self._last = self._keyframe = None
        self._gops.clear()
        self._ordered = self._reordered = 0
        self._b_frames = None

    def figures(self, now: float) -> StreamFigures:
        """The figures at `now`."""
        window_s = max(WINDOW_S, min(4 * (self.frame_interval_s or 0), MAX_WINDOW_S))
        samples = self._samples
        while samples and samples[0][0] <= now - window_s:
            self._bytes -= samples.popleft()[1]
        fps = bitrate = None
        if self._began is not None and now > self._began:
            interval_s = min(now - self._began, window_s)
            fps = len(samples) / interval_s
            bitrate = round(8 * self._bytes / interval_s)
        gop_s, gop_frames = self._gops[-1] if self._gops else (None, None)
        lengths = sorted(length_s for length_s, _ in self._gops)
        return StreamFigures(
            fps=fps,
            bitrate=bitrate,
            peak_bitrate=self._peak_bitrate(now, bitrate),
            gop_s=gop_s,
            gop_frames=gop_frames,
            gop_varies=len(lengths) >= MIN_GOPS and lengths[-2] > VARYING_GOP * lengths[1],
            b_frames=self._b_frames,
            last_access_unit_age_s=None if self._last_at is None else now - self._last_at,
        )

    def _peak_bitrate(self, now: float, bitrate: int | None) -> int | None:
        seconds = self._seconds
        while seconds and seconds[0][0] < now - PEAK_S:
            seconds.popleft()
        if not seconds:
            return None
        # The first second, which began in its middle, has a smaller sum than rate.
        return max(8 * max(size for _, size in seconds), bitrate or 0)
