"""Figures of the stream as it arrives: frame rate, bit rate, GOP length, age of the last access unit."""

from collections import deque
from dataclasses import dataclass

from common.access_unit import AccessUnit
from common.units import VIDEO_CLOCK_RATE

WINDOW_S = 5.0
MAX_SAMPLES = 1500  # 300 access units per second over the window


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What `Statistics.figures` found."""

    fps: float | None
    bitrate: int | None
    "Bits per second of access units."
    gop_s: float | None
    last_access_unit_age_s: float | None


class Statistics:
    """Rates over the last 5 s; `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=MAX_SAMPLES)
        self._began: float | None = None
        self._last_at: float | None = None
        self._keyframe_timestamp: int | None = None
        self._gop_s: float | None = None

    def access_unit(self, unit: AccessUnit, now: float) -> None:
        """Counts an access unit."""
        if self._began is None:
            self._began = now
        self._last_at = now
        self._samples.append((now, unit.size))
        if unit.keyframe:
            if self._keyframe_timestamp is not None:
                self._gop_s = (unit.timestamp - self._keyframe_timestamp) / VIDEO_CLOCK_RATE
            self._keyframe_timestamp = unit.timestamp

    def restart(self) -> None:
        """The stream pauses: rates and GOP length begin anew, the age goes on."""
        self._samples.clear()
        self._began = None
        self._keyframe_timestamp = None
        self._gop_s = None

    def figures(self, now: float) -> StreamFigures:
        """The figures at `now`; None for what is not known yet."""
        samples = self._samples
        while samples and samples[0][0] <= now - WINDOW_S:
            samples.popleft()
        fps = bitrate = None
        # Right after the beginning the first access unit opens the interval and is not counted in it.
        if self._began is not None and now > self._began:
            opening = self._began > now - WINDOW_S
            interval_s = now - self._began if opening else WINDOW_S
            counted = list(samples)[1:] if opening else list(samples)
            fps = len(counted) / interval_s
            bitrate = round(8 * sum(size for _, size in counted) / interval_s)
        age_s = None if self._last_at is None else now - self._last_at
        return StreamFigures(fps, bitrate, self._gop_s, age_s)
